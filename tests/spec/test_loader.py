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
from conformance.spec.loader import Spec, file_schema, load, load_clauses
from conformance.spec.locations import spec_folder
from conformance.spec.yaml_document import load as load_document

HEAD = """- id: fam.one
  title: A title that is a fact.
  source: somewhere
  clauses: ["3.1"]
  op: batch_norm
  shape: [2, 3]
  feature_axes: [-1]
"""
STEPS = """  steps:
    - {step: train, input: {kind: normal, seed: 1}, upstream: {kind: normal, seed: 2}}
"""
CLAUSES = "# Semantics\n\n**3.1 Mean.** Text.\n\n**4.1 Correction 0.** Text.\n"


def loaded(folder: Path, **files: str) -> Spec:
    (folder / "cases").mkdir(exist_ok=True)
    (folder / "semantics.md").write_text(CLAUSES)
    for name, text in files.items():
        (folder / "cases" / f"{name}.yaml").write_text(text)
    return load(folder)


def complaints(folder: Path, **files: str) -> list[str]:
    """Return each error as it reads in the folder of the files."""
    (folder / "cases").mkdir(exist_ok=True)
    with contextlib.chdir(folder / "cases"), pytest.raises(SpecErrors) as caught:
        loaded(folder, **files)
    return [str(error) for error in caught.value.errors]


def step(text: str) -> str:
    return f"{HEAD}  steps:\n    - {text}\n"


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


def test_a_matrix_of_values_expands_with_their_labels(tmp_path: Path) -> None:
    spec = loaded(tmp_path, fam=HEAD + STEPS + "  matrix: {dtype: [float32, bfloat16], decay: [0.5]}\n")
    assert [(each.case.id, each.case.dtype, each.case.decay) for each in spec.cases] == [
        ("fam.one/float32/decay-0.5", "float32", 0.5),
        ("fam.one/bfloat16/decay-0.5", "bfloat16", 0.5),
    ]


def test_a_matrix_of_labels_replaces_the_fields_they_name(tmp_path: Path) -> None:
    matrix = "  matrix:\n    layout:\n      last: {}\n      first: {shape: [3, 2], feature_axes: [0]}\n"
    spec = loaded(tmp_path, fam=HEAD + STEPS + matrix)
    assert [(each.case.id, each.case.shape, each.case.feature_axes) for each in spec.cases] == [
        ("fam.one/last", (2, 3), (-1,)),
        ("fam.one/first", (3, 2), (0,)),
    ]


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ("[float32]", "fam.yaml:10:3: 0.matrix: expected a mapping of axes"),
        ("{}", "fam.yaml:10:3: 0.matrix: expected a mapping of axes"),
        ("{dtype: []}", "expected a list of plain values, or labels that each name the fields they replace"),
        ("{a: {x: 1}}", "expected a list of plain values, or labels that each name the fields they replace"),
        ("{a: {'x y': {decay: 0.5}}}", "'x y' cannot stand in an id"),
        ("{a: {'x::y': {decay: 0.5}}}", "'x::y' cannot stand in an id"),
    ],
)
def test_a_matrix_that_cannot_be_expanded_is_refused(tmp_path: Path, matrix: str, message: str) -> None:
    (found,) = complaints(tmp_path, fam=f"{HEAD}{STEPS}  matrix: {matrix}\n")
    assert message in found


def test_an_error_in_a_label_s_field_has_the_place_of_that_field(tmp_path: Path) -> None:
    matrix = "  matrix:\n    layout:\n      last: {}\n      first:\n        shape: [3, x]\n"
    (found,) = complaints(tmp_path, fam=HEAD + STEPS + matrix)
    assert found.startswith("fam.yaml:14:20: shape.1: input should be a valid integer")


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    assert complaints(tmp_path, fam=HEAD + "  epsilom: 1e-3\n" + STEPS) == [
        "fam.yaml:8:3: epsilom: unknown key; did you mean epsilon?"
    ]


def test_an_unknown_key_of_a_recipe_names_the_nearest_of_that_recipe(tmp_path: Path) -> None:
    text = step("{step: infer, input: {kind: normal, seed: 1, feature_shfit: 1.0}}")
    assert complaints(tmp_path, fam=text) == [
        "fam.yaml:9:52: steps.0.input.feature_shfit: unknown key; did you mean feature_shift?"
    ]


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    assert complaints(tmp_path, fam=(HEAD + STEPS).replace("  op: batch_norm\n", "")) == [
        "fam.yaml:1:3: op: is missing"
    ]


def test_a_missing_key_of_a_step_is_named_at_the_step(tmp_path: Path) -> None:
    (found,) = complaints(tmp_path, fam=step("{step: train, upstream: {kind: normal, seed: 1}}"))
    assert found == "fam.yaml:9:7: steps.0: input: is missing"


def test_an_unknown_step_names_the_known_ones(tmp_path: Path) -> None:
    (found,) = complaints(tmp_path, fam=step("{step: evaluate}"))
    assert found.startswith("fam.yaml:9:7: steps.0: expected 'step' to be one of 'train', 'infer'")


def test_every_error_of_every_file_is_told(tmp_path: Path) -> None:
    wrong = HEAD + "  decay: 2\n  epsilon: -1\n" + STEPS
    found = complaints(tmp_path, fam=wrong, other="text\n", third=HEAD.replace("fam.", "third.") + STEPS)
    assert [line.partition(" ")[0] for line in found] == ["fam.yaml:8:3:", "fam.yaml:9:3:", "other.yaml:1:1:"]


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


def test_an_input_over_the_memory_budget_is_refused(tmp_path: Path) -> None:
    text = (HEAD + STEPS).replace("[2, 3]", "[33554432, 3]")
    assert complaints(tmp_path, fam=text) == [
        "fam.yaml:6:3: shape: [33554432, 3] takes 384 MiB, over the budget of 128 MiB",
        "fam.yaml:8:3: steps: take 384 MiB together, over the budget of 256 MiB",
    ]


def test_a_mask_is_refused(tmp_path: Path) -> None:
    text = STEPS.replace("{kind: normal, seed: 2}", "{kind: normal, seed: 2}, mask: {kind: constant, value: 1.0}")
    (found,) = complaints(tmp_path, fam=HEAD + text)
    assert "steps.0.mask: batch_norm takes no mask" in found


def test_an_option_that_the_operation_has_not_is_refused(tmp_path: Path) -> None:
    head = HEAD.replace("  op: batch_norm\n", "  op: batch_norm\n  options: {virtual: 4}\n")
    assert head != HEAD
    (found,) = complaints(tmp_path, fam=head + STEPS)
    assert found.endswith("options.virtual: unknown key")


def test_an_initial_value_of_a_misspelt_name_is_refused_with_the_nearest(tmp_path: Path) -> None:
    head = HEAD.replace(
        "  op: batch_norm\n", "  op: batch_norm\n  initial: {moving_meen: {kind: constant, value: 1.0}}\n"
    )
    (found,) = complaints(tmp_path, fam=head + STEPS)
    assert found.endswith(
        "initial.moving_meen: this configuration of batch_norm has no moving_meen; did you mean moving_mean?"
    )


def test_sgd_without_a_train_step_before_it_is_refused(tmp_path: Path) -> None:
    assert complaints(tmp_path, fam=step("{step: sgd, learning_rate: 0.1}")) == [
        "fam.yaml:9:7: steps.0: needs a train step before it"
    ]


def test_an_inference_before_it_does_not_make_a_gradient_step(tmp_path: Path) -> None:
    steps = "{step: infer, input: {kind: normal, seed: 1}}\n    - {step: sgd, learning_rate: 0.1}"
    assert complaints(tmp_path, fam=step(steps)) == ["fam.yaml:10:7: steps.1: needs a train step before it"]


def test_an_error_within_a_repetition_is_told_once_at_its_place(tmp_path: Path) -> None:
    repeat = "  steps:\n    - step: repeat\n      times: 5\n      steps:\n        - {step: sgd, learning_rate: 0.1}\n"
    assert complaints(tmp_path, fam=HEAD + repeat) == ["fam.yaml:12:11: steps.0.steps.0: needs a train step before it"]


@pytest.mark.parametrize(
    "text", ["{step: sgd, learning_rate: 0.1}", "{step: repeat, times: 2, steps: [{step: sgd, learning_rate: 0.1}]}"]
)
def test_a_step_that_the_operation_lacks_is_refused(tmp_path: Path, text: str) -> None:
    found = complaints(tmp_path, fam=step(text).replace("batch_norm", "centering"))
    assert any("centering has no step sgd" in line for line in found)


def test_state_that_the_configuration_lacks_is_refused(tmp_path: Path) -> None:
    text = HEAD + "  scale: false\n  initial: {gamma: {kind: constant, value: 2.0}}\n" + STEPS
    (found,) = complaints(tmp_path, fam=text)
    assert "initial.gamma: this configuration of batch_norm has no gamma" in found


def test_a_step_s_shape_keeps_the_feature_sizes(tmp_path: Path) -> None:
    (found,) = complaints(tmp_path, fam=step("{step: infer, shape: [4, 2], input: {kind: normal, seed: 1}}"))
    assert "steps.0.shape: must have the rank and the feature sizes of (2, 3)" in found


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("{kind: literal, values: [[1.0]]}", "literal values have shape (1, 1), expected (2, 3)"),
        ("{kind: dyadic, seed: 1}", "dyadic needs a multiple of 16 values per feature, here 2"),
        ("{kind: ramp, axis: 2}", "ramp counts along axis 2, but the rank is 2"),
        ("{kind: mean_squared_error, target: {kind: ramp}}", "stands under upstream"),
        ("{kind: integers, seed: 1, low: 2, high: 1}", "high lies below low"),
    ],
)
def test_a_recipe_that_cannot_be_made_is_refused_at_its_place(tmp_path: Path, recipe: str, message: str) -> None:
    (found,) = complaints(tmp_path, fam=step(f"{{step: infer, input: {recipe}}}"))
    assert found.startswith("fam.yaml:9:21: steps.0.input: ")
    assert message in found


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
    assert [each.case.id for each in load(tmp_path, [other]).cases] == ["two.one"]


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


def test_an_upstream_recipe_that_cannot_be_made_is_refused_at_its_place(tmp_path: Path) -> None:
    upstream = "{kind: mean_squared_error, target: {kind: ramp, axis: 2}}"
    (found,) = complaints(tmp_path, fam=step(f"{{step: train, input: {{kind: ramp}}, upstream: {upstream}}}"))
    assert found == "fam.yaml:9:42: steps.0.upstream: ramp counts along axis 2, but the rank is 2"


def test_a_train_step_needs_no_upstream(tmp_path: Path) -> None:
    (entry,) = loaded(tmp_path, fam=step("{step: train, input: {kind: normal, seed: 1}}")).cases
    assert getattr(entry.case.performed[0], "upstream", "") is None


def test_a_gradient_step_needs_one_in_the_train_step_before_it(tmp_path: Path) -> None:
    steps = "{step: train, input: {kind: normal, seed: 1}}\n    - {step: sgd, learning_rate: 0.1}"
    assert complaints(tmp_path, fam=STEPS.join([HEAD, ""]) + step(steps).partition("steps:\n")[2]) == [
        "fam.yaml:11:7: steps.2: needs gradients: the train step before it has no upstream"
    ]


@pytest.mark.parametrize("given", ["", ", upstream: {kind: ramp}", ", tangent: {kind: ramp}"])
def test_what_an_operation_needs_is_asked_for(tmp_path: Path, given: str) -> None:
    text = step(f"{{step: infer, input: {{kind: ramp}}{given}}}").replace("batch_norm", "differentiated_batch_norm")
    found = complaints(tmp_path, fam=text)
    missing = [name for name in ("tangent", "upstream") if name not in given]
    assert found == [
        f"fam.yaml:9:7: steps.0: {name}: is missing, which differentiated_batch_norm needs" for name in missing
    ]


@pytest.mark.parametrize("values", ["[[], []]", "[[[]]]", "[[], [], [], []]"])
def test_a_literal_of_no_values_has_the_right_shape_too(tmp_path: Path, values: str) -> None:
    text = step(f"{{step: infer, input: {{kind: literal, values: {values}}}}}").replace("[2, 3]", "[3, 0]")
    (found,) = complaints(tmp_path, fam=text)
    assert found.endswith("expected (3, 0)")


def test_a_literal_of_no_values_may_be_an_empty_list(tmp_path: Path) -> None:
    assert loaded(tmp_path, fam=step("{step: infer, shape: [0, 3], input: {kind: literal, values: []}}")).cases


@pytest.mark.parametrize("shape", ["[0, 99999999999]", "[99999999999, 0]"])
def test_an_empty_input_of_too_many_features_or_rows_is_refused(tmp_path: Path, shape: str) -> None:
    found = complaints(tmp_path, fam=(HEAD + STEPS).replace("[2, 3]", shape))
    assert "over the budget of 128 MiB" in found[0]


def test_inputs_over_the_budget_together_are_refused(tmp_path: Path) -> None:
    repeat = "  steps:\n    - step: repeat\n      times: 1000\n      steps:\n  " + STEPS.partition("steps:\n")[2]
    (found,) = complaints(tmp_path, fam=(HEAD + repeat).replace("[2, 3]", "[1000, 1000]"))
    assert found == "fam.yaml:8:3: steps: take 3,815 MiB together, over the budget of 256 MiB"


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("momentum: 0.9", "unknown key; here it is decay, the weight of the old moving value"),
        ("axis: 1", "unknown key; here it is feature_axes, a list of the axes that are kept"),
        ("eps: 1e-5", "unknown key; here it is epsilon"),
        ("training: true", "unknown key; here it is steps, each is a train step or an infer step"),
        ("eval: true", "unknown key; here it is steps, inference is a step"),
        ("Momentum: 0.9", "here it is decay"),
    ],
)
def test_a_word_of_another_library_names_ours(tmp_path: Path, word: str, hint: str) -> None:
    (found,) = complaints(tmp_path, fam=f"{HEAD}  {word}\n{STEPS}")
    assert hint in found


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("{step: eval, input: {kind: ramp}}", "here it is infer"),
        ("{step: infer, input: {kind: randn, seed: 1}}", "here it is normal"),
        ("{step: train, input: {kind: ramp}, grad_output: {kind: ramp}}", "here it is upstream"),
    ],
)
def test_a_word_of_another_library_names_ours_in_a_step(tmp_path: Path, text: str, hint: str) -> None:
    (found,) = complaints(tmp_path, fam=step(text))
    assert hint in found


@pytest.mark.parametrize(
    ("field", "hint"),
    [
        ("dtype: half", "here it is float16"),
        ("initial: {running_mean: {kind: ramp}}", "here it is moving_mean"),
        ("expected: [{step: 1, quantity: running_var, values: ['1', '1', '1']}]", "here it is moving_variance"),
    ],
)
def test_a_value_of_another_library_names_ours(tmp_path: Path, field: str, hint: str) -> None:
    (found,) = complaints(tmp_path, fam=f"{HEAD}  {field}\n{STEPS}")
    assert hint in found


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


def test_a_matrix_of_too_many_cases_is_refused_before_it_is_expanded(tmp_path: Path) -> None:
    axis = ", ".join(f"label-{number}: {{epsilon: 0.1}}" for number in range(100))
    matrix = "".join(f"    {name}: {{{axis}}}\n" for name in "abcd")
    assert complaints(tmp_path, fam=f"{HEAD}  matrix:\n{matrix}{STEPS}") == [
        "fam.yaml:8:3: 0.matrix: expands to 100,000,000 cases, over the budget of 2,000"
    ]


def test_the_entries_of_a_file_share_one_budget_of_cases(tmp_path: Path) -> None:
    axis = ", ".join(f"label-{number}: {{epsilon: 0.1}}" for number in range(1500))
    entry = f"{HEAD}  matrix: {{a: {{{axis}}}}}\n{STEPS}"
    complaint = complaints(tmp_path, fam=entry + entry.replace("fam.one", "fam.two"))[-1]
    assert complaint.endswith("expands to 1,500 cases, with those before it over the budget of 2,000")


def test_too_many_repetitions_are_refused_before_they_are_written_out(tmp_path: Path) -> None:
    repeat = f"{{step: repeat, times: 1000, steps: [{', '.join(['{step: freeze}'] * 100)}]}}"
    steps = "  steps:\n" + f"    - {repeat}\n" * 400
    assert complaints(tmp_path, fam=HEAD + steps) == [
        "fam.yaml:8:3: steps: are 40,000,000 with every repetition, over the budget of 10,000"
    ]


def test_a_recipe_is_held_against_its_shape_without_being_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conformance.spec.recipe._values", None)
    recipe = "{kind: dyadic, seed: 1}"
    assert loaded(tmp_path, fam=step(f"{{step: infer, shape: [4800000, 3], input: {recipe}}}")).cases
    (complaint,) = complaints(tmp_path, fam=step(f"{{step: infer, shape: [4800001, 3], input: {recipe}}}"))
    assert complaint.endswith("dyadic needs a multiple of 16 values per feature, here 4800001")


@pytest.mark.parametrize("value", ["null", "true", '"1.5"', "1_0.00", "\u0661\u0662", "{a: 1}"])
def test_a_literal_value_that_is_no_number_is_named(tmp_path: Path, value: str) -> None:
    text = step(f"{{step: infer, input: {{kind: literal, values: [[1, 2, {value}], [1, 2, 3]]}}}}")
    (complaint,) = complaints(tmp_path, fam=text)
    assert "literal values must be numbers, nested evenly, got" in complaint


@pytest.mark.parametrize("value", ["9" * 400, "-1e400", "0x" + "f" * 300])
def test_a_number_beyond_float64_is_refused_at_its_place(tmp_path: Path, value: str) -> None:
    (complaint,) = complaints(tmp_path, fam=step(f"{{step: infer, input: {{kind: constant, value: {value}}}}}"))
    assert complaint.startswith("fam.yaml:9:")
    assert complaint.endswith("larger than any number that float64 holds; infinity is .inf")


def test_a_number_that_would_become_zero_is_refused(tmp_path: Path) -> None:
    (complaint,) = complaints(tmp_path, fam=HEAD + "  epsilon: 1e-400\n" + STEPS)
    assert "nearer to 0 than any number that float64 holds" in complaint


@pytest.mark.parametrize("part", ["std: .inf", "mean: .nan", "feature_shift: -.inf"])
def test_what_describes_random_data_is_finite(tmp_path: Path, part: str) -> None:
    (complaint,) = complaints(tmp_path, fam=step(f"{{step: infer, input: {{kind: normal, seed: 1, {part}}}}}"))
    assert "should be a finite number" in complaint


@pytest.mark.parametrize("text", ["1_0.00", "\u0661\u0662", "1e999999", "1e400", " 1", "inf", "0x10"])
def test_a_published_text_is_a_plain_decimal_that_float64_holds(tmp_path: Path, text: str) -> None:
    values = f'  expected: [{{step: 1, quantity: moving_mean, values: ["{text}", "1.000", "1.000"]}}]\n'
    (complaint,) = complaints(tmp_path, fam=HEAD + values + STEPS)
    assert "expected decimal texts" in complaint


def test_of_many_errors_the_first_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    entries = [HEAD.replace("fam.one", f"fam.n{number}") + "  frob: 1\n" + STEPS for number in range(50)]
    with pytest.raises(SpecErrors) as caught:
        loaded(tmp_path, fam="".join(entries))
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "and 30 more like these"
