"""Test vectors: what `export` writes, that its numbers lose nothing, and that other programs read them."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from msgspec import UNSET

from conformance.answers import safetensors
from conformance.answers.protobuf import fields
from conformance.answers.results import judge_results
from conformance.answers.vector_files import read_index, write
from conformance.answers.vectors import SMALL, vector_of
from conformance.errors import UsageError
from conformance.reference.inputs import inputs_of
from conformance.runfile.reading import read
from conformance.spec.loader import Located, Spec
from conformance.verdict import Verdict
from tests import shipped

CONSUMER = Path(__file__).parents[2] / "docs" / "examples" / "consumer.mjs"


@functools.cache
def spec() -> Spec:
    return shipped.spec()


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return vectors of some cases of batch normalization: every dtype, and some so large that arrays go apart."""
    folder = tmp_path_factory.mktemp("vectors")
    cases = [
        located
        for family in ("axes", "edges", "freezing", "moving", "overflow", "precision", "stability")
        for located in [entry for entry in spec().cases if entry.case.family == family][::9]
        if located.case.op == "batch_norm"
    ]
    write(spec(), [*cases, *large()], folder, onnx=True)
    return folder


def large() -> list[Located]:
    """Return a case of batch normalization whose arrays go into a file of their own."""
    return [
        located
        for located in spec().cases
        if located.case.op == "batch_norm" and SMALL < np.prod(located.case.shape) < 2 * SMALL
    ][:1]


def document(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_file_fits_its_schema(folder: Path) -> None:
    """The index and each case."""
    jsonschema.validate(document(folder / "index.json"), document(folder / "schema" / "index.schema.json"))
    schema = document(folder / "schema" / "case.schema.json")
    for entry in document(folder / "index.json")["cases"]:
        jsonschema.validate(document(folder / entry["file"]), schema)


def test_inputs_are_written_without_a_loss() -> None:
    """Each hexadecimal float is the very number."""
    (located,) = [entry for entry in spec().cases if entry.case.id == "moving.correction"]
    vector, _ = vector_of(located)
    for step, inputs in zip(vector.steps, inputs_of(located.case).steps, strict=True):
        assert inputs.input is not None
        values = [float.fromhex(str(text)) for text in step.arrays["input"].values or ()]
        assert values == inputs.input.reshape(-1).tolist()


def test_a_step_that_must_be_refused_says_so_and_leaves_the_state() -> None:
    (entry,) = [located for located in spec().cases if located.case.id == "misfit.images/features-last"]
    fits, wrong, *_ = vector_of(entry)[0].steps
    assert (fits.refused, wrong.refused) == (UNSET, "wrong size")
    assert set(wrong.expected) == set(wrong.before)
    assert wrong.arrays["input"].shape == (4, 5, 5, 1)


def test_what_is_handed_in_a_wrong_size_is_written_beside_the_state() -> None:
    (entry,) = [located for located in spec().cases if located.case.id == "misfit.handed/served-learned"]
    fits, short, long, *_ = vector_of(entry)[0].steps
    assert fits.handed == UNSET
    assert isinstance(short.handed, dict)
    assert isinstance(long.handed, dict)
    assert (short.refused, short.handed["gamma"].shape, short.before["gamma"].shape) == ("wrong size", (1,), (3,))
    values = [float.fromhex(str(text)) for text in long.handed["gamma"].values or ()]
    assert values == [0.75, 1.25, 1.75, 0.75]


def test_whole_numbers_are_written_as_such() -> None:
    (entry,) = [located for located in spec().cases if located.case.id == "whole.images/features-first"]
    (first, _), tensors = vector_of(entry)[0].steps, vector_of(entry)[1]
    assert (first.arrays["input"].dtype, tensors) == ("uint8", {})


def test_another_dialect_is_there_with_its_numbers() -> None:
    """With two values per feature the variance over m - 1 is twice that over m."""
    (located,) = [entry for entry in spec().cases if entry.case.id == "moving.correction"]
    step = vector_of(located)[0].steps[0]
    (corrected,) = [other for other in step.dialects if (other.field, other.value) == ("moving_correction", 1)]
    assert list(corrected.expected) == ["moving_variance"]
    before, right, other = (
        np.array([float.fromhex(str(text)) for text in array.values or ()])
        for array in (
            step.before["moving_variance"],
            step.expected["moving_variance"].value,
            corrected.expected["moving_variance"].value,
        )
    )
    np.testing.assert_allclose(other - 0.9 * before, 2 * (right - 0.9 * before), rtol=1e-12)


def test_large_arrays_are_in_a_file_beside(folder: Path) -> None:
    """By the name that the vector gives them."""
    (located,) = large()
    (entry,) = [entry for entry in read_index(folder).cases if entry.id == located.case.id]
    vector = document(folder / entry.file)
    arrays = safetensors.read((folder / entry.file).with_name(vector["tensors"]))
    first = inputs_of(located.case).steps[0].input
    assert first is not None
    assert arrays[vector["steps"][0]["arrays"]["input"]["tensor"]].tobytes() == first.tobytes()


def test_a_model_has_one_node_of_five_inputs(folder: Path) -> None:
    """In the layout of the backend's tests, with tolerances beside."""
    models = sorted((folder / "onnx" / "conformance").iterdir())
    assert models
    for model in models:
        graph = next(value for number, value in fields((model / "model.onnx").read_bytes()) if number == 7)
        assert isinstance(graph, bytes)
        assert sum(number == 11 for number, _ in fields(graph)) == 5
        assert document(model / "data.json")["rtol"] == 0
        assert len(list((model / "test_data_set_0").glob("input_*.pb"))) == 5


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    """Nothing of a person's is replaced."""
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="other things than vectors"):
        write(spec(), [], tmp_path, onnx=False)


# What another program makes of it.

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def consume(program: Path, folder: Path, out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Let the program consume the vectors, and judge its results into `run.jsonl`."""
    command = ["node", str(program), str(folder), str(out / "results.jsonl"), *words]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    judge_results(folder, out / "results.jsonl", out / "run.jsonl")
    return ran


def wrong_in(ran: subprocess.CompletedProcess[str]) -> set[str]:
    return {line.partition(" ")[0] for line in ran.stdout.splitlines() if "outside the bound" in line}


@needs_node
def test_a_consumer_in_javascript_agrees_with_us_on_every_case(folder: Path, tmp_path: Path) -> None:
    """What its comparison finds wrong of its own numbers we find wrong too, in a run file like any other."""
    ran = consume(CONSUMER, folder, tmp_path)
    assert ran.stderr == ""
    run = read(tmp_path / "run.jsonl")
    assert {record.implementation for record in run.records} == {"javascript.batch_norm"}
    assert len(run.records) == run.header.planned == len(read_index(folder).cases)
    deviating = {record.case for record in run.records if record.verdict is Verdict.DEVIATES}
    assert wrong_in(ran) == deviating
    # Silent overflows, which are faults of the plain formulas.
    assert {case.partition(".")[0] for case in deviating} <= {"overflow"}


@needs_node
def test_the_consumer_computes_centering_too(tmp_path: Path) -> None:
    """A row of its own: results are of one operation."""
    cases = [located for located in spec().cases if located.case.id.startswith("centering.rank-2/")]
    write(spec(), cases, tmp_path / "vectors", onnx=False)
    ran = consume(CONSUMER, tmp_path / "vectors", tmp_path, "centering")
    assert (ran.stderr, ran.stdout) == ("", f"{len(cases)} cases, 0 wrong\n")
    records = read(tmp_path / "run.jsonl").records
    assert {(record.implementation, record.verdict.agrees) for record in records} == {("javascript.centering", True)}
    assert len(records) == len(cases) > 0


@needs_node
def test_the_consumer_and_we_find_the_same_cases_wrong(folder: Path, tmp_path: Path) -> None:
    """With epsilon outside the root."""
    text = CONSUMER.read_text(encoding="utf-8")
    wrong = tmp_path / "wrong.mjs"
    assert "Math.sqrt(v + c.epsilon)" in text
    wrong.write_text(text.replace("Math.sqrt(v + c.epsilon)", "Math.sqrt(v) + c.epsilon"), encoding="utf-8")
    ran = consume(wrong, folder, tmp_path)
    records = read(tmp_path / "run.jsonl").records
    assert ran.returncode == 1
    assert wrong_in(ran) == {record.case for record in records if record.verdict is Verdict.DEVIATES}
    named = {cause.id for record in records for causes in record.diagnosis for cause in causes}
    assert "epsilon-outside-root" in named
