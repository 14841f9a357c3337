"""The same questions to every implementation of every framework at hand, in every mode.

Which interpreters to ask is in CONFORMANCE_PYTHONS, one `--python` pair GROUP=PATH a line; without it the NumPy
adapter alone is asked.
"""

from __future__ import annotations

import fnmatch
import functools
import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.answers.native_calls import form_of, implementations
from conformance.answers.native_learning import holds
from conformance.errors import Place, WorkerError
from conformance.execution.execute import Outcomes, execute
from conformance.execution.pool import Workers
from conformance.execution.survey import survey
from conformance.judging.judge import judge
from conformance.operations import OPERATIONS
from conformance.outcome import Crashed, Produced, TimedOut
from conformance.planning.discovery import keys
from conformance.planning.plan import Cell, Offer, Selection, plan
from conformance.reference.expected import References
from conformance.reference.inputs import inputs_of
from conformance.reproduce import Evidence
from conformance.runfile import lines
from conformance.runfile.structs import NativeCall
from conformance.spec.case import Case
from conformance.spec.divergences import Known
from conformance.spec.loader import Located
from tests.reproduced import Hosts, complaint

pytestmark = pytest.mark.frameworks

NORMAL: dict[str, Any] = {"kind": "normal", "mean": 1.5, "std": 2.0}
TRAIN = {"step": "train", "input": NORMAL | {"seed": 1}, "upstream": NORMAL | {"seed": 2}}
INFER = {"step": "infer", "input": NORMAL | {"seed": 3}, "upstream": NORMAL | {"seed": 4}}
STATE: dict[str, Any] = {
    "moving_mean": {"kind": "ramp", "start": 0.25},
    "moving_variance": {"kind": "constant", "value": 2.0},
}
#: Every kind of step, of which an implementation performs those it has.
SCRIPT: list[dict[str, Any]] = [
    TRAIN,
    {"step": "freeze"},
    TRAIN,
    {"step": "unfreeze"},
    TRAIN,
    {"step": "sgd", "learning_rate": 0.25},
    INFER,
    {"step": "reload"},
    INFER,
]
KINDS = sorted({str(each["step"]) for each in SCRIPT})
SCRIPTS = [kinds for size in range(1, len(KINDS) + 1) for kinds in itertools.combinations(KINDS, size)]
#: The operations, with what their cases must say beside the rest.
OPTIONS: dict[str, dict[str, Any]] = {
    "batch_norm": {},
    "batch_renorm": {"renorm_decay": 0.5},
    "centering": {},
    "differentiated_batch_norm": {},
    "differentiated_moments": {},
    "masked_batch_norm": {},
    "masked_synchronized_batch_norm": {"shards": [4, 4]},
    "partly_differentiated_batch_norm": {"differentiated": ["input", "gamma"]},
    "replicated_batch_norm": {"shards": [4, 4]},
    "replicated_centering": {"shards": [4, 4]},
    "synchronized_batch_norm": {"shards": [4, 4]},
    "transformed_batch_norm": {},
    "untracked_batch_norm": {},
    "weighted_moments": {},
    "virtual_batch_norm": {"virtual_batch": 2},
}
#: What their steps need beside input and upstream gradient.
ARRAYS: dict[tuple[str, str], dict[str, Any]] = {
    ("differentiated_batch_norm", "train"): {"tangent": NORMAL | {"seed": 5}},
    ("differentiated_batch_norm", "infer"): {"tangent": NORMAL | {"seed": 6}},
    ("weighted_moments", "infer"): {"weights": {"kind": "constant", "value": 0.5}},
    ("masked_batch_norm", "train"): {"mask": {"kind": "constant", "value": 1}},
}
#: Where it is not (8, 3): masks are of positions within a sample.
SHAPES = {"masked_batch_norm": {"shape": [2, 4, 3], "feature_axes": [2]}}
#: Questions that a column is known to refuse, as `spec/divergences.yaml` lists.
REFUSED = (
    ("tf*.layers.BatchNormalization+renorm-*", "float64"),
    ("tf*.layers.BatchNormalization+virtual-*", "*reload*"),
    ("keras.layers.BatchNormalization+RematScope+jax-*", "*"),
    ("keras.layers.BatchNormalization+RematScope+tensorflow-[cx]*", "*"),
    ("torch.nn.SyncBatchNorm+DistributedDataParallel-*", "*"),
    ("torch.ao.nn.intrinsic.qat.ConvBn-*", "float64"),
    ("torch.ao.nn.intrinsic.qat.ConvBn-*", "*float16"),
)
#: Columns whose file has the values of one replica alone, as is listed there too.
OF_ONE_REPLICA = ("keras.layers.BatchNormalization+replicated+tensorflow-*", "tf_keras.*+replicated-*")


def interpreters() -> dict[str, str]:
    pairs = os.environ.get("CONFORMANCE_PYTHONS", "").split()
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def case(op: str, name: str, steps: list[Any], **fields: Any) -> Located:
    values = {
        "id": f"contract.{op}/{name}",
        "title": "A question to every implementation.",
        "source": "the adapter protocol",
        "clauses": ["1.1"],
        "op": op,
        "shape": [8, 3],
        "feature_axes": [1],
        "options": OPTIONS[op],
        "steps": [{**each, **ARRAYS.get((op, each["step"]), {})} for each in steps],
        **SHAPES.get(op, {}),
        **fields,
    }
    names = OPERATIONS[op].state(Case.model_validate(values).configuration)
    values["initial"] = {name: recipe for name, recipe in STATE.items() if name in names}
    place = Place(file="tests/test_contracts.py")
    return Located(case=Case.model_validate(values), file=Path(__file__), place=place)


def fits(asked: Located) -> bool:
    """Return whether the operation has a meaning for a case of that shape: two shards want two rows."""
    case = asked.case
    return not OPERATIONS[case.op].misfit(case.configuration, "train", case.shape)


def contract_cases() -> list[Located]:
    """Return the questions: one case each, and configurations that few APIs can express."""
    found = []
    for op in OPTIONS:
        found.append(case(op, "steps", [TRAIN, INFER, INFER]))
        found += [
            case(op, f"script-{'-'.join(kinds)}", [each for each in SCRIPT if each["step"] in kinds])
            for kinds in SCRIPTS
        ]
        found.append(case(op, "reload", [TRAIN, INFER, {"step": "reload"}, INFER]))
        found += [case(op, dtype, [TRAIN, INFER], dtype=dtype) for dtype in ("float64", "float16", "bfloat16")]
        rare: dict[str, dict[str, Any]] = {
            "features-first": {"shape": [3, 8], "feature_axes": [0]},
            "rank-1": {"shape": [3], "feature_axes": [0]},
            "rank-6": {"shape": [2, 2, 2, 2, 2, 3], "feature_axes": [-1]},
            "two-axes": {"shape": [4, 3, 5], "feature_axes": [1, 2]},
            "wide-parameters": {"dtype": "float32", "parameter_dtype": "float64"},
            "mixed": {"dtype": "bfloat16", "parameter_dtype": "float32"},
        }
        found += [case(op, name, [TRAIN, INFER], **fields) for name, fields in rare.items()]
    return [each for each in found if fits(each)]


@functools.cache
def offers_and_outcomes() -> tuple[dict[str, Cell], dict[str, Outcomes]]:
    """Ask every implementation every question, once."""
    cells, outcomes, _ = everything()
    return cells, outcomes


@functools.cache
def everything() -> tuple[dict[str, Cell], dict[str, Outcomes], dict[str, Offer]]:
    """Return the cells and their outcomes by id, and what each worker offers by its name."""
    cases = contract_cases()
    asked = interpreters()
    wanted = [key for key in keys(asked or {"numpy": ""}) if key.group is None or key.group in asked]
    with tempfile.TemporaryDirectory() as folder, Workers(2, Path(folder)) as workers:
        answers = list(survey(wanted, [each.case.configuration for each in cases], workers))
        broken = [str(each) for each in answers if isinstance(each, WorkerError)]
        assert not broken, broken
        offers = [each for each in answers if isinstance(each, Offer)]
        cells = {cell.id: cell for cell in plan(cases, offers, Selection()) if asks_for_its_steps(cell)}
        outcomes = {cell.id: found for cell, found in execute(cells.values(), workers)}
    return cells, outcomes, {offer.key.name: offer for offer in offers}


def asks_for_its_steps(cell: Cell) -> bool:
    """Return whether a case for a script has the very kinds of steps that the implementation has."""
    _, script, kinds = cell.case.id.partition("/script-")
    return not script or kinds == "-".join(sorted(cell.implementation.steps))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "column" in metafunc.fixturenames:
        cells, _ = offers_and_outcomes() if "frameworks" in (metafunc.config.option.markexpr or "") else ({}, {})
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
    """Return the cell of that question and its outcomes; skip where it is unsupported."""
    cells, outcomes = offers_and_outcomes()
    (cell,) = [each for each in cells.values() if each.column == column and each.case.id.endswith(f"/{name}")]
    if cell.unsupported is not None:
        pytest.skip(cell.unsupported)
    if any(fnmatch.fnmatchcase(column, of) and fnmatch.fnmatchcase(name, question) for of, question in REFUSED):
        pytest.skip("refused, which is listed")
    found = outcomes[cell.id]
    failed = [each for each in found if not isinstance(each, Produced)]
    assert not failed, failed
    return cell, tuple(each for each in found if isinstance(each, Produced))


def same_bits(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return first.keys() == second.keys() and all(first[name].tobytes() == second[name].tobytes() for name in first)


def test_every_group_asked_for_takes_part() -> None:
    """A framework that was asked for and is not judged must not pass for silence."""
    cells, _ = offers_and_outcomes()
    assert set(interpreters()) <= {cell.key.group for cell in cells.values()}


def test_the_state_put_in_is_the_state_read_back(column: str) -> None:
    """Gamma, beta and moving values survive the way in and out, in the feature order."""
    cell, outcomes = produced(column, "steps")
    for name, value in inputs_of(cell.case).initial.items():
        assert np.array_equal(outcomes[0].state[name].reshape(-1), value.reshape(-1)), name


def test_quantities_have_known_names_and_the_shapes_of_their_kind(column: str) -> None:
    """Output and input gradient like the input; everything else one value per feature."""
    cell, outcomes = produced(column, "steps")
    for outcome in outcomes[1:]:
        op = OPERATIONS[cell.case.op]
        assert set(outcome.quantities) <= op.quantities.keys()
        for name, value in outcome.quantities.items():
            like_input = name in op.shaped_like_input
            assert value.shape == cell.case.shape if like_input else value.size == cell.case.configuration.feature_count


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_the_output_keeps_the_dtype_of_the_input(column: str, dtype: str) -> None:
    """What goes in as a dtype comes out as it, or is unsupported with a reason."""
    _, outcomes = produced(column, dtype)
    assert [outcome.quantities["output"].dtype.name for outcome in outcomes[1:]] == [dtype, dtype]


def test_no_step_writes_to_its_input(column: str) -> None:
    """Input and upstream gradient belong to the caller."""
    _, outcomes = produced(column, "steps")
    assert [outcome.overwritten for outcome in outcomes] == [()] * len(outcomes)


def test_inference_changes_no_state_and_repeats_its_bits(column: str) -> None:
    """Two inferences on the same input give the same bits and leave the state as it was."""
    cell, (_, trained, first, second) = produced(column, "steps")
    fields = {each.field: each.value for each in cell.implementation.profile}
    # One replica's values are given to all at the beginning of every call, as its profile declares.
    moves = fields.get("state") == "caller" or fields.get("replica_moving") == "first"
    assert moves or same_bits(trained.state, first.state)
    assert same_bits(first.state, second.state)
    assert same_bits(first.quantities, second.quantities)


def test_a_reload_keeps_every_bit(column: str) -> None:
    """Saved and loaded by the library's own means: the same state, and the same output."""
    if any(fnmatch.fnmatchcase(column, each) for each in OF_ONE_REPLICA):
        pytest.skip("keeps one replica's, which is listed")
    _, (_, _, before, reloaded, after) = produced(column, "reload")
    assert same_bits(before.state, reloaded.state)
    assert same_bits(before.quantities, after.quantities)


def test_a_compiled_mode_compiled(column: str) -> None:
    """The count of compiled graphs proves the mode."""
    cell, outcomes = produced(column, "steps")
    if cell.mode == "eager":
        pytest.skip("eager")
    assert all(outcome.compilations for outcome in outcomes[1:])


def test_the_library_tells_its_version(column: str) -> None:
    """Histories and reports name it by what it is called."""
    cells, _, offers = everything()
    offer = offers[next(each.key.name for each in cells.values() if each.column == column)]
    assert offer.versions.get(offer.library)


def test_the_call_is_data(column: str) -> None:
    """The native call came through the pipe as path and literal keywords."""
    _, outcomes = produced(column, "steps")
    assert outcomes[0].call is not None
    assert outcomes[0].call["path"]


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
    cell, _ = produced(column, "steps")
    assert {kind: name for kind, name in cell.implementation.functions.items() if not name} == {}


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
    _, _, offers = everything()
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
        assert same_bits(of_linen.quantities, of_nnx.quantities)
        assert same_bits(of_linen.state, of_nnx.state)


def test_what_cannot_be_expressed_is_said_and_never_crashes(column: str) -> None:
    """Rare ranks, axes and dtypes are unsupported with a reason, or they run."""
    cells, outcomes = offers_and_outcomes()
    asked = [each for each in cells.values() if each.column == column]
    assert not [each.id for each in asked if isinstance(outcomes[each.id][-1], Crashed | TimedOut)]
    assert all(each.unsupported is None or len(each.unsupported) > 10 for each in asked)
