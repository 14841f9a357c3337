"""A recorded cell as a script: it runs without us, gives the recorded numbers, and ends as the record does."""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conformance.errors import UsageError
from conformance.execution.execute import execute
from conformance.execution.pool import Limits, Workers
from conformance.execution.survey import survey
from conformance.judging.judge import judge
from conformance.planning.discovery import keys
from conformance.planning.plan import Offer, Selection, plan
from conformance.reference.expected import References
from conformance.reproduce import Evidence, recorded, script
from conformance.runfile import lines
from conformance.runfile.structs import FORMAT, CaseLine, Header
from conformance.runfile.writing import RunWriter, encoded
from conformance.spec.case import Case
from conformance.spec.divergences import Known
from tests.cells import INFER, TRAIN, case, located
from tests.command_line import inside
from tests.reproduced import Hosts, Run, complaint, run

ADAPTER = Path(__file__).parents[1] / "faults" / "reproducible.py"
LARGE: dict[str, Any] = {"id": "fake.large", "shape": [40, 3]}
ONE: dict[str, Any] = {"id": "fake.one", "shape": [1, 3]}
CASES = {
    "fake.case": case(TRAIN, INFER, INFER),
    "fake.large": case(TRAIN, INFER, **LARGE),
    "fake.one": case(TRAIN, INFER, **ONE),
    "fake.strided": case(TRAIN, INFER, id="fake.strided", memory="strided"),
    "fake.strided-upstream": case(TRAIN, INFER, id="fake.strided-upstream", upstream_memory="strided"),
    "fake.repeated": case({"step": "repeat", "times": 20, "steps": [TRAIN]}, INFER, id="fake.repeated"),
    "fake.refused": case(TRAIN, {**INFER, "shape": [8], "refused": "wrong rank"}, INFER, id="fake.refused"),
    "fake.broadcast": case(TRAIN, {**INFER, "shape": [8, 1], "refused": "wrong size"}, INFER, id="fake.broadcast"),
    "fake.handed": case(TRAIN, {**INFER, "handed": {"gamma": [4]}, "refused": "wrong size"}, INFER, id="fake.handed"),
    "fake.handed-broadcast": case(
        TRAIN, {**INFER, "handed": {"gamma": [1]}, "refused": "wrong size"}, INFER, id="fake.handed-broadcast"
    ),
    "fake.whole": case(
        {"step": "infer", "input": {"kind": "integers", "seed": 3, "low": 0, "high": 200}},
        id="fake.whole",
        input_dtype="uint8",
        shape=[40, 3],
    ),
    "fake.gradients": case(TRAIN, INFER | {"upstream": TRAIN["upstream"]}, id="fake.gradients"),
    "fake.literal": case(
        TRAIN | {"input": {"kind": "literal", "values": [[1.5, float("nan"), 0.0]] * 8}}, id="fake.literal"
    ),
}


@functools.cache
def evidences() -> dict[str, Evidence]:
    """Perform every case by every implementation, once."""
    cases = [located(each) for each in CASES.values()]
    found = {}
    with tempfile.TemporaryDirectory() as folder, Workers(1, Path(folder), Limits(cell=2.0)) as workers:
        (offer,) = survey(keys({}, [str(ADAPTER)]), [each.case.configuration for each in cases], workers)
        assert isinstance(offer, Offer), offer
        cells = [
            cell
            for cell in plan(cases, [offer], Selection())
            if cell.case.id == "fake.case" or cell.implementation.name in ("layer.Right", "layer.Refusing")
        ]
        for cell, outcomes in execute(cells, workers):
            record = lines.record_line(cell, judge(cell, outcomes, References()), Known())
            environment = lines.environment_line(offer)
            (implementation,) = (each for each in environment.implementations if each.name == record.implementation)
            found[cell.id] = Evidence(
                record=record,
                case=cell.case,
                environment=environment,
                implementation=implementation,
                causes=lines.recorded_catalogue(),
                file="run.jsonl",
            )
    return found


def evidence(implementation: str, name: str = "fake.case", mode: str = "eager") -> Evidence:
    return evidences()[f"{name}::layer.{implementation}-{mode}-cpu"]


@pytest.fixture(name="forked", scope="module")
def _forked() -> Iterator[Run]:
    """Run scripts in forks of a process that has imported what they import."""
    hosts = Hosts()
    yield hosts.run
    hosts.close()


def test_a_script_of_code_from_a_run_file_that_the_suite_does_not_ship_says_whose_it_is() -> None:
    found = evidence("Right")
    said = " ".join(script(found).split())
    assert "The native calls are the code that run.jsonl holds (" in said
    assert "read it before you run it" in said
    assert "read it before you run it" not in " ".join(script(replace(found, file="")).split())


WRONG = ("fake.gradients", "fake.broadcast", "fake.handed-broadcast", "fake.whole")


@pytest.mark.parametrize("name", [each for each in CASES if each not in WRONG])
def test_the_script_of_a_healthy_cell_gives_the_recorded_numbers_and_exits_0(
    name: str, forked: Run, tmp_path: Path
) -> None:
    """Small data stand in it, large data are made again; loops, layouts and non-finite values included."""
    found = evidence("Right", name)
    assert found.record.verdict in ("exact", "conforms", "outside_domain"), found.record
    assert complaint(found, sys.executable, tmp_path, forked) == ""


def test_a_script_runs_by_an_interpreter_named_relatively(tmp_path: Path) -> None:
    """Nox names its environments from the project's folder, and a script runs in another."""
    here = os.path.relpath(sys.executable)
    assert not Path(here).is_absolute()
    assert complaint(evidence("Right"), here, tmp_path) == ""


@pytest.mark.parametrize(
    ("implementation", "said"),
    [
        ("Shifted", "NO step 1 output["),
        ("Wide", "NO step 1 gives grad_gamma as float32: float64"),
        ("Flat", "NO step 1 gives output in the shape (8, 3): (24,)"),
        ("Silent", "NO step 1 gives grad_beta"),
        ("Overwriting", "NO step 1 leaves its caller's input alone"),
        ("RefusingLate", "NO step 1 leaves gamma as before"),
        ("NotFinite", "NO step 1 output[0, 0]: nan, as recorded;"),
        ("Drifting", "NO step 3 gives the bits of step 2"),
        ("Forgetting", "NO the gamma put in is the one read back"),
    ],
)
def test_the_script_of_a_deviating_cell_shows_the_deviation_and_exits_1(
    implementation: str, said: str, forked: Run, tmp_path: Path
) -> None:
    """Each kind of thing that a record can hold against a step."""
    found = evidence(implementation)
    assert found.record.verdict == "deviates", found.record
    for name in ("whole", "short"):
        (tmp_path / name).mkdir()
    assert complaint(found, sys.executable, tmp_path / "whole", forked) == ""
    short = forked(script(found), sys.executable, tmp_path / "short")
    assert (short.returncode, [line for line in short.stdout.splitlines() if line.startswith(said)] != []) == (1, True)


def test_a_script_that_gives_other_numbers_than_recorded_is_seen(tmp_path: Path) -> None:
    """The check of the contract tests goes red on an implementation that tells a script from a worker."""
    found = evidence("Elsewhere")
    assert found.record.expected
    assert "recorded" in complaint(found, sys.executable, tmp_path)


def test_a_script_whose_end_is_not_the_recorded_one_is_seen(tmp_path: Path) -> None:
    """A record that calls a deviation expected is contradicted."""
    found = evidence("Shifted")
    steps = tuple(msgspec.structs.replace(step, expected=True) for step in found.record.steps)
    record = msgspec.structs.replace(found.record, steps=steps)
    assert "exit code 1" in complaint(replace(found, record=record), sys.executable, tmp_path)


def test_a_documented_refusal_is_asserted(tmp_path: Path) -> None:
    """The exception is caught, its type is held against the documentation, and the next step runs."""
    found = evidence("Refusing", "fake.one")
    done = run(script(found), sys.executable, tmp_path)
    assert (found.record.verdict, done.returncode) == ("refused", 0)
    assert "ok step 1 raises ValueError, as documented" in done.stdout


def test_a_refusal_that_must_be_is_asserted(forked: Run, tmp_path: Path) -> None:
    done = forked(script(evidence("Right", "fake.refused"), whole=True), sys.executable, tmp_path)
    assert done.returncode == 0, done
    assert "ok step 2 raises ValueError, as it must" in done.stdout


def test_numbers_of_what_must_be_refused_are_shown(forked: Run, tmp_path: Path) -> None:
    found = evidence("Right", "fake.broadcast")
    done = forked(script(found), sys.executable, tmp_path)
    assert (found.record.verdict, done.returncode) == ("deviates", 1)
    assert "NO step 2 refuses an input of shape (8, 1)" in done.stdout


def test_numbers_of_a_gamma_that_must_be_refused_are_shown(forked: Run, tmp_path: Path) -> None:
    found = evidence("Right", "fake.handed-broadcast")
    done = forked(script(found), sys.executable, tmp_path)
    assert (found.record.verdict, done.returncode) == ("deviates", 1)
    assert "NO step 2 refuses gamma of shape (1,)" in done.stdout


def test_whole_numbers_are_handed_over_as_they_were(forked: Run, tmp_path: Path) -> None:
    """The layer gives its output the dtype of the input."""
    found = evidence("Right", "fake.whole")
    done = forked(script(found), sys.executable, tmp_path)
    assert '.astype("uint8")' in script(found)
    assert "NO step 1 gives output as float32: uint8" in done.stdout


def test_an_undocumented_refusal_fails_with_its_traceback(tmp_path: Path) -> None:
    """The framework's own words are shown."""
    done = run(script(evidence("Right", "fake.gradients")), sys.executable, tmp_path)
    assert done.returncode == 1
    assert "NotImplementedError: no gradients in inference" in done.stderr
    assert done.stdout == ""


def test_where_a_refusal_is_the_finding_nothing_comes_after_the_call(tmp_path: Path) -> None:
    """The call raises, the traceback is the framework's, and nothing is left to be asserted."""
    text = script(evidence("Right", "fake.gradients"))
    *_, last = [line for line in text.splitlines() if line]
    raising = 'raise NotImplementedError("no gradients in inference")'
    assert (last, "ELEMENTS" in text, "seen" in text) == (raising, False, False), text
    whole = run(script(evidence("Right", "fake.gradients"), whole=True), sys.executable, tmp_path)
    assert "NO step 2 runs without an exception" in whole.stdout


def test_a_refused_start_is_shown(tmp_path: Path) -> None:
    """Nothing comes after it, and the exception stands."""
    done = run(script(evidence("Right", mode="compiled")), sys.executable, tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith("RuntimeError: there is no compiler\n")


def test_a_crash_crashes(tmp_path: Path) -> None:
    """The script ends as the worker did."""
    found = evidence("Aborting")
    assert found.record.verdict == "crashed"
    assert run(script(found), sys.executable, tmp_path).returncode == -6


def test_a_time_out_is_ended_with_the_place_where_it_hangs(tmp_path: Path) -> None:
    """The deadline of the run is the script's."""
    done = run(script(evidence("Hanging")), sys.executable, tmp_path)
    assert done.returncode == 1
    assert "train_hanging" in done.stderr


def test_the_script_is_short_and_free_of_what_the_cell_never_reaches() -> None:
    """Other modes, unused parameters, annotations and other implementations are left out."""
    text = script(replace(evidence("Shifted"), file=""))
    assert len(text.splitlines()) < 110
    assert max(map(len, text.splitlines())) <= 100
    assert [each for each in ("conformance", "compiled", "Any", "train_wide", "mode", "infer") if each in text] == []
    assert "np.float32(0.5)" in text
    assert "axes=(0,)" in text


def test_what_the_environment_of_the_process_was_is_set_before_the_imports() -> None:
    text = script(evidence("Right"))
    assert text.index('os.environ |= {"LAYER_SCALE": "1"}') < text.index("import numpy")


def test_data_that_are_made_again_are_checked(tmp_path: Path) -> None:
    """Another seed is not the recorded data."""
    text = script(evidence("Right", "fake.large"))
    done = run(text.replace("_irwin_hall(11", "_irwin_hall(10"), sys.executable, tmp_path)
    assert "other data than recorded" in done.stderr


def test_a_function_that_is_not_in_the_file_is_said_in_one_line() -> None:
    with pytest.raises(UsageError, match=r"reproducible\.py: layer\.Closed: its function for train is not one at the"):
        script(evidence("Closed"))


@pytest.mark.parametrize("made", CASES.values(), ids=list(CASES))
def test_a_case_is_read_back_from_its_line(made: Case) -> None:
    """Steps, repetitions, recipes and the numbers that JSON does not have."""
    line = msgspec.json.decode(encoded(lines.case_line(located(made))), type=CaseLine)
    again = lines.case_from(line)
    assert repr(again.performed) == repr(made.performed)
    assert again.configuration == made.configuration


def run_file(found: Evidence, path: Path) -> Path:
    """Write the run file that such evidence is found in."""
    with RunWriter(path) as writer:
        writer.add(
            Header(format=FORMAT, suite="0.1.0", spec="abc", planned=1, narrowed=False, causes=dict(found.causes))
        )
        writer.add(found.environment)
        writer.add(lines.case_line(located(found.case)))
        writer.add(found.record)
    return path


def test_a_run_file_alone_gives_the_script(tmp_path: Path) -> None:
    """The adapter's source is in it: no worker is asked."""
    found = evidence("Right")
    path = run_file(found, tmp_path / "run.jsonl")
    assert script(recorded(found.record.cell, [path])) == script(found)


def test_an_unknown_cell_is_one_line_with_the_nearest(tmp_path: Path) -> None:
    path = run_file(evidence("Right"), tmp_path / "run.jsonl")
    with pytest.raises(UsageError, match=r"no such cell in .*; did you mean fake\.case::layer\.Right-eager-cpu\?"):
        recorded("fake.case::layer.Rigth-eager-cpu", [path])


def test_a_run_without_sources_is_said_in_one_line(tmp_path: Path) -> None:
    found = evidence("Right")
    environment = msgspec.structs.replace(found.environment, sources={})
    path = run_file(replace(found, environment=environment), tmp_path / "run.jsonl")
    with pytest.raises(UsageError, match="an older run, which does not hold the source of its adapters"):
        recorded(found.record.cell, [path])


def test_without_a_run_the_cell_is_performed_now(tmp_path: Path) -> None:
    """The script goes to a file, and exits as the cell does."""
    words = ["axes.rank-2/float32::layer.Shifted-eager-cpu", "--adapter", str(ADAPTER), "--out", "deep/a.py"]
    found = inside("reproduce", *words, folder=tmp_path)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    assert run((tmp_path / "deep" / "a.py").read_text(), sys.executable, tmp_path).returncode == 1


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("axes.rank-2/float32", "expected CASE::IMPLEMENTATION-MODE-DEVICE, as a failure prints it"),
        ("axes.rank-2/flaot32::layer.Right-eager-cpu", "did you mean axes.rank-2/float32?"),
        ("axes.rank-2/float32::layer.Right-eager-gpu", "not offered here; did you mean"),
        ("axes.rank-2/float64::layer.Right-eager-cpu", "unsupported: does not take float64"),
    ],
)
def test_a_cell_that_cannot_be_is_one_line_and_exit_code_2(cell: str, said: str, tmp_path: Path) -> None:
    found = inside("reproduce", cell, "--adapter", str(ADAPTER), folder=tmp_path)
    assert found.returncode == 2
    assert said in found.stderr
    assert found.stderr.count("\n") == 1
