"""A matrix stands for every combination of its axes, each once, and each is the entry with its fields replaced."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.spec.matrix import expand
from conformance.spec.yaml_document import Document
from tests.drawing import drawn
from tests.spec.case_texts import HEAD, STEPS, complaints, loaded

NAMES = ("dtype", "decay", "shape", "scale")
LABELS = st.text("abcdefghij-", min_size=1, max_size=4)
PLAIN = st.lists(st.sampled_from(["float32", "float64", 0.5, 0.9, 3, True, False]), min_size=1, max_size=4, unique=True)
LABELLED = st.dictionaries(
    LABELS, st.dictionaries(st.sampled_from(NAMES), st.integers(0, 9), max_size=3), min_size=1, max_size=4
)
MATRICES = st.dictionaries(st.sampled_from(NAMES), PLAIN | LABELLED, min_size=1, max_size=3)
ENTRIES = st.dictionaries(st.sampled_from((*NAMES, "title")), st.integers(10, 19))


def combinations(matrix: Any) -> list[list[tuple[str, dict[str, Any]]]]:
    """Each axis as its labels with what each replaces, by what `docs/writing-a-case.md` says."""
    axes = []
    for name, values in matrix.items():
        if isinstance(values, dict):
            axes.append(list(values.items()))
        else:
            axes.append([(v if isinstance(v, str) else f"{name}-{v}", {name: v}) for v in values])
    return [list(chosen) for chosen in itertools.product(*axes)]


@drawn(4)
@given(ENTRIES, MATRICES)
def test_a_matrix_is_every_combination_of_its_axes_in_their_order(entry: Any, matrix: Any) -> None:
    made = [
        raw
        for raw, _ in expand({"id": "fam.one", **entry, "matrix": matrix}, (0,), Document(file="fam.yaml", value={}))
    ]
    assert len(made) == math.prod(map(len, matrix.values()))
    for raw, chosen in zip(made, combinations(matrix), strict=True):
        replaced = {name: value for _, fields in chosen for name, value in fields.items()}
        assert raw == {**entry, **replaced, "id": "/".join(["fam.one", *(label for label, _ in chosen)])}


@drawn(4)
@given(ENTRIES, MATRICES)
def test_every_field_of_an_expanded_case_is_told_where_it_is_written(entry: Any, matrix: Any) -> None:
    document = [{"id": "fam.one", **entry, "matrix": matrix}]
    for raw, origin in expand(document[0], (0,), Document(file="fam.yaml", value={})):
        for name in raw.keys() - {"id"}:
            written: Any = document
            for part in origin.path((name,)):
                written = written[part]
            assert written == raw[name]


def test_a_matrix_of_values_expands_with_their_labels(tmp_path: Path) -> None:
    spec = loaded(tmp_path, fam=HEAD + STEPS + "  matrix: {dtype: [float32, bfloat16], decay: [0.5]}\n")
    assert [(located.case.id, located.case.dtype, located.case.decay) for located in spec.cases] == [
        ("fam.one/float32/decay-0.5", "float32", 0.5),
        ("fam.one/bfloat16/decay-0.5", "bfloat16", 0.5),
    ]


def test_a_matrix_of_labels_replaces_the_fields_they_name(tmp_path: Path) -> None:
    matrix = "  matrix:\n    layout:\n      last: {}\n      first: {shape: [3, 2], feature_axes: [0]}\n"
    spec = loaded(tmp_path, fam=HEAD + STEPS + matrix)
    assert [(located.case.id, located.case.shape, located.case.feature_axes) for located in spec.cases] == [
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
