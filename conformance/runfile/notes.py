"""A judged cell as a lab note: what deviates where, what was expected, what came, what was allowed, and why."""

from __future__ import annotations

from conformance.runfile.cause_text import Catalogue, diagnosis_text, reason_text
from conformance.runfile.structs import QuantityRecord, Record
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


def _described(quantity: QuantityRecord, causes: Catalogue) -> str:
    note = f"{quantity.quantity}: {quantity.verdict}"
    if quantity.worst is not None:
        worst = quantity.worst
        note += (
            f": score {quantity.score}: at {worst.index} expected {worst.expected},"
            f" got {worst.observed}, allowed ±{worst.allowed}"
        )
    if quantity.fields:
        note += f" [{', '.join(quantity.fields)}]"
    return f"{note} {reason_text(quantity, causes)}".rstrip()
