"""The cells as compact JSON, from which the page's script draws a case when it is asked for.

Texts and quantities that recur are held once and referred to by position. Of a cell with many steps those
that decide something are kept, and the rest counted: all of them are in the run file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from conformance.observed import Cell, severity, shortened, what, worst_quantity
from conformance.record import Line, number
from conformance.report.model import Page
from conformance.report.wording import VERDICTS
from conformance.verdict import Standing, Verdict

#: A cell with at most so many steps shows them all.
_STEPS = 14
#: Of more, so many that do not agree, beside the first, the last and the worst.
_DISAGREEING = 8
_CODES = {verdict: code for code, verdict in enumerate(Verdict)}
_STANDINGS = {each: code for code, each in enumerate(Standing)}
#: `<` and `&` could end the element or begin a comment; the separators end a line in older scripts.
_ESCAPES = {ord(each): f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}


class Pool:
    """Values by position, each held once."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._positions: dict[str, int] = {}

    def position(self, value: Any) -> int:
        """Return where the value is, adding it if it is new."""
        key = json.dumps(value)
        if key not in self._positions:
            self._positions[key] = len(self.values)
            self.values.append(value)
        return self._positions[key]


def payload(page: Page) -> str:
    """Return the JSON, safe inside a script element."""
    texts, quantities = Pool(), Pool()
    cases = {case["id"]: position for position, case in enumerate(page.cases)}
    columns = {column.name: position for position, column in enumerate(page.matrix.columns)}
    data = {
        "verdicts": [[each.value, VERDICTS[each].symbol, VERDICTS[each].word] for each in Verdict],
        "standings": [each.value for each in Standing],
        "clauses": page.clauses,
        "columns": [[each.name, each.implementation, each.mode, each.device] for each in page.matrix.columns],
        "cases": [_finite(dict(case)) for case in page.cases],
        "cells": [
            [cases[cell.case["id"]], columns[cell.column.name], *_cell(cell, texts, quantities)]
            for cell in sorted(page.cells, key=lambda each: each.rank, reverse=True)
        ],
        "quantities": quantities.values,
        "texts": texts.values,
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate(_ESCAPES)


def _finite(value: Any) -> Any:
    """Return the value with texts for the numbers that JSON does not have, which a recipe may hold."""
    match value:
        case dict():
            return {key: _finite(each) for key, each in value.items()}
        case list():
            return [_finite(each) for each in value]
        case float():
            return number(value)
        case _:
            return value


def _cell(cell: Cell, texts: Pool, quantities: Pool) -> list[Any]:
    record = cell.record
    kept = _kept(record["steps"])
    return [
        _CODES[cell.verdict],
        _STANDINGS[cell.standing],
        shortened(record["score"]),
        shortened(sum(step.get("seconds", 0.0) for step in record["steps"])),
        texts.position(what(cell)),
        texts.position(record["diagnosis"]),
        texts.position(cell.environment),
        texts.position(record.get("call", "")),
        [_divergence(each, texts) for each in record["divergence"]],
        _worst(cell, quantities),
        len(record["steps"]) - len(kept),
        [_step(step, texts, quantities) for step in kept],
    ]


def _divergence(entry: Line, texts: Pool) -> list[int]:
    return [texts.position(entry.get(key) or "") for key in ("reason", "diagnosis", "upstream")]


def _worst(cell: Cell, quantities: Pool) -> list[Any] | None:
    found = worst_quantity(cell)
    if found is None:
        return None
    step, quantity = found
    return [step["number"], step["kind"], quantities.position(_quantity(quantity))]


def _step(step: Line, texts: Pool, quantities: Pool) -> list[Any]:
    return [
        step["number"],
        step["kind"],
        _CODES[Verdict(step["verdict"])],
        shortened(step.get("seconds")),
        texts.position(step.get("message", "")),
        step.get("inputs", ""),
        [quantities.position(_quantity(each)) for each in step["quantities"]],
    ]


def _quantity(quantity: Mapping[str, Any]) -> list[Any]:
    worst = quantity.get("worst")
    return [
        quantity["quantity"],
        _CODES[Verdict(quantity["verdict"])],
        shortened(quantity.get("score")),
        shortened(quantity.get("by_grade", {}).get("D")),
        worst and [worst["index"], worst["expected"], worst["observed"], shortened(worst["allowed"])],
        quantity.get("fields", []),
        quantity.get("reason", ""),
        quantity["dtype"],
        quantity["shape"],
    ]


def _kept(steps: Sequence[Line]) -> list[Line]:
    """Return the steps to show: all, or the first, the last, the worst, and the first that disagree."""
    if len(steps) <= _STEPS:
        return list(steps)
    disagreeing = [position for position, step in enumerate(steps) if not Verdict(step["verdict"]).agrees]
    worst = max(range(len(steps)), key=lambda position: _badness(steps[position]))
    shown = {0, 1, len(steps) - 2, len(steps) - 1, worst, *disagreeing[:_DISAGREEING]}
    return [steps[position] for position in sorted(shown)]


def _badness(step: Line) -> tuple[int, tuple[int, float]]:
    return Verdict(step["verdict"]).severity, max(map(severity, step["quantities"]), default=(-1, -1.0))
