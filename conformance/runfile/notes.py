"""A judged cell as a lab note: what deviates where, what was expected, what came, what was allowed, and why."""

from __future__ import annotations

import math

from conformance.runfile.cause_text import Catalogue, diagnosis_text, reason_text
from conformance.runfile.numbers import Number, number_from
from conformance.runfile.observed import shown
from conformance.runfile.structs import QuantityRecord, Record, WorstElement
from conformance.verdict import Verdict


def describe(record: Record, causes: Catalogue) -> str:
    """Return a record as a lab note: what, where, expected, got, allowed."""
    notes = [f"{record.cell}: {record.verdict}"]
    for step in record.steps:
        where = f"step {step.number} ({step.kind})"
        if step.message:
            notes.append(f"  {where}: {step.verdict}: {step.message}")
        notes.extend(
            f"  {where} {_described(quantity, causes)}"
            for quantity in step.quantities
            if quantity.verdict not in (Verdict.EXACT, Verdict.CONFORMS)
        )
    if record.diagnosis:
        notes.append(f"  diagnosis: {diagnosis_text(record.diagnosis, causes)}")
    return "\n".join(notes)


def _short(value: Number) -> str:
    """Return a number with the digits that tell how large it is: the record has them all."""
    return value if isinstance(value, str) else f"{value:.4g}"


def _distance(worst: WorstElement) -> str:
    """Return how far off an element is, which the few digits of its two numbers need not tell."""
    expected, observed = number_from(worst.expected), number_from(worst.observed)
    off = abs(observed - expected)
    return f", off by {_short(off)}" if math.isfinite(off) else ""


def _described(quantity: QuantityRecord, causes: Catalogue) -> str:
    note = f"{quantity.quantity}: {quantity.verdict}"
    if quantity.worst is not None:
        worst = quantity.worst
        note += (
            f": score {shown(quantity.score)}: at {worst.index} expected {_short(worst.expected)},"
            f" got {_short(worst.observed)}{_distance(worst)}, allowed ±{_short(worst.allowed)}"
        )
    if quantity.fields:
        note += f" [{', '.join(quantity.fields)}]"
    return f"{note} {reason_text(quantity, causes)}".rstrip()
