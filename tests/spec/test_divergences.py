"""Known deviations are listed by implementation and cause: what an entry covers, what is beside it, when it is stale."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conformance.cause import Cause, because
from conformance.errors import Place, SpecErrors
from conformance.judging.judgement import Judgement
from conformance.planning.plan import Selection, plan
from conformance.run import plugin, session
from conformance.run.items import FailedItem
from conformance.run.plugin import status_of
from conformance.runfile.lines import standing_of
from conformance.runfile.structs import Record
from conformance.spec.causes import catalogue
from conformance.spec.divergences import (
    Divergence,
    Known,
    Listed,
    Site,
    in_force,
    known_causes,
    load_divergences,
    of_implementation,
    stale,
    unmatched,
)
from conformance.spec.loader import Spec
from conformance.spec.locations import spec_folder
from conformance.verdict import Verdict
from tests import shipped
from tests.cells import case, located, offer, offered

CELL = Site(
    case="edges.one/float32", implementation="torch.nn.BatchNorm", mode="compiled", device="cpu", dtype="float32"
)
VERSIONS = {"torch": "2.13.0+cpu", "numpy": "2.4.6"}
ENTRY = """- implementations: [torch.nn.BatchNorm]
  causes: [decay-inverted]
  witnesses: [edges.one]
  versions: {torch: ">=2.6,<3"}
  reason: It gives one when two is right.
  diagnosis: Somebody wrote one in place of two.
"""
INVERTED, OUTSIDE = because("decay-inverted"), because("epsilon-outside-root")


def divergence(**fields: Any) -> Divergence:
    return Divergence.model_validate(
        {
            "implementations": ["torch.nn.BatchNorm"],
            "causes": ["decay-inverted"],
            "witnesses": ["edges.one/float32"],
            "versions": {"torch": ">=2.6,<3"},
            "reason": "It gives one when two is right.",
            "diagnosis": "Somebody wrote one in place of two.",
            **fields,
        }
    )


def listed(line: int = 7, **fields: Any) -> Listed:
    return Listed(divergence=divergence(**fields), place=Place(file="divergences.yaml", line=line))


def complaints(folder: Path, text: str, *cases: str) -> list[str]:
    file = folder / "divergences.yaml"
    file.write_text(text)
    with pytest.raises(SpecErrors) as caught:
        load_divergences(file, cases, catalogue(), "divergences.yaml")
    return [str(error) for error in caught.value.errors]


@pytest.mark.parametrize(
    ("fields", "covered"),
    [
        ({}, True),
        ({"implementations": ["jax.*", "torch.*"]}, True),
        ({"implementations": ["Torch.*"]}, False),
        ({"implementations": ["torch.nn"]}, False),
        ({"cases": ["statistics.*", "edges.one/*"]}, True),
        ({"cases": ["edges.one"]}, False),
        ({"modes": ["compiled", "xla"]}, True),
        ({"modes": ["eager"]}, False),
        ({"devices": ["cpu"]}, True),
        ({"devices": ["gpu"]}, False),
        ({"dtypes": ["float64", "float32"]}, True),
        ({"dtypes": ["float64"]}, False),
        ({"versions": {"torch": "==2.13.0"}}, True),
        ({"versions": {"torch": ">=2.14"}}, False),
        ({"versions": {"torch": ">=2.6", "numpy": "<2"}}, False),
        ({"versions": {"jax": ">=0.5"}}, False),
        ({"versions": {}}, True),
    ],
)
def test_an_entry_is_in_force_where_it_says_and_at_its_versions(fields: dict[str, Any], covered: bool) -> None:
    assert bool(in_force([listed(**fields)], CELL, VERSIONS)) is covered


def test_a_prerelease_is_a_version_like_another() -> None:
    assert divergence(versions={"torch": ">=2.13"}).covers({"torch": "2.14.0.dev20260101"})


def test_the_entries_of_an_implementation_are_those_whose_glob_has_it() -> None:
    entries = [listed(), listed(implementations=["jax.*"]), listed(implementations=["torch.*"])]
    assert of_implementation(entries, CELL.implementation) == [entries[0], entries[2]]


@pytest.mark.parametrize(
    ("causes", "cause", "lists"),
    [
        (["decay-inverted"], INVERTED, True),
        (["decay-inverted"], OUTSIDE, False),
        (["epsilon-outside-root", "decay-inverted"], INVERTED, True),
        (["raises"], because("raises", type="ValueError"), True),
        ([{"id": "raises", "type": "ValueError"}], because("raises", type="ValueError"), True),
        ([{"id": "raises", "type": "ValueError"}], because("raises", type="TypeError"), False),
        ([{"id": "decay-inverted", "cases": ["edges.*", "moving.*"]}], INVERTED, True),
        ([{"id": "decay-inverted", "cases": ["moving.*"]}], INVERTED, False),
        ([{"id": "moving-correction", "correction": 1}], because("moving-correction", correction=0), False),
    ],
)
def test_an_entry_lists_a_cause_by_its_id_and_the_parameters_and_cases_named(
    causes: list[Any], cause: Cause, lists: bool
) -> None:
    assert divergence(causes=causes).lists(cause, CELL.case) is lists
    assert divergence(causes=causes).lists(replace(cause, quantities=("output",)), CELL.case) is lists


def test_a_cell_is_known_where_its_whole_diagnosis_is_listed() -> None:
    entries = [listed(1), listed(2, causes=["epsilon-outside-root"]), listed(3, causes=["epsilon-dropped"])]
    cell = known_causes(entries, CELL.case, [(INVERTED,), (OUTSIDE,)])
    assert cell.wholly
    assert [entry for _, entry in cell.by_entry] == entries[:2]


def test_a_second_cause_that_none_lists_makes_the_cell_unexpected() -> None:
    cell = known_causes([listed()], CELL.case, [(INVERTED,), (OUTSIDE,)])
    assert not cell.wholly
    assert cell.unlisted == ((OUTSIDE,),)
    assert cell.by_entry == ()


def test_of_alternatives_that_explain_the_same_one_must_be_listed() -> None:
    assert known_causes([listed()], CELL.case, [(OUTSIDE, INVERTED)]).listed == ((INVERTED, listed()),)
    assert known_causes([listed()], CELL.case, [(OUTSIDE, because("epsilon-dropped"))]).unlisted


def test_an_entry_that_lists_two_causes_of_a_cell_is_one_entry_of_it() -> None:
    entry = listed(causes=["decay-inverted", "epsilon-outside-root"])
    assert known_causes([entry], CELL.case, [(INVERTED,), (OUTSIDE,)]).by_entry == ((INVERTED, entry),)


def test_a_cell_with_nothing_wrong_is_not_known() -> None:
    assert not known_causes([listed()], CELL.case, []).wholly


@pytest.mark.parametrize(
    ("case", "explanations", "is_stale"),
    [
        ("edges.one/float32", [], True),
        ("edges.one/float32", [(OUTSIDE,)], True),
        ("edges.one/float32", [(OUTSIDE,), (INVERTED,)], False),
        ("edges.one/float32", [(OUTSIDE, INVERTED)], False),
        ("edges.two", [], False),
    ],
)
def test_an_entry_is_stale_where_a_witness_no_longer_shows_it(
    case: str, explanations: list[tuple[Cause, ...]], is_stale: bool
) -> None:
    assert bool(stale([listed()], case, explanations)) is is_stale


def test_an_entry_without_a_witness_in_the_matrix_is_found_whatever_its_versions() -> None:
    entries = [
        listed(1),
        listed(2, versions={"torch": ">=99"}),
        listed(3, modes=["eager"]),
        listed(4, implementations=["jax.*"]),
        listed(5, witnesses=["edges.two", "edges.one/float32"]),
    ]
    others = (replace(CELL, case="statistics.one", mode="eager"), replace(CELL, implementation="jax.numpy", case="a.b"))
    assert unmatched(entries, [CELL, *others]) == entries[2:4]


def status(verdict: str, known_of: Known, stale_entries: list[Listed], *, expected: bool = False) -> tuple[str, str]:
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
        standing=standing_of(judgement, known_of, stale_entries),
        steps=(),
    )
    return status_of(record, known_of, stale_entries)


WHOLLY = Known(listed=((INVERTED, listed()),))


@pytest.mark.parametrize("verdict", ["exact", "conforms", "dialect", "deviates"])
def test_a_witness_that_no_longer_shows_its_entry_fails(verdict: str) -> None:
    counted, message = status(verdict, Known(), [listed()], expected=True)
    assert counted == "failed"
    assert message.startswith("divergences.yaml:7:1: stale: edges.one::x")


@pytest.mark.parametrize("verdict", ["exact", "conforms", "dialect"])
def test_a_cell_that_agrees_passes(verdict: str) -> None:
    assert status(verdict, Known(), [], expected=True)[0] == "passed"


@pytest.mark.parametrize("verdict", ["deviates", "refused", "crashed", "timed_out"])
def test_a_known_cell_is_an_expected_failure(verdict: str) -> None:
    assert status(verdict, WHOLLY, []) == ("xfailed", "It gives one when two is right.")


@pytest.mark.parametrize("verdict", ["deviates", "refused", "crashed", "timed_out"])
def test_a_deviation_that_nothing_lists_fails(verdict: str) -> None:
    assert status(verdict, Known(unlisted=((OUTSIDE,),)), [])[0] == "failed"


def test_a_cell_with_one_cause_more_than_listed_fails_and_names_it() -> None:
    counted, message = status("deviates", replace(WHOLLY, unlisted=((OUTSIDE,),)), [])
    assert counted == "failed"
    assert message.endswith("beside what is listed: epsilon outside the root")


def test_a_refusal_that_the_profile_documents_passes() -> None:
    assert status("refused", Known(), [], expected=True)[0] == "passed"


@pytest.mark.parametrize("verdict", ["unsupported", "not_decidable", "outside_domain"])
def test_what_was_not_judged_is_skipped(verdict: str) -> None:
    assert status(verdict, Known(), [], expected=True)[0] == "skipped"


def test_a_file_of_entries_is_loaded_with_their_places(tmp_path: Path) -> None:
    file = tmp_path / "divergences.yaml"
    file.write_text(ENTRY + ENTRY)
    entries = load_divergences(file, ["edges.one"], catalogue(), "divergences.yaml")
    assert [str(entry.place) for entry in entries] == ["divergences.yaml:1:3", "divergences.yaml:7:3"]


def test_without_cases_to_compare_with_ids_are_taken_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "divergences.yaml"
    file.write_text(ENTRY)
    assert len(load_divergences(file, [], catalogue())) == 1


@pytest.mark.parametrize("wanted", ["latest", "2.6", ">=2.x", "=>2"])
def test_versions_that_cannot_be_meant_are_refused(tmp_path: Path, wanted: str) -> None:
    (complaint,) = complaints(tmp_path, ENTRY.replace(">=2.6,<3", wanted), "edges.one")
    assert complaint == f"divergences.yaml:4:14: versions.torch: expected versions such as '>=2.6,<3', got {wanted!r}"


CASES = "\n  cases: ['edges.*']"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("diagnosis:", "diagnosys:"), "divergences.yaml:6:3: diagnosys: unknown key; did you mean diagnosis?"),
        (('  versions: {torch: ">=2.6,<3"}\n', ""), "divergences.yaml:1:3: versions: is missing"),
        (("  witnesses: [edges.one]\n", ""), "divergences.yaml:1:3: witnesses: is missing"),
        (("[edges.one]", "[]"), "divergences.yaml:3:3: witnesses: "),
        (("[edges.one]", "[edges.on]"), "divergences.yaml:3:15: witnesses.0: no case 'edges.on'; did you mean 'edges.one'?"),
        (("It gives one when two is right.", "wrong"), "divergences.yaml:5:3: reason: "),
        (("[decay-inverted]", "[]"), "divergences.yaml:2:3: causes: "),
        (
            ("decay-inverted", "decay-invertd"),
            "divergences.yaml:2:12: causes.0: no cause 'decay-invertd'; did you mean 'decay-inverted'?",
        ),
        (
            ("decay-inverted", "{id: moving-correction, corection: 1}"),
            "divergences.yaml:2:12: causes.0: moving-correction has no parameter 'corection'",
        ),
        (("decay-inverted]", "unexplained]"), "divergences.yaml:2:12: causes.0: unexplained says that something is"),
        (("decay-inverted]", "raises]"), "divergences.yaml:2:12: causes.0: raises says that something is wrong"),
        (("\n  witn", "\n  cases: [moving.*]\n  witn"), "divergences.yaml:3:11: cases.0: no case matches 'moving.*'"),
        (("\n  witn", "\n  cases: [moving.*]\n  witn"), "divergences.yaml:4:15: witnesses.0: 'edges.one' is none of"),
    ],
)  # fmt: skip
def test_an_entry_that_cannot_be_meant_is_refused_at_its_place(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    errors = complaints(tmp_path, ENTRY.replace(*change), "edges.one")
    assert any(error.startswith(message) for error in errors), errors


def test_a_symptom_may_be_listed_of_the_cases_that_show_it(tmp_path: Path) -> None:
    file = tmp_path / "divergences.yaml"
    file.write_text(ENTRY.replace("[decay-inverted]", f"[unexplained]{CASES}"))
    assert len(load_divergences(file, ["edges.one"], catalogue())) == 1


def test_a_file_that_is_no_list_is_refused(tmp_path: Path) -> None:
    assert complaints(tmp_path, "{}\n") == ["divergences.yaml:1:1: expected a list of divergences"]


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecErrors, match="cannot be read"):
        load_divergences(tmp_path / "absent.yaml", [], catalogue())


def test_every_error_of_the_file_is_told(tmp_path: Path) -> None:
    assert len(complaints(tmp_path, ENTRY.replace(">=2.6,<3", "x") + ENTRY, "moving.one")) == 3


def test_the_shipped_entries_match_the_shipped_cases() -> None:
    cases = [located.case.id for located in shipped.spec().cases]
    load_divergences(spec_folder() / "divergences.yaml", cases, catalogue())


@pytest.mark.parametrize(("deselected", "shown", "lines"), [(False, (), [9]), (True, (), []), (False, (9,), [])])
def test_an_entry_that_lists_nothing_in_a_run_of_everything_fails_it(
    monkeypatch: pytest.MonkeyPatch, deselected: bool, shown: tuple[int, ...], lines: list[int]
) -> None:
    reported: list[tuple[str, str]] = []
    monkeypatch.setattr(plugin, "_report", lambda _, status, message, __: reported.append((status, message)))
    monkeypatch.setattr(plugin, "_obey", lambda _: None)
    monkeypatch.setattr(FailedItem, "from_parent", lambda *_, **__: None)
    prepared: Any = SimpleNamespace(matching=[listed(3), listed(9)], shown=[listed(line).divergence for line in shown])
    hooks = plugin.Plugin(prepared)
    hooks.deselected = deselected
    session: Any = None
    hooks._report_unmatched(session, {listed(3).place})
    message = "divergences.yaml:9:1: lists no cell of a run of everything"
    assert reported == [("failed", message) for _ in lines]


@pytest.mark.parametrize(
    ("supporting", "held_against"),
    [((True, True), ["edges.one"]), ((False, True), ["edges.one"]), ((False, False), [])],
)
def test_a_run_of_everything_must_list_nothing_of_a_row_that_supports_nothing_on_this_machine(
    monkeypatch: pytest.MonkeyPatch, supporting: tuple[bool, bool], held_against: list[str]
) -> None:
    """The entry's witness is the first case; what the row supports is the first and the second."""
    monkeypatch.setattr(session, "keys", lambda _: ())
    cases = (located(case(id="edges.one")), located(case(id="edges.two")))
    reasons: list[str | None] = [None if supports else "no such instructions" for supports in supporting]
    offers = [offer(offered(), reasons={"fake.BatchNorm": reasons})]
    entry = listed(implementations=["fake.BatchNorm"], witnesses=["edges.one"], versions={"fake": ">=1"})
    spec = Spec(cases=cases, clauses={}, sections={}, hash="")
    planned = list(plan(cases, offers, Selection()))
    without, matching = session._matching([entry], spec, offers, planned)
    assert without == []
    assert [witness for entry in matching for witness in entry.divergence.witnesses] == held_against
