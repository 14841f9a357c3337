"""An explanation as one page of HTML, which needs nothing beside itself."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from conformance.answers.explain_sections import Section, Table, heading, sections
from conformance.answers.explanation import Explanation

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
.scroll { overflow-x: auto; margin: 0.75rem 0; }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid color-mix(in srgb, currentcolor 25%, transparent); padding: 0.25rem 1rem 0.25rem 0;
  text-align: left; vertical-align: top; font-variant-numeric: tabular-nums; }
td { font-family: ui-monospace, monospace; font-size: 0.9em; overflow-wrap: anywhere; }
"""


def page(explanation: Explanation) -> str:
    """Return the whole page."""
    title = escape(heading(explanation))
    body = "\n".join(line for section in sections(explanation) for line in _section(section))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{title}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _section(section: Section) -> Iterator[str]:
    yield f"<h2>{escape(section.title)}</h2>"
    yield from (f"<p>{escape(sentence)}</p>" for sentence in section.sentences)
    for table in section.tables:
        yield from _table(table, section.title)


def _table(table: Table, title: str) -> Iterator[str]:
    # What may be wider than the page scrolls, with the keyboard too.
    label = escape(f"{title}: {table.header[0]}")
    yield f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">'
    yield "<table>"
    header = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.header)
    yield f"<thead><tr>{header}</tr></thead>"
    yield "<tbody>"
    for row in table.rows:
        yield f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
    yield "</tbody></table></div>"
