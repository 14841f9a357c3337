"""The glossary as entries, and where a page links to them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conformance.report.glossary import entries, finding, first_places, linked, sections, shipped
from conformance.spec.locations import root

GLOSSARY = """# Words

## First

| word | meaning |
| --- | --- |
| case | One scenario, see [cases](a.md). |
| run file | `JSON` of a *run* & more. |
| side, virtual batch | One of two. |

### Second

| verdict | what earns it | judged |
| --- | --- | --- |
| `timed_out` (never) | No answer. | yes |

| another | table |
| --- | --- |
| stranger | Not of ours. |

**Feature axes** are kept: one mean
for each.
"""


def words_in(html: str) -> list[str]:
    """Return what would be linked, in order."""
    return [html[place.start : place.end] for place in first_places(html, finding(entries(GLOSSARY)))]


def test_rows_of_words_and_paragraphs_that_begin_with_one_are_entries() -> None:
    told = entries(GLOSSARY)
    assert [entry.words for entry in told] == [
        ("case",), ("run file",), ("side", "virtual batch"), ("timed out",), ("feature axes",),
    ]  # fmt: skip
    assert {name: len(own) for name, own in sections(told).items()} == {"First": 3, "Second": 2}
    assert told[-1].plain == "Feature axes are kept: one mean for each."


def test_marks_become_html_and_leave_a_plain_text() -> None:
    case, file, *_ = entries(GLOSSARY)
    assert (case.meaning, case.plain) == ("One scenario, see cases.", "One scenario, see cases.")
    assert (file.meaning, file.plain) == ("<code>JSON</code> of a <em>run</em> &amp; more.", "JSON of a run & more.")


def test_two_entries_of_one_word_stand_at_two_places() -> None:
    anchors = [entry.anchor for entry in entries(GLOSSARY + "\n**Case** is a word again.\n")]
    assert len({*anchors}) == len(anchors)


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ("<p>A case, a case.</p>", ["case"]),
        ("<p>Cases and a case</p>", ["Cases"]),
        ("<p>the run files of a file</p>", ["run files"]),
        ("<p>a side of virtual batches</p>", ["virtual batches"]),
        ("<h1>Case</h1><p>case</p>", ["case"]),
        ('<p><a href="x">case</a> <code>case</code> <span class="unseen">case</span></p>', []),
        ("<th><b>case</b></th>", []),
        ("<dl><div><dt>case</dt> <dd>1</dd></div></dl>", []),
        ('<td class="what" dir="auto">no case <b>is</b> a case</td><td>a case</td>', ["case"]),
        ('<p dir="auto">a case</p>', ["case"]),
        ("<p>case_id, a.case, case/two, case-by</p>", []),
        ("<p>nn.<wbr>case<wbr>.x</p>", []),
    ],
)
def test_the_first_of_each_is_found_where_a_link_may_stand(html: str, found: list[str]) -> None:
    assert words_in(html) == found


def test_what_is_folded_away_counts_after_all_else() -> None:
    html = "<details><summary>x</summary>a case, timed out</details><p>the case</p>"
    assert [place.start > html.index("<p>") for place in first_places(html, finding(entries(GLOSSARY)))] == [
        False,
        True,
    ]


def test_a_link_has_the_meaning_as_its_title_and_changes_nothing_else() -> None:
    html = '<p title="a case">The <b>cell</b> &amp; a cell.</p>'
    made = linked(html, lambda entry: f"../glossary.html#{entry.anchor}")
    link = re.search(r'<a class="word" href="\.\./glossary\.html#word-cell" title="Case, [^"<>]+">cell</a>', made)
    assert link is not None
    assert made.replace(link[0], "cell") == html


def test_the_glossary_is_that_of_the_documentation() -> None:
    assert shipped() == entries((root() / "docs" / "glossary.md").read_text(encoding="utf-8"))
    assert {"case", "cell", "verdict", "decay"} <= {word for entry in shipped() for word in entry.words}


def test_a_wheel_has_the_glossary_where_a_checkout_has_it() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert '"docs/glossary.md" = "conformance/_shipped/docs/glossary.md"' in text
