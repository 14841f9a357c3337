"""Spec files become cases, and what cannot be meant is refused at its place in the file."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from conformance.errors import SpecErrors
from conformance.operations import OPERATIONS
from conformance.spec.loader import file_schema, load, load_clauses
from conformance.spec.locations import spec_folder
from conformance.spec.yaml_document import load as load_document
from tests.spec.case_texts import CLAUSES, HEAD, STEPS, complaints, loaded


def test_a_file_of_one_case_is_loaded(tmp_path: Path) -> None:
    (located,) = loaded(tmp_path, fam=HEAD + STEPS).cases
    assert (located.case.id, located.file.name, located.place.line) == ("fam.one", "fam.yaml", 1)


def test_clauses_are_bold_numbers_with_their_titles(tmp_path: Path) -> None:
    assert loaded(tmp_path, fam=HEAD + STEPS).clauses == {"3.1": "Mean", "4.1": "Correction 0"}


def test_the_hash_changes_with_a_case(tmp_path: Path) -> None:
    before = loaded(tmp_path, fam=HEAD + STEPS).hash
    assert before == loaded(tmp_path, fam=HEAD + STEPS).hash
    assert before != loaded(tmp_path, fam=HEAD + STEPS.replace("seed: 1", "seed: 3")).hash


def test_the_hash_changes_with_the_semantics(tmp_path: Path) -> None:
    before = loaded(tmp_path, fam=HEAD + STEPS).hash
    (tmp_path / "semantics.md").write_text(CLAUSES + "More.\n")
    assert load(tmp_path).hash != before


def test_an_unknown_clause_names_the_nearest(tmp_path: Path) -> None:
    assert complaints(tmp_path, fam=(HEAD + STEPS).replace("3.1", "3.11")) == [
        "fam.yaml:4:13: clauses.0: no clause '3.11'; did you mean 3.1?"
    ]


def test_a_case_stands_in_the_file_of_its_family(tmp_path: Path) -> None:
    assert complaints(tmp_path, other=HEAD + STEPS) == [
        "other.yaml:1:3: id: begins with 'fam', but its family is its file's name, 'other'"
    ]


def test_an_unknown_operation_names_the_known_ones(tmp_path: Path) -> None:
    assert complaints(tmp_path, fam=(HEAD + STEPS).replace("op: batch_norm", "op: spectral_norm")) == [
        f"fam.yaml:5:3: op: expected one of {', '.join(sorted(OPERATIONS))}, got 'spectral_norm'"
    ]


@pytest.mark.parametrize("axes", ["[2]", "[-3]", "[1, 1]", "[1, -1]"])
def test_feature_axes_must_be_different_axes_of_the_shape(tmp_path: Path, axes: str) -> None:
    (found,) = complaints(tmp_path, fam=(HEAD + STEPS).replace("[-1]", axes))
    assert "feature_axes: must be different axes of a shape of rank 2" in found


@pytest.mark.parametrize("same", ["", "  matrix: {dtype: [float32, float32]}\n"])
def test_an_id_that_stands_twice_is_refused(tmp_path: Path, same: str) -> None:
    text = HEAD + STEPS + same
    (found,) = complaints(tmp_path, fam=text if same else text + text)
    assert "is also the id at" in found
    assert found.endswith("fam.yaml:1:3")


def test_an_option_that_the_operation_has_not_is_refused(tmp_path: Path) -> None:
    head = HEAD.replace("  op: batch_norm\n", "  op: batch_norm\n  options: {virtual: 4}\n")
    assert head != HEAD
    (found,) = complaints(tmp_path, fam=head + STEPS)
    assert found.endswith("options.virtual: unknown key")


@pytest.mark.parametrize(
    "values", ['["1.0", "x", "2"]', "[1.0, 2.0, 3.0]", '["nan", "1", "2"]', '[["1"], ["1", "2"]]', "[]"]
)
def test_published_numbers_must_be_decimal_texts(tmp_path: Path, values: str) -> None:
    expected = f"  expected:\n    - {{step: 1, quantity: batch_mean, values: {values}}}\n"
    (found,) = complaints(tmp_path, fam=HEAD + STEPS + expected)
    assert "expected.0.values: expected decimal texts" in found


def test_a_published_step_must_exist(tmp_path: Path) -> None:
    expected = '  expected: [{step: 2, quantity: batch_mean, values: ["1", "1", "1"]}]\n'
    (found,) = complaints(tmp_path, fam=HEAD + STEPS + expected)
    assert "expected.0.step: there are 1 steps" in found


def test_channels_last_needs_a_spatial_axis(tmp_path: Path) -> None:
    for key in ("memory", "upstream_memory"):
        (found,) = complaints(tmp_path, fam=HEAD + f"  {key}: channels_last\n" + STEPS)
        assert f"{key}: channels_last needs an axis beside batch and features" in found


def test_a_file_alone_may_be_checked(tmp_path: Path) -> None:
    loaded(tmp_path, fam=HEAD + STEPS)
    other = tmp_path / "two.yaml"
    other.write_text((HEAD + STEPS).replace("fam.one", "two.one"))
    assert [located.case.id for located in load(tmp_path, [other]).cases] == ["two.one"]


def test_every_shipped_case_loads() -> None:
    assert len(load(spec_folder()).cases) > 0


def test_every_clause_but_those_of_words_and_verdicts_is_tested_by_a_case() -> None:
    spec = load(spec_folder())
    tested = {clause for located in spec.cases for clause in located.case.clauses}
    binding = {number for number in spec.clauses if number.partition(".")[0] not in ("1", "21")}
    assert binding - tested == set()


def test_no_clause_number_stands_twice() -> None:
    text = (spec_folder() / "semantics.md").read_text()
    assert text.count("\n**") == len(load_clauses(spec_folder() / "semantics.md"))


@pytest.mark.parametrize("file", sorted((spec_folder() / "cases").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_json_schema_accepts_a_shipped_file(file: Path) -> None:
    jsonschema.Draft202012Validator(file_schema()).validate(load_document(file).value)


@pytest.mark.parametrize(
    "change",
    [{"epsilom": 1}, {"dtype": "float8"}, {"id": "x"}, {"steps": [{"step": "evaluate"}]}, {"shape": "2x3"}],
)
def test_the_json_schema_refuses_what_the_loader_does(change: dict[str, Any]) -> None:
    good = {
        "id": "fam.one",
        "title": "A title that is a fact.",
        "source": "somewhere",
        "clauses": ["3.1"],
        "op": "batch_norm",
        "shape": [2, 3],
        "feature_axes": [-1],
        "steps": [{"step": "infer", "input": {"kind": "normal", "seed": 1}}],
    }
    validator = jsonschema.Draft202012Validator(file_schema())
    assert validator.is_valid([good])
    assert not validator.is_valid([good | change])


def test_the_schema_is_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(json.dumps(file_schema())))


@pytest.mark.parametrize(
    ("dialect", "message"),
    [
        ("{moving_corection: 1}", "dialect.moving_corection: no field of a dialect; did you mean moving_correction?"),
        ("{ddof: 1}", "no field of a dialect; here it is moving_correction"),
        ("{moving_correction: 2}", "expected.0.dialect.moving_correction: expected one of 0, 1, got 2"),
        ("{moving_correction: true}", "expected one of 0, 1, got True"),
    ],
)
def test_a_dialect_that_there_is_not_is_refused(tmp_path: Path, dialect: str, message: str) -> None:
    expected = f'  expected: [{{step: 1, quantity: batch_mean, values: ["1", "1", "1"], dialect: {dialect}}}]\n'
    (found,) = complaints(tmp_path, fam=HEAD + STEPS + expected)
    assert message in found


def test_a_family_of_the_shipped_cases_is_theirs(tmp_path: Path) -> None:
    loaded(tmp_path, fam=HEAD + STEPS)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "fam.yaml").write_text((HEAD + STEPS).replace("fam.one", "fam.mine"))
    with contextlib.chdir(tmp_path), pytest.raises(SpecErrors) as caught:
        load(tmp_path, [tmp_path / "own" / "fam.yaml"])
    message = "'fam' is a family of the shipped cases: give the file, and its ids, another name"
    assert str(caught.value) == f"own/fam.yaml:1:1: {message}"


def test_a_shipped_file_may_be_named_by_itself(tmp_path: Path) -> None:
    loaded(tmp_path, fam=HEAD + STEPS)
    assert len(load(tmp_path, [tmp_path / "cases" / ".." / "cases" / "fam.yaml"]).cases) == 1


def test_a_file_s_name_that_no_id_can_begin_with_is_told(tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    (tmp_path / "My Cases.yaml").write_text(HEAD + STEPS)
    (tmp_path / "semantics.md").write_text(CLAUSES)
    with pytest.raises(SpecErrors, match="'My Cases', which must be lower case, digits and dashes"):
        load(tmp_path, [tmp_path / "My Cases.yaml"])


def test_too_many_repetitions_are_refused_before_they_are_written_out(tmp_path: Path) -> None:
    repeat = f"{{step: repeat, times: 1000, steps: [{', '.join(['{step: freeze}'] * 100)}]}}"
    steps = "  steps:\n" + f"    - {repeat}\n" * 400
    assert complaints(tmp_path, fam=HEAD + steps) == [
        "fam.yaml:8:3: steps: are 40,000,000 with every repetition, over the budget of 10,000"
    ]


@pytest.mark.parametrize("text", ["1_0.00", "\u0661\u0662", "1e999999", "1e400", " 1", "inf", "0x10"])
def test_a_published_text_is_a_plain_decimal_that_float64_holds(tmp_path: Path, text: str) -> None:
    values = f'  expected: [{{step: 1, quantity: moving_mean, values: ["{text}", "1.000", "1.000"]}}]\n'
    (complaint,) = complaints(tmp_path, fam=HEAD + values + STEPS)
    assert "expected decimal texts" in complaint
