"""A comparison for a terminal."""

from __future__ import annotations

from conformance.compare.telling import Entry, counted, headline, notes, sections, side_line
from conformance.compare.values import Comparison

#: Of many cells so many are named: the worst.
_NAMED = 3


def text(comparison: Comparison) -> str:
    """Return the comparison as lines of plain text; the JSON has what is left out."""
    lines = [headline(comparison)]
    all_sections = sections(comparison)
    if all_sections or notes(comparison):
        for name, side in (("base", comparison.base), ("new", comparison.new)):
            lines.append(f"  {name:4}  {', '.join(side.files)}: {side_line(side)}")
    lines.extend(f"  {note}" for note in notes(comparison))
    for section in all_sections:
        lines.extend(["", f"{section.title}:"])
        for entry in section.entries:
            lines.extend(_lines(entry))
    return "\n".join(lines) + "\n"


def _lines(entry: Entry) -> list[str]:
    lines = [f"  {entry.who}: {entry.said}{f': {entry.what}' if entry.what else ''}"]
    lines.extend(f"      {name}  {numbers}".rstrip() for name, numbers in entry.rows[:_NAMED])
    if len(entry.rows) > _NAMED:
        lines.append(f"      and {counted(len(entry.rows) - _NAMED, 'case')} more")
    return lines
