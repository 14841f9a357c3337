"""The same questions to every implementation of every framework at hand, in every mode.

Which interpreters to ask is in CONFORMANCE_PYTHONS, one `--python` pair GROUP=PATH a line; without it the NumPy
adapter alone is asked.
"""

from __future__ import annotations

import fnmatch
import functools
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from conformance.answers.native_calls import form_of, implementations
from conformance.answers.native_learning import holds
from conformance.contract import complaints as complaints_of
from conformance.contract.questions import DTYPES, questions, scripts
from conformance.errors import WorkerError
from conformance.execution.execute import Outcomes, execute
from conformance.execution.pool import Workers
from conformance.execution.survey import survey
from conformance.execution.timeline import Timeline
from conformance.judging.judge import judge
from conformance.outcome import Produced
from conformance.planning.discovery import keys
from conformance.planning.known_names import may_hold
from conformance.planning.plan import Cell, Offer, Selection, plan
from conformance.reference.expected import References
from conformance.reproduce import Evidence
from conformance.runfile import lines
from conformance.runfile.structs import NativeCall
from conformance.spec.divergences import Known
from tests.reproduced import Hosts, complaint

pytestmark = pytest.mark.frameworks

#: Questions that a column is known to refuse, as `spec/divergences.yaml` lists.
REFUSED = (
    ("tf*.layers.BatchNormalization+renorm-*", "float64"),
    ("tf*.layers.BatchNormalization+virtual-*", "*reload*"),
    ("keras.layers.BatchNormalization+RematScope+jax-*", "*"),
    ("keras.layers.BatchNormalization+RematScope+tensorflow-[cx]*", "*"),
    ("torch.nn.SyncBatchNorm+DistributedDataParallel-*", "*"),
    ("torch.ao.nn.intrinsic.qat.ConvBn-*", "float64"),
    ("torch.ao.nn.intrinsic.qat.ConvBn-*", "*float16"),
    ("onnx.reference.InstanceNormalization-*", "bfloat16"),
    ("keras.ops.moments+torch-*", "*"),
)
#: Columns whose file has the values of one replica alone, as is listed there too.
OF_ONE_REPLICA = ("keras.layers.BatchNormalization+replicated+tensorflow-*", "tf_keras.*+replicated-*")


def interpreters() -> dict[str, str]:
    pairs = os.environ.get("CONFORMANCE_PYTHONS", "").split()
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


@functools.cache
def offers_and_outcomes() -> tuple[dict[str, Cell], dict[str, Outcomes]]:
    """Ask every implementation every question, once."""
    cells, outcomes, _, _ = everything()
    return cells, outcomes


@functools.cache
def everything() -> tuple[dict[str, Cell], dict[str, Outcomes], dict[str, Offer], Timeline]:
    """Return the cells and their outcomes by id, what each worker offers by its name, and where the time went."""
    cases = [*questions(), *scripts()]
    asked = interpreters()
    wanted = [key for key in keys(asked or {"numpy": ""}) if key.group is None or key.group in asked]
    with tempfile.TemporaryDirectory() as folder, Workers(2, Path(folder)) as workers:
        answers = list(survey(wanted, [each.case.configuration for each in cases], workers))
        broken = [str(each) for each in answers if isinstance(each, WorkerError)]
        assert not broken, broken
        offers = [each for each in answers if isinstance(each, Offer)]
        cells = {cell.id: cell for cell in plan(cases, offers, Selection()) if asks_for_its_steps(cell)}
        outcomes = {cell.id: found for cell, found in execute(cells.values(), workers)}
        timeline = workers.stages.timeline()
    return cells, outcomes, {offer.key.name: offer for offer in offers}, timeline


def asks_for_its_steps(cell: Cell) -> bool:
    """Return whether a case for a script has the very kinds of steps that the implementation has."""
    _, script, kinds = cell.case.id.partition("/script-")
    return not script or kinds == "-".join(sorted(cell.implementation.steps))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "column" in metafunc.fixturenames:
        chosen = metafunc.config.option.markexpr or ""
        asked = "frameworks" in chosen and "not frameworks" not in chosen
        cells, _ = offers_and_outcomes() if asked else ({}, {})
        columns = {cell.column: cell for cell in cells.values()}
        if "complaints" in metafunc.fixturenames:
            columns = {cell.column: cell for cell in one_mode_each(cells.values())}
        metafunc.parametrize("column", sorted(columns))


def one_mode_each(cells: Iterable[Cell]) -> Iterable[Cell]:
    """Return cells of one mode of each implementation: the compiled one, whose script holds all that an eager one does."""
    chosen: dict[str, Cell] = {}
    for cell in sorted(cells, key=lambda cell: (cell.mode != "compiled", cell.column)):
        chosen.setdefault(cell.implementation.name, cell)
    return chosen.values()


def produced(column: str, name: str) -> tuple[Cell, tuple[Produced, ...]]:
    """Return the cell of that question and its outcomes; skip where it is unsupported.

    Of an operation that is asked about in several ways, the first way that the implementation has.
    """
    cells, outcomes = offers_and_outcomes()
    asked = [each for each in cells.values() if each.column == column and each.case.id.endswith(f"/{name}")]
    cell = next((each for each in asked if each.unsupported is None), asked[0])
    if cell.unsupported is not None:
        pytest.skip(cell.unsupported)
    if any(fnmatch.fnmatchcase(column, of) and fnmatch.fnmatchcase(name, question) for of, question in REFUSED):
        pytest.skip("refused, which is listed")
    found = outcomes[cell.id]
    failed = [each for each in found if not isinstance(each, Produced)]
    assert not failed, failed
    return cell, tuple(each for each in found if isinstance(each, Produced))


def test_every_group_asked_for_takes_part() -> None:
    """A framework that was asked for and is not judged must not pass for silence."""
    cells, _ = offers_and_outcomes()
    assert set(interpreters()) <= {cell.key.group for cell in cells.values()}


def test_the_state_put_in_is_the_state_read_back(column: str) -> None:
    """Gamma, beta and moving values survive the way in and out, in the feature order."""
    assert complaints_of.state_read_back(*produced(column, "steps")) == ""


def test_quantities_have_the_shapes_of_their_kind(column: str) -> None:
    """Output and input gradient like the input; everything else one value per feature."""
    assert complaints_of.names_and_shapes(*produced(column, "steps")) == ""


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_output_keeps_the_dtype_of_the_input(column: str, dtype: str) -> None:
    """What goes in as a dtype comes out as it, or is unsupported with a reason."""
    assert complaints_of.dtype_kept(*produced(column, dtype)) == ""


def test_no_step_writes_to_its_input(column: str) -> None:
    """Input and upstream gradient belong to the caller."""
    assert complaints_of.caller_s_own(*produced(column, "steps")) == ""


def test_inference_changes_no_state_and_repeats_its_bits(column: str) -> None:
    """Two inferences on the same input give the same bits and leave the state as it was."""
    assert complaints_of.inference_repeats(*produced(column, "steps")) == ""


def test_a_reload_keeps_every_bit(column: str) -> None:
    """Saved and loaded by the library's own means: the same state, and the same output."""
    if any(fnmatch.fnmatchcase(column, each) for each in OF_ONE_REPLICA):
        pytest.skip("keeps one replica's, which is listed")
    assert complaints_of.reload_keeps(*produced(column, "reload")) == ""


def test_a_compiled_mode_compiled(column: str) -> None:
    """The count of compiled graphs proves the mode."""
    assert complaints_of.compiled(*produced(column, "steps")) == ""


def test_the_library_tells_its_version(column: str) -> None:
    """Histories and reports name it by what it is called."""
    cells, _, offers, _ = everything()
    offer = offers[next(each.key.name for each in cells.values() if each.column == column)]
    assert offer.versions.get(offer.library)


def test_the_call_is_data(column: str) -> None:
    """The native call came through the pipe as path and literal keywords."""
    assert complaints_of.call_is_data(*produced(column, "steps")) == ""


def test_the_call_that_is_held_for_explanations_is_the_one_that_is_made(column: str) -> None:
    """`spec/calls.json`, which `conformance check --write-calls` writes, says what the adapter says."""
    cells, outcomes = offers_and_outcomes()
    held = {told.name: told for told in implementations()}
    for cell in cells.values():
        told, configuration = held.get(cell.implementation.name), cell.case.configuration
        call = getattr(outcomes[cell.id][0], "call", None)
        if cell.column != column or told is None or call is None:
            continue
        form = form_of(told, configuration)
        same_dtype = configuration.parameter_dtype == configuration.dtype
        assert form is None or not same_dtype or holds(form, NativeCall(**call), configuration), (cell.id, call)


def test_the_functions_are_in_the_adapter_s_file(column: str) -> None:
    """A script can be made of them: each is one at the top level, or binds arguments that the file can name."""
    assert complaints_of.functions_in_file(*produced(column, "steps")) == ""


@pytest.fixture(scope="session")
def complaints(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[str]]]:
    """What the script of each column that was asked for complains of: two run at a time, and framework imports are shared."""
    everything()  # before threads ask for it
    items = [each for each in request.session.items if isinstance(each, pytest.Function)]
    columns = [str(each.callspec.params["column"]) for each in items if "complaints" in each.fixturenames]
    hosts = Hosts()
    with ThreadPoolExecutor(2) as pool:
        yield {each: pool.submit(complaint_of, each, tmp_path_factory.mktemp("script"), hosts) for each in columns}
        pool.shutdown(cancel_futures=True)
    hosts.close()


def complaint_of(column: str, folder: Path, hosts: Hosts) -> str:
    """Return what the script of a cell with every kind of step says that the record does not; empty where they agree."""
    plain, _ = produced(column, "steps")
    cell, outcomes = produced(column, f"script-{'-'.join(sorted(plain.implementation.steps))}")
    record = lines.record_line(cell, judge(cell, outcomes, References()), Known())
    _, _, offers, _ = everything()
    environment = lines.environment_line(offers[cell.key.name])
    evidence = Evidence(
        record=record,
        case=cell.case,
        environment=environment,
        implementation=next(each for each in environment.implementations if each.name == record.implementation),
        causes=lines.recorded_catalogue(),
    )
    return complaint(evidence, cell.key.interpreter, folder, hosts.run)


def test_the_script_of_a_cell_gives_the_recorded_numbers(column: str, complaints: Mapping[str, Future[str]]) -> None:
    """Every kind of step it has, in the framework's own interpreter, with nothing of ours to import."""
    assert complaints[column].result() == ""


@pytest.mark.parametrize("mode", ["eager", "compiled"])
@pytest.mark.parametrize("further", ["", "+two_pass"])
def test_flax_s_two_layers_give_the_same_bits(mode: str, further: str) -> None:
    """Linen and nnx compute the statistics by one function, and with its results the same numbers."""
    if "jax" not in interpreters():
        pytest.skip("of the group jax")
    _, linen = produced(f"flax.linen.BatchNorm{further}-{mode}-cpu", "steps")
    _, nnx = produced(f"flax.nnx.BatchNorm{further}-{mode}-cpu", "steps")
    for of_linen, of_nnx in zip(linen, nnx, strict=True):
        assert complaints_of.same_bits(of_linen.quantities, of_nnx.quantities)
        assert complaints_of.same_bits(of_linen.state, of_nnx.state)


def test_what_cannot_be_expressed_is_said_and_never_crashes(column: str) -> None:
    """Rare ranks, axes and dtypes are unsupported with a reason, or they run."""
    cells, outcomes = offers_and_outcomes()
    asked = [each for each in cells.values() if each.column == column]
    assert [complaints_of.said_and_survived(each, outcomes[each.id][-1]) for each in asked] == [""] * len(asked)


def test_what_a_library_tells_of_compiling_is_a_part_of_its_time() -> None:
    """Of stretches that lie within one another, the outermost counts alone."""
    *_, timeline = everything()
    telling = [lane for lane in timeline.lanes if lane.compiling is not None and lane.cells]
    assert all((lane.compiling or 0.0) <= lane.calls + 0.5 for lane in telling), telling
    assert {"torch", "jax"}.isdisjoint(interpreters()) or any(lane.compiling for lane in telling)


def test_every_implementation_is_one_that_its_file_is_known_to_make() -> None:
    """A run of some implementations alone asks no file that is not."""
    *_, offers, _ = everything()
    unknown = [
        (offer.key.name, implementation.name)
        for offer in offers.values()
        for implementation in offer.implementations
        if not may_hold(Path(offer.key.adapter), [implementation.name])
    ]
    assert unknown == []
