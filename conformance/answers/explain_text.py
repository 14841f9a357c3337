"""An explanation as text: with tables on a terminal, in plain columns in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from conformance.answers.explain_sections import Section, Table, heading, sections
from conformance.answers.explanation import Explanation


def show(explanation: Explanation) -> None:
    """Print the explanation, as wide as the terminal or line by line into a pipe."""
    if not sys.stdout.isatty():
        print(plain(explanation), end="")
        return
    console = Console()
    console.print(Text(heading(explanation), style="bold"))
    for section in sections(explanation):
        console.print(Text(f"\n{section.title}", style="bold"))
        for sentence in section.sentences:
            console.print(Text(sentence))
        for table in section.tables:
            console.print(_rich(table))


def plain(explanation: Explanation) -> str:
    """Return the explanation as lines without colours, each row of a table one of them."""
    lines = [heading(explanation)]
    for section in sections(explanation):
        lines += ["", section.title, *_lines(section)]
    return "\n".join(lines) + "\n"


def _lines(section: Section) -> Iterator[str]:
    yield from section.sentences
    for table in section.tables:
        widths = [max(map(len, column)) for column in zip(table.header, *table.rows, strict=True)]
        for row in (table.header, *table.rows):
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            yield "  " + "  ".join(cells).rstrip()


def _rich(table: Table) -> RichTable:
    rich = RichTable(*table.header)
    for row in table.rows:
        rich.add_row(*(Text(cell) for cell in row))
    return rich
