"""Known deviations are listed strictly: what they cover, when they are stale, what is wrong with their spelling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conformance.errors import Place, SpecErrors
from conformance.judging.judgement import Judgement
from conformance.run.plugin import status_of
from conformance.runfile.lines import standing_of
from conformance.runfile.structs import Record
from conformance.spec.divergences import Divergence, Listed, find, load_divergences, unmatched
from conformance.spec.loader import load
from conformance.spec.locations import spec_folder
from conformance.verdict import Verdict

CELL = ("edges.one/float32", "torch.nn.BatchNorm", "compiled", "cpu")
VERSIONS = {"torch": "2.13.0+cpu", "numpy": "2.4.6"}
ENTRY = """- implementation: torch.nn.BatchNorm
  cases: [edges.*]
  versions: {torch: ">=2.6,<3"}
  verdict: deviates
  reason: It gives one when two is right.
  diagnosis: Somebody wrote one in place of two.
"""


def divergence(**fields: Any) -> Divergence:
    return Divergence.model_validate(
        {
            "implementation": "torch.nn.BatchNorm",
            "cases": ["edges.*"],
            "versions": {"torch": ">=2.6,<3"},
            "verdict": "deviates",
            "reason": "It gives one when two is right.",
            "diagnosis": "Somebody wrote one in place of two.",
            **fields,
        }
    )


def listed(**fields: Any) -> Listed:
    return Listed(divergence=divergence(**fields), place=Place(file="divergences.yaml", line=7))


def complaints(folder: Path, text: str, *cases: str) -> list[str]:
    file = folder / "divergences.yaml"
    file.write_text(text)
    with pytest.raises(SpecErrors) as caught:
        load_divergences(file, cases, "divergences.yaml")
    return [str(error) for error in caught.value.errors]


@pytest.mark.parametrize(
    ("fields", "covered"),
    [
        ({}, True),
        ({"implementation": "torch.*"}, True),
        ({"implementation": "Torch.*"}, False),
        ({"implementation": "torch.nn"}, False),
        ({"cases": ["statistics.*", "edges.one/*"]}, True),
        ({"cases": ["edges.one"]}, False),
        ({"modes": ["compiled", "xla"]}, True),
        ({"modes": ["eager"]}, False),
        ({"devices": ["cpu"]}, True),
        ({"devices": ["gpu"]}, False),
        ({"versions": {"torch": "==2.13.0"}}, True),
        ({"versions": {"torch": ">=2.14"}}, False),
        ({"versions": {"torch": ">=2.6", "numpy": "<2"}}, False),
        ({"versions": {"jax": ">=0.5"}}, False),
        ({"versions": {}}, True),
    ],
)
def test_an_entry_lists_the_cells_of_its_globs_at_its_versions(fields: dict[str, Any], covered: bool) -> None:
    assert bool(find([listed(**fields)], CELL, VERSIONS)) is covered


def test_a_prerelease_is_a_version_like_another() -> None:
    assert divergence(versions={"torch": ">=2.13"}).covers({"torch": "2.14.0.dev20260101"})


def test_every_entry_that_covers_a_cell_is_found() -> None:
    entries = [listed(), listed(devices=["gpu"]), listed(cases=["*"])]
    assert find(entries, CELL, VERSIONS) == [entries[0], entries[2]]


def test_an_entry_that_lists_no_cell_of_the_matrix_is_found_whatever_its_versions() -> None:
    entries = [listed(), listed(versions={"torch": ">=99"}), listed(modes=["eager"]), listed(implementation="jax.*")]
    others = ("statistics.one", "jax.numpy", "eager", "cpu"), ("statistics.one", "torch.nn.BatchNorm", "eager", "cpu")
    assert unmatched(entries, [CELL, *others]) == entries[2:]


def status(verdict: str, listed_by: list[Listed], *, expected: bool = False) -> tuple[str, str]:
    """How pytest counts a cell with that verdict, and what it says of it."""
    judgement = Judgement(verdict=Verdict(verdict), expected=expected, steps=())
    record = Record(
        cell="edges.one::x-eager-cpu",
        case="edges.one",
        implementation="x",
        mode="eager",
        device="cpu",
        environment="x",
        verdict=judgement.verdict,
        standing=standing_of(judgement, listed_by),
        steps=(),
    )
    return status_of(record, listed_by, {})


@pytest.mark.parametrize("verdict", ["exact", "conforms", "dialect"])
def test_an_entry_whose_cell_agrees_is_stale_and_fails(verdict: str) -> None:
    stale = f"divergences.yaml:7:1: stale: edges.one::x-eager-cpu is {verdict}"
    assert status(verdict, [listed()], expected=True) == ("failed", stale)


@pytest.mark.parametrize("verdict", ["exact", "conforms", "dialect"])
def test_a_cell_that_agrees_passes_where_nothing_lists_it(verdict: str) -> None:
    assert status(verdict, [], expected=True)[0] == "passed"


@pytest.mark.parametrize("verdict", ["deviates", "refused", "crashed", "timed_out"])
def test_a_listed_deviation_is_an_expected_failure(verdict: str) -> None:
    assert status(verdict, [listed(verdict=verdict)]) == ("xfailed", "It gives one when two is right.")


@pytest.mark.parametrize("verdict", ["deviates", "refused", "crashed", "timed_out"])
def test_a_deviation_that_nothing_lists_fails(verdict: str) -> None:
    assert status(verdict, [])[0] == "failed"


@pytest.mark.parametrize("verdict", ["refused", "crashed", "timed_out"])
def test_a_deviation_of_another_kind_than_listed_fails(verdict: str) -> None:
    assert status(verdict, [listed(verdict="deviates")])[0] == "failed"


def test_a_refusal_that_the_profile_documents_passes() -> None:
    assert status("refused", [], expected=True)[0] == "passed"


@pytest.mark.parametrize("verdict", ["unsupported", "not_decidable", "outside_domain"])
@pytest.mark.parametrize("entries", [[], [listed()]])
def test_what_was_not_judged_is_skipped_and_makes_nothing_stale(verdict: str, entries: list[Listed]) -> None:
    assert status(verdict, entries, expected=True)[0] == "skipped"


def test_a_file_of_entries_is_loaded_with_their_places(tmp_path: Path) -> None:
    file = tmp_path / "divergences.yaml"
    file.write_text(ENTRY + ENTRY)
    found = load_divergences(file, ["edges.one"], "divergences.yaml")
    assert [str(each.place) for each in found] == ["divergences.yaml:1:3", "divergences.yaml:7:3"]


def test_a_glob_that_matches_no_case_is_refused(tmp_path: Path) -> None:
    assert complaints(tmp_path, ENTRY, "moving.one") == [
        "divergences.yaml:2:11: cases.0: no case matches 'edges.*'",
    ]


def test_without_cases_to_compare_with_globs_are_taken_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "divergences.yaml"
    file.write_text(ENTRY)
    assert len(load_divergences(file, [])) == 1


@pytest.mark.parametrize("wanted", ["latest", "2.6", ">=2.x", "=>2"])
def test_versions_that_cannot_be_meant_are_refused(tmp_path: Path, wanted: str) -> None:
    (found,) = complaints(tmp_path, ENTRY.replace(">=2.6,<3", wanted), "edges.one")
    assert found == (f"divergences.yaml:3:14: versions.torch: expected versions such as '>=2.6,<3', got {wanted!r}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("verdict: deviates", "verdict: dialect"), "divergences.yaml:4:3: verdict: input should be 'deviates'"),
        (("diagnosis:", "diagnosys:"), "divergences.yaml:6:3: diagnosys: unknown key; did you mean diagnosis?"),
        (('  versions: {torch: ">=2.6,<3"}\n', ""), "divergences.yaml:1:3: versions: is missing"),
        (("[edges.*]", "[]"), "divergences.yaml:2:3: cases: "),
        (("It gives one when two is right.", "wrong"), "divergences.yaml:5:3: reason: "),
    ],
)
def test_an_entry_that_cannot_be_meant_is_refused_at_its_place(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    found = complaints(tmp_path, ENTRY.replace(*change), "edges.one")
    assert any(each.startswith(message) for each in found), found


def test_a_file_that_is_no_list_is_refused(tmp_path: Path) -> None:
    assert complaints(tmp_path, "{}\n") == ["divergences.yaml:1:1: expected a list of divergences"]


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecErrors, match="cannot be read"):
        load_divergences(tmp_path / "absent.yaml", [])


def test_every_error_of_the_file_is_told(tmp_path: Path) -> None:
    assert len(complaints(tmp_path, ENTRY.replace(">=2.6,<3", "x") + ENTRY, "moving.one")) == 3


def test_the_shipped_entries_match_the_shipped_cases() -> None:
    cases = [each.case.id for each in load(spec_folder()).cases]
    load_divergences(spec_folder() / "divergences.yaml", cases)
