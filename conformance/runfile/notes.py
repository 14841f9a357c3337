"""A judged cell as a lab note: what deviates where, what was expected, what came, what was allowed, and why."""

from __future__ import annotations

import math

from conformance.runfile.cause_text import Catalogue, diagnosis_text, reason_text
from conformance.runfile.numbers import Number, number_from
from conformance.runfile.observed import shown
from conformance.runfile.structs import FirstTry, QuantityRecord, Record, WorstElement
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
    if record.first is not None:
        notes.append(f"  {disturbed(record.first, record.verdict)}")
    return "\n".join(notes)


def disturbed(first: FirstTry, recorded: Verdict) -> str:
    """Return what a disturbed first try of a cell gave, and after which cells, beside what is recorded of it."""
    after = f" after {', '.join(first.before)}" if first.before else ""
    why = f" ({first.why})" if first.why else ""
    return f"{first.verdict}{after} in one process{why}: recorded is what a fresh process gave, {recorded}"


def in_short(record: Record, causes: Catalogue) -> str:
    """Return what is unexpected of a cell in a few words: why its numbers deviate, or else what its first such step says."""
    if record.diagnosis:
        return diagnosis_text(record.diagnosis, causes)
    said = (step.message for step in record.steps if not step.expected and step.message)
    return next(said, "").partition("\n")[0]


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
