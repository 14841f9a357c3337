"""A comparison for a pull request: the findings in sight, their cells folded away, short enough for a comment."""

from __future__ import annotations

import html
import re

from conformance.compare.telling import FAILING, Entry, Section, counted, headline, notes, sections, side_line
from conformance.compare.values import Comparison

#: So many entries a section and cells an entry; a comment on GitHub ends at 65,536 characters.
_ENTRIES = 25
_NAMED = 8
#: An underscore within a word is no mark.
_MARKS = re.compile(r"[*`\[\]|\\~]|(?<!\w)_|_(?!\w)")


def markdown(comparison: Comparison) -> str:
    """Return the comparison as Markdown with HTML's details; the JSON has what is left out.

    Words that are not ours stand in code, where nothing in them is a mention, a reference or a mark.
    """
    blocks = [f"**{escaped(headline(comparison))}**"]
    all_sections = sections(comparison)
    if all_sections or notes(comparison):
        sides = (("base", comparison.base), ("new", comparison.new))
        listed = [f"- {name}: {code(', '.join(side.files))}: {escaped(side_line(side))}" for name, side in sides]
        blocks.append("\n".join([*listed, *(f"- {escaped(note)}" for note in notes(comparison))]))
    for section in all_sections:
        blocks.extend(_open(section) if section.title in FAILING else _folded(section))
    return "\n\n".join(blocks) + "\n"


def _open(section: Section) -> list[str]:
    """Return a section whose entries are in sight and whose cells are folded away."""
    blocks = [f"### {section.title}"]
    for entry in section.entries[:_ENTRIES]:
        if entry.rows:
            rows = [
                "| case | score |",
                "| --- | --- |",
                *(f"| {code(name)} | {escaped(remark)} |" for name, remark in entry.rows[:_NAMED]),
            ]
            blocks.append(f"<details><summary>{_line(entry)}</summary>\n\n" + "\n".join(rows))
            blocks.append(f"{_rest(len(entry.rows) - _NAMED, 'case')}</details>")
        else:
            blocks.append(_line(entry))
    return [*blocks, *filter(None, [_rest(len(section.entries) - _ENTRIES, "finding")])]


def _folded(section: Section) -> list[str]:
    """Return a section that is folded away whole, without its cells."""
    lines = [f"- {_line(entry)}" for entry in section.entries[:_ENTRIES]]
    rest = _rest(len(section.entries) - _ENTRIES, "finding")
    summary = f"<details><summary>{section.title} ({len(section.entries)})</summary>"
    return [summary, "\n".join([*lines, *([f"- {rest}"] if rest else [])]), "</details>"]


def _line(entry: Entry) -> str:
    what = f": {code(entry.what)}" if entry.what else ""
    return f"{code(entry.who)}: {escaped(entry.said)}{what}"


def _rest(count: int, word: str) -> str:
    return f"And {counted(count, word)} more. " if count > 0 else ""


def code(text: str) -> str:
    """Return words that are not ours as code, with entities for what Markdown would take as marks of its own."""
    return f"<code>{escaped(text)}</code>"


def escaped(text: str) -> str:
    """Return words of ours with entities for what Markdown or HTML would take as marks."""
    return _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", html.escape(text, quote=False))
