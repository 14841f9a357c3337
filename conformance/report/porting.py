"""What a person needs who moves a model from one implementation to another: of each, its words, choices and findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from conformance.report.frameworks import Framework
from conformance.report.model import Report
from conformance.report.naming import READINGS, Named
from conformance.report.pairs import Pairs


def porting(
    report: Report, names: Iterable[Named], libraries: Sequence[Framework], compared: Iterable[Pairs] = ()
) -> Any:
    """Return, for the script of the page, every implementation with what it is called with, declares and does wrong.

    `compared` are the pairs by operation, each told as three numbers.
    """
    named = {naming.implementation: naming for naming in names}
    dialects = {dialect.implementation: dialect for dialect in report.dialects}
    probed = {probe.implementation: probe for probe in report.probed}
    operations = {cell.column.implementation: cell.case.op for cell in report.cells}
    variants = {layer.name for library in libraries for group in library.layers for layer in group.variants}
    rows = []
    fields: dict[str, str] = {}
    for library in libraries:
        for implementation in dict.fromkeys(layer.name for group in library.layers for layer in group.all):
            dialect, probe = dialects.get(implementation), probed.get(implementation)
            declared: dict[str, str] = {}
            for declaration in dialect.declarations if dialect else ():
                declared.setdefault(declaration.field, declaration.value)
                fields.setdefault(declaration.field, declaration.meaning)
            rows.append(
                {
                    "name": implementation,
                    "slug": report.slugs[implementation],
                    "library": library.library,
                    "op": operations.get(implementation, ""),
                    "variant": implementation in variants,
                    "call": named[implementation].call if implementation in named else "",
                    "words": _words(named.get(implementation)),
                    "declared": declared,
                    "seen": {field.field: " or ".join(field.observed) for field in probe.fields if field.observed}
                    if probe
                    else {},
                    "findings": [
                        [finding.sentence, finding.seen, f"causes/{finding.page}.html", f"cause-{finding.anchor}"]
                        for finding in library.findings
                        if finding.implementation == implementation
                    ],
                }
            )
    pairs = {
        each.op: {
            "names": each.implementations,
            "pairs": [number for pair in each.pairs for number in (pair.both, pair.apart, pair.disagreeing)],
        }
        for each in compared
    }
    return {"fields": fields, "rows": rows, "pairs": pairs}


def _words(naming: Named | None) -> Mapping[str, list[list[str]]]:
    """Return by thing what an API calls it, and what the value is."""
    if naming is None:
        return {}
    return {thing: [[name.keyword, name.meaning] for name in naming.names[thing]] for thing in READINGS}
