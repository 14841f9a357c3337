"""A matrix stands for every combination of its axes, each once, and each is the entry with its fields replaced."""

from __future__ import annotations

import itertools
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from conformance.spec.matrix import expand
from conformance.spec.yaml_document import Document
from tests.drawing import drawn

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
