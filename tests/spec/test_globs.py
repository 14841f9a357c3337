"""A glob is case-sensitive, and over the whole of a name."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from conformance.spec.globs import matches_any

NAMES = ("edges.one-value", "precision.half/float16", "torch.nn.BatchNorm")


@pytest.mark.parametrize(
    "glob", ["edges.*", "edges", "*half/*", "EDGES.*", "torch.nn.[AB]*", "torch?nn?*", "*value", ""]
)
def test_a_glob_matches_what_fnmatchcase_matches(glob: str) -> None:
    assert matches_any(glob, NAMES) is any(fnmatchcase(name, glob) for name in NAMES)


def test_a_glob_matches_none_of_no_names() -> None:
    assert not matches_any("*", ())
