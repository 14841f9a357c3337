"""What the report says of bits: run to run, with one thread, compiled; and what it cannot tell."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from conformance.report.determinism import Bits, determinism
from conformance.report.model import build
from conformance.runfile.gathering import cell_of
from conformance.runfile.observed import Column, RecordedCell
from conformance.runfile.reading import read
from conformance.runfile.run import Run
from conformance.runfile.structs import CaseLine, EnvironmentLine
from conformance.spec.locations import root
from tests.many_cells import decoded
from tests.run_lines import case_line, record_line

THREADED = Path(__file__).parents[1] / "faults" / "threaded.py"
NUMPY = root() / "adapters" / "numpy" / "batch_norm.py"
SAME = {"output": "aa", "grad_beta": "bb"}


def environment(name: str, threads: str | None) -> EnvironmentLine:
    return EnvironmentLine(id=name, settings={} if threads is None else {"threads": threads})


def cell(
    bits: dict[str, str], *, threads: int | None = None, mode: str = "eager", again: str | None = "", message: str = "",
    seed: int = 1,
) -> RecordedCell:  # fmt: skip
    """A cell of one step with those digests, in the environment "free" or "one"."""
    column = Column(name=f"x-{mode}-cpu", implementation="x", mode=mode, device="cpu", library="x 1")
    name = f"determinism.{seed}/{threads}"
    told_of = {"steps": [{"seed": seed}], **({"threads": threads} if threads else {})}
    quantities = [{"quantity": each, "verdict": "conforms", "bits": digest} for each, digest in bits.items()]
    step = {"number": 1, "kind": "train", "verdict": "conforms", "expected": True, "quantities": quantities}
    line = record_line(of=name, again=again, steps=[{**step, "message": message}])
    return cell_of(
        msgspec.structs.replace(decoded("record", line), environment="one" if threads else "free"),
        msgspec.convert({"kind": "case", **case_line(name, **told_of)}, CaseLine),
        column,
    )


def told(cells: Iterable[RecordedCell], free: str | None = "4", one: str | None = "1") -> Bits:
    """What is said of the last column."""
    return determinism([environment("free", free), environment("one", one)], cells)[-1]


def test_equal_digests_are_the_same_bits() -> None:
    found = told([cell(SAME), cell(SAME, threads=1)])
    assert (found.limited.answer, found.limited.compared, found.threads) == ("same", 1, "4")


def test_other_digests_with_one_thread_name_the_quantity_and_the_cell() -> None:
    found = told([cell(SAME), cell({**SAME, "grad_beta": "cc"}, threads=1)]).limited
    assert (found.answer, found.text, found.cell) == ("differs", "grad_beta at step 1", "determinism.1/1::x-eager-cpu")


def test_of_many_quantities_the_first_is_named_and_the_others_are_counted() -> None:
    free = cell({"output": "a", "grad_beta": "b", "gamma": "c"})
    found = told([free, cell({"output": "x", "grad_beta": "y"}, threads=1)]).limited
    assert found.text == "output and 2 others at step 1"


def test_a_quantity_that_one_of_them_lacks_differs() -> None:
    found = told([cell(SAME), cell({"output": "aa"}, threads=1)]).limited
    assert (found.answer, found.text) == ("differs", "grad_beta at step 1")


def test_twins_have_the_same_inputs() -> None:
    """A case of other recipes is no twin, whatever its id."""
    found = told([cell(SAME, seed=1), cell({**SAME, "output": "cc"}, seed=2, threads=1)]).limited
    assert (found.answer, found.text) == ("unknown", "no case ran with and without their number")


@pytest.mark.parametrize(
    ("free", "one", "text"),
    [
        ("4", "4", "asked for 1, 4 in force"),
        ("1", "1", "1 in force without asking for 1"),
        ("4", None, "the library does not tell how many threads are in force"),
        (None, "1", "the library does not tell how many threads are in force"),
    ],
)
def test_a_number_of_threads_that_did_not_take_effect_proves_nothing(
    free: str | None, one: str | None, text: str
) -> None:
    """Equal or not: on one core, or where the setting is ignored, nothing was compared."""
    for other in (SAME, {**SAME, "output": "cc"}):
        found = told([cell(SAME), cell(other, threads=1)], free, one).limited
        assert (found.answer, found.text) == ("unknown", text)


def test_a_library_without_a_setting_says_so() -> None:
    found = told([cell(SAME), cell({}, threads=1, again=None, message="nothing limits them")]).limited
    assert (found.answer, found.text) == ("unknown", "nothing limits them")


def test_a_layout_that_an_api_cannot_name_is_no_obstacle() -> None:
    """Unsupported with and without a number of threads, it says nothing of either."""
    cells = [cell({}, threads=threads, again=None, message="has no such axis") for threads in (None, 1)]
    found = told([*cells, cell(SAME, seed=2), cell(SAME, seed=2, threads=1)], "1").limited
    assert found.text == "1 in force without asking for 1"


def test_compiled_is_compared_with_eager_on_the_same_case() -> None:
    """The eager column itself has nothing to compare."""
    cells = [cell({**SAME, "output": "cc"}, mode="compiled"), cell(SAME)]
    eager, compiled = determinism([environment("free", "4")], cells)
    assert eager.eager is None
    assert compiled.eager is not None
    assert (compiled.eager.answer, compiled.eager.text) == ("differs", "output at step 1")


def test_without_an_eager_cell_the_comparison_is_unknown() -> None:
    found = told([cell(SAME, mode="compiled")]).eager
    assert found is not None
    assert found.answer == "unknown"


def test_a_difference_run_to_run_counts_the_cases() -> None:
    found = told([cell(SAME), cell(SAME, seed=2, again="output at step 1")]).again
    assert (found.answer, found.differing, found.compared) == ("differs", 1, 2)
    assert found.cell == "determinism.2/None::x-eager-cpu"


def test_a_column_that_was_never_performed_twice_is_left_out() -> None:
    assert determinism([environment("free", "4")], [cell(SAME, again=None)]) == ()


@pytest.fixture(name="threaded", scope="module")
def _threaded(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a layer whose sums depend on the threads of its process, and one whose do not."""
    out = tmp_path_factory.mktemp("threaded") / "run.jsonl"
    words = ["run", "--adapter", f"{THREADED}:ADAPTER", "--case", "determinism.train/rank-4-*", "--out", str(out)]
    command = [sys.executable, "-P", "-m", "conformance", *words]
    subprocess.run(command, cwd=out.parent, check=True, capture_output=True, timeout=300)
    return read(out)


def test_a_case_that_names_threads_runs_in_a_process_limited_to_them(threaded: Run) -> None:
    """The variable is set in it alone, and the library's own word of it is in the run file."""
    lines = {line.id: (line.threads, line.process, line.settings) for line in threaded.environments}
    assert lines == {
        "threaded": (None, {}, {"threads": "2"}),
        "threaded-threads-1": (1, {"THREADED_THREADS": "1"}, {"threads": "1"}),
    }
    ran = {(record.case.rpartition("/")[2], record.environment) for record in threaded.records}
    assert ran == {("threads-default", "threaded"), ("threads-1", "threaded-threads-1")}


def test_a_sum_in_pieces_shows_and_a_whole_one_does_not(threaded: Run) -> None:
    """Both conform: that the bits differ is a fact and no fault."""
    assert {record.verdict for record in threaded.records if record.verdict != "unsupported"} == {"conforms"}
    found = {each.column.implementation: each.limited for each in build([threaded], partial=False).bits}
    assert (found["threaded.pieces"].answer, found["threaded.pieces"].text) == ("differs", "grad_beta at step 1")
    assert (found["threaded.whole"].answer, found["threaded.whole"].text) == ("same", "")


def test_only_cases_performed_twice_have_digests(threaded: Run, tmp_path: Path) -> None:
    """Other records do not grow."""
    assert all(each.bits for record in threaded.records for step in record.steps[1:] for each in step.quantities)
    words = [
        "run",
        "--adapter",
        str(NUMPY),
        "--implementation",
        "numpy.BatchNorm",
        "--case",
        "axes.rank-2/float32",
        "--out",
        "run.jsonl",
    ]
    command = [sys.executable, "-P", "-m", "conformance", *words]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    plain = read(tmp_path / "run.jsonl")
    assert not [each for record in plain.records for step in record.steps for each in step.quantities if each.bits]
    assert [line.id for line in plain.environments] == ["numpy"]
