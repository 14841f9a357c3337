"""What stands at the end of a run on a terminal."""

from __future__ import annotations

from conformance.report.ending import ending
from tests.report_lines import case, record, run


def test_verdicts_are_counted_one_by_one_and_apart_what_says_nothing() -> None:
    cases = tuple(case(f"a.{number}") for number in range(4))
    text = ending(
        run(
            record("exact", of="a.0"),
            record("conforms", of="a.1"),
            record("dialect", of="a.2"),
            record("unsupported", "skipped", of="a.3"),
            cases=cases,
        )
    )
    assert text.startswith("Verdicts: 1 exact, 1 conforms, 1 dialect; counted apart: 1 unsupported.\n")
    assert "Findings: 0, of which 0 are new." in text


def test_what_is_new_stands_before_what_is_known() -> None:
    cases = (case("a.known"), case("a.new"))
    known = record("deviates", "xfailed", of="a.known", diagnosis="One.")
    new = record("deviates", "failed", of="a.new", diagnosis="Two.")
    lines = ending(run(known, new, cases=cases)).splitlines()
    assert lines[1] == "Findings: 2, of which 1 is new."
    assert lines[2] == "New:"
    assert "a.new::" in lines[4]
    assert lines[5] == "The worst that are known:"
    assert "a.known::" in lines[7]


def test_five_of_the_known_are_shown_and_the_rest_counted() -> None:
    cases = tuple(case(f"a.{number}") for number in range(7))
    records = [record("deviates", "xfailed", of=f"a.{number}", diagnosis=f"Reason {number}.") for number in range(7)]
    lines = ending(run(*records, cases=cases)).splitlines()
    assert [line for line in lines if line.startswith("    a.")][5:] == []
    assert lines[-2] == "  and 2 more"


def test_what_a_stranger_wrote_moves_no_cursor() -> None:
    text = ending(run(record("deviates", "failed", diagnosis="\x1b[2J gone.")))
    assert "\x1b" not in text
