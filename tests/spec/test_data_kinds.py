"""Every case has a kind of data: ordinary, demanding or edges."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from conformance.errors import SpecErrors
from conformance.spec.data_kinds import load_data_kinds
from conformance.spec.locations import spec_folder
from tests import shipped


def test_every_glob_fits_a_case_and_the_last_fits_all() -> None:
    kinds = load_data_kinds(spec_folder() / "data-kinds.yaml")
    ids = [entry.case.id for entry in shipped.spec().cases]
    unused = [glob for glob in kinds if not any(fnmatchcase(name, glob) for name in ids)]
    assert unused == []
    assert list(kinds)[-1] == "*"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ordinary: [axes, axes]\n", "kinds.yaml:1:18: ordinary.1: axes is ordinary already"),
        ("ordinary: [axes]\nedges: [axes]\n", "kinds.yaml:2:9: edges.0: axes is ordinary already"),
        ("ordinary: axes\n", "kinds.yaml:1:1: ordinary: expected a list of globs over the ids of cases"),
        ("strange: [axes]\n", "expected lists of globs under ordinary, demanding, edges"),
        ("[axes]\n", "expected lists of globs under ordinary, demanding, edges"),
    ],
)
def test_what_is_no_table_of_globs_is_refused_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "kinds.yaml"
    file.write_text(text)
    with pytest.raises(SpecErrors) as caught:
        load_data_kinds(file)
    assert complaint in str(caught.value)
