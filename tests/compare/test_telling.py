"""A comparison as text and Markdown: short, worst first, whatever the frameworks' messages hold."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from conformance.compare.comparison import compare
from conformance.compare.markdown import markdown
from conformance.compare.telling import headline
from conformance.compare.text import text
from conformance.compare.values import Comparison, FailOn, Policy
from conformance.runfile.results import results_of
from tests.run_lines import case_line, environment_line, record_line, run_of
from tests.run_pairs import PAIRS

HOSTILE = "</details><script>alert(1)</script> | `code` **bold** @somebody #1 [link](x) \u202e\u05e9 __init__"


def compared(name: str, *fail_on: FailOn) -> Comparison:
    """Return the comparison of the pair of that name."""
    base, new = (results_of([run], partial=True) for run in PAIRS[name])
    return compare(base, new, Policy(fail_on=fail_on))


def many(count: int, verdict: str = "deviates") -> Comparison:
    """Return the comparison of as many cells that each deviate for a reason of their own."""
    base = run_of(*(record_line(of=f"a.case-{place}") for place in range(count)))
    new = [
        record_line(verdict, place, of=f"a.case-{place}", diagnosis=f"{place} {HOSTILE * 3}") for place in range(count)
    ]
    return compare(results_of([base]), results_of([run_of(*new)]))


class Tags(HTMLParser):
    """The elements of a page that is made of Markdown, as they open and close."""

    def __init__(self, markdown: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.text = ""
        self.feed(markdown)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("nothing", "Nothing changed: 2 cells compared."),
        ("conforms-deviates", "Regression: 1 cell. 1 cell compared, 0 as before."),
        ("drift", "No regression. 1 cell compared, 0 as before."),
        ("dialect-conforms", "Moved: 1 cell. 1 cell compared, 0 as before."),
        ("epsilon-moved", "Regression: 6 cells. 7 cells compared, 0 as before."),
        ("grade-falls", "Regression: 1 grade. 2 cells compared, 2 as before."),
        ("group-not-built", "Regression: 1 environment, 1 vanished cell. 1 cell compared, 1 as before."),
    ],
)
def test_the_first_line_says_whether_anything_regressed(name: str, line: str) -> None:
    """And how much."""
    found = compared(name)
    assert headline(found) == line
    assert text(found).startswith(f"{line}\n")
    assert markdown(found).startswith(f"**{line}**\n")


def test_a_run_against_itself_is_one_line() -> None:
    """There is nothing to read."""
    assert text(compared("nothing")).count("\n") == markdown(compared("nothing")).count("\n") == 1


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("conforms-deviates", "  torch.nn.BatchNorm: conforms → deviates, 1 cell: epsilon outside the root"),
        ("conforms-deviates", "      a.one  0.5 → 12.5 (eager-cpu)"),
        ("conforms-known-deviation", "  torch.nn.BatchNorm: conforms → deviates (known), 1 cell: epsilon outside the root"),
        ("dialect-conforms", "  torch.nn.BatchNorm: dialect → conforms, 1 cell: update: zero_debiased → canonical"),
        ("epsilon-moved", "  torch.nn.BatchNorm: conforms → deviates, 2 cells; conforms → deviates (known), 1 cell; exact → deviates, 1 cell; deviates otherwise than before, 1 cell: epsilon outside the root"),
        ("epsilon-moved", "      and 2 cases more"),
        ("drift", "  torch.nn.BatchNorm: conforms, with scores ×4, 1 cell"),
        ("drift-from-nothing", "  torch.nn.BatchNorm: conforms, with scores ×∞, 1 cell"),
        ("drift-to-nan", "      a.one  12.5 → nan (eager-cpu)"),
        ("diagnosed-otherwise", "  torch.nn.BatchNorm: deviates otherwise than before, 1 cell: decay inverted"),
        ("known-unexpected", "  torch.nn.BatchNorm: deviates as before, known → unexpected, 1 cell: epsilon outside the root"),
        ("conforms-crashed", "      a.one  0.5 (eager-cpu)"),
        ("grade-falls", "  torch.nn.BatchNorm-eager-cpu: stability in float32 D → W"),
        ("implementation-gone", "  flax.linen.BatchNorm-eager-cpu: all 1 cell vanished: though the new run has these cases"),
        ("environment-not-built", "  flax: worked → not built"),
        ("environment-started-again", "  flax: not started → works"),
        ("narrowed", "  torch.nn.BatchNorm-eager-cpu: 1 cell vanished: the new run was narrowed"),
        ("another-tier", "  base  run.jsonl: 2 cells, tier full, suite 0.1.0, spec abc"),
        ("another-tier", "  torch.nn.BatchNorm-eager-cpu: 1 cell vanished: the new run is of another tier"),
        ("appeared", "  torch.nn.BatchNorm-eager-cpu: 2 new cells: 1 conforms, 1 deviates"),
        ("appeared", "      a.three  deviates, unexpected"),
        ("redefined", "  The specs differ (abc, other): 1 case defined differently and not compared."),
        ("another-suite", "  Different versions of the suite judged (0.1.0, 0.2.0), which can move a verdict."),
        ("partial", "  The new run is partial."),
        ("narrowed", "  new   run.jsonl: 1 cell, narrowed, suite 0.1.0, spec abc"),
        ("versions-and-settings", "  flax, torch: version: numpy 2.4.6 → 2.5"),
        ("versions-and-settings", "  torch: setting: oneDNN none → on"),
        ("versions-and-settings", "  flax: variable: XLA_FLAGS none → x"),
        ("environment-took-no-part", "  flax: takes no part now"),
    ],
)  # fmt: skip
def test_a_change_is_a_line_that_names_it(name: str, line: str) -> None:
    """The words are those of the verdicts and the reasons."""
    assert line in text(compared(name)).splitlines()


def test_a_case_that_changed_in_several_modes_is_named_once() -> None:
    """With the scores of the worst."""
    modes = {"eager": 3.0, "compiled": 7.0}
    base = run_of(*(record_line(mode=mode) for mode in modes))
    new = run_of(*(record_line("deviates", score, mode=mode) for mode, score in modes.items()))
    assert "      a.one  0.5 → 7 (compiled-cpu, eager-cpu)\n" in text(compare(results_of([base]), results_of([new])))


def test_regressions_stand_before_everything_else() -> None:
    """Under their own heading."""
    shown = text(compared("environment-not-built"))
    headings = re.findall(r"^(\w.*):$", shown, re.MULTILINE)
    assert headings[0] == "Regressions"


def test_what_moved_stands_under_its_own_heading() -> None:
    """And in no other section, in each form."""
    found = compared("dialect-conforms")
    assert re.findall(r"^(\w.*):$", text(found), re.MULTILINE) == ["Moved"]
    assert re.findall(r"^### (.*)$", markdown(found), re.MULTILINE) == ["Moved"]


def test_of_many_cells_a_few_are_named_and_the_rest_counted() -> None:
    """The JSON has them all."""
    base = run_of(*(record_line(of=f"a.case-{place:02}") for place in range(30)))
    new = run_of(*(record_line("deviates", 30 - place, of=f"a.case-{place:02}") for place in range(30)))
    found = compare(results_of([base]), results_of([new]))
    shown = text(found).splitlines()
    assert sum("a.case-" in line for line in shown) == 3
    assert "a.case-00" in shown[6]
    assert "      and 27 cases more" in shown


def test_markdown_folds_the_cells_and_leaves_the_finding_in_sight() -> None:
    """The summary says what; the table says where."""
    shown = markdown(compared("conforms-deviates"))
    assert (
        "<details><summary><code>torch.nn.BatchNorm</code>: conforms → deviates, 1 cell:"
        " <code>epsilon outside the root</code></summary>\n\n| case | score |"
    ) in shown
    assert "| <code>a.one</code> | 0.5 → 12.5 (eager-cpu) |" in shown


@pytest.mark.parametrize("name", PAIRS)
def test_markdown_closes_what_it_opens(name: str) -> None:
    """For every kind of change."""
    assert Tags(markdown(compared(name))).open == []


def test_words_that_are_not_ours_are_no_marks() -> None:
    """No element, no table column, no emphasis, no mention outside code."""
    base = run_of(record_line())
    wrong = record_line("deviates", 5.0, diagnosis=HOSTILE)
    found = compare(
        results_of([base]),
        results_of([run_of(wrong, environments=(environment_line(settings={"threads": HOSTILE}),))]),
    )
    shown = markdown(found)
    tags = Tags(shown)
    assert tags.open == []
    assert tags.seen == {"details", "summary", "code"}
    assert "**bold**" in tags.text
    assert "**bold**" not in shown
    assert "`" not in shown
    assert all(line.count("|") == 3 for line in shown.splitlines() if line.startswith("|"))
    outside = re.sub(r"<code>.*?</code>", "", shown)
    assert "@" not in outside
    assert "#1" not in outside


def test_a_comment_of_a_thousand_findings_still_fits() -> None:
    """GitHub takes 65,536 characters; what is left out is counted."""
    shown = markdown(many(1000))
    assert len(shown) < 65_536
    assert "And 975 findings more." in shown


def test_a_column_that_begins_to_fail_fits_too() -> None:
    """One finding of a thousand cells, and every cell of ten columns gone."""
    base = run_of(*(record_line(of=f"a.case-{place}", mode=f"m{place % 30}") for place in range(3000)))
    new = run_of(
        *(record_line("crashed", None, of=f"a.case-{place}", mode=f"m{place % 30}") for place in range(0, 3000, 3)),
        cases=tuple(case_line(name) for name in base.cases),
    )
    shown = markdown(compare(results_of([base]), results_of([new])))
    assert len(shown) < 65_536
    assert Tags(shown).open == []
