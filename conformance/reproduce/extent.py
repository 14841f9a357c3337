"""What of a recorded cell its script shows: from which step to which, and what it reads there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from conformance.reproduce.checks import first_deviating, refusals
from conformance.reproduce.evidence import Evidence
from conformance.runfile.numbers import number_from
from conformance.runfile.structs import QuantityRecord, Record, StepRecord
from conformance.spec.case import Infer
from conformance.verdict import Verdict

_NEVER_BEGUN = (Verdict.REFUSED, Verdict.CRASHED, Verdict.TIMED_OUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """The steps of a cell that its script performs and those it holds to what was recorded."""

    #: The first step and the last that are performed; the start alone where the last is 0.
    first: int
    last: int
    #: The record with those of its steps alone whose quantities are asserted.
    shown: Record
    #: The steps of which something is asserted.
    kept: frozenset[int]
    #: Those of them after which the state is read.
    reads: frozenset[int]
    #: Whether the start itself ends.
    begins: bool
    #: The step whose exception is let through: it is the finding, and nothing comes after it.
    raises: int | None


def extent(evidence: Evidence, *, whole: bool) -> Extent:
    """Return what to show: all of it where the `whole` is asked for, else no more than the finding takes."""
    record = evidence.record
    last = len(evidence.case.performed)
    finding = None if whole else _finding(record)
    if record.verdict in (Verdict.CRASHED, Verdict.TIMED_OUT):
        last = record.steps[-1].number
    elif finding is not None:
        last = finding
    if finding is None:
        steps = tuple(step for step in record.steps if step.number <= last)
    else:
        steps = tuple(_deviating(step) for step in record.steps if step.number == last)
    state = {quantity.quantity for quantity in record.steps[0].quantities}
    shown = msgspec.structs.replace(record, steps=steps)
    earlier = {number for step in steps for number in _compared(step)}
    alone = finding is not None and not evidence.implementation.keeps_state and not earlier and last > 0
    first = last if alone and isinstance(evidence.case.performed[last - 1], Infer) else 1
    raising = [step.number for step in steps if step.number == finding and _only_raises(step, record)]
    return Extent(
        first=first,
        last=last,
        shown=shown,
        kept=frozenset(earlier | {step.number for step in steps}) - set(raising),
        reads=frozenset(earlier | set(_read(shown, state, whole=whole))) - set(raising),
        begins=record.steps[0].verdict not in _NEVER_BEGUN,
        raises=raising[0] if raising else None,
    )


def _finding(record: Record) -> int | None:
    """Return the step that a person wants to see; None where that is every step.

    The first that must not be as it is, else the first refused, else the first that fits a documented dialect, else
    the one that uses most of what rounding may take.
    """
    deviating = first_deviating(record)
    if deviating is not None:
        return deviating
    match record.verdict:
        case Verdict.REFUSED:
            return min(refusals(record), default=None)
        case Verdict.DIALECT:
            return next((step.number for step in record.steps if step.verdict is Verdict.DIALECT), None)
        case Verdict.CONFORMS | Verdict.EXACT:
            steps = [step for step in record.steps if step.number]
            return max(steps, key=_score).number if steps else None
        case _:
            return None


def _deviating(step: StepRecord) -> StepRecord:
    """Return the step with those of its quantities that deviate alone, if any does."""
    deviating = tuple(quantity for quantity in step.quantities if quantity.verdict is Verdict.DEVIATES)
    return msgspec.structs.replace(step, quantities=deviating or step.quantities)


def _score(step: StepRecord) -> float:
    """Return the largest score of a step; what is nearest to its bound comes first."""
    scores = [number_from(quantity.score) for quantity in step.quantities if quantity.worst is not None]
    return max((score for score in scores if score is not None), default=-1.0)


def _only_raises(step: StepRecord, record: Record) -> bool:
    """Return whether the step's exception is undocumented, and all there is to show."""
    return step.number in refusals(record) and not step.expected and not any(map(_denied, step.quantities))


def _denied(quantity: QuantityRecord) -> bool:
    return quantity.verdict is Verdict.DEVIATES and bool(quantity.causes)


def _compared(step: StepRecord) -> Iterator[int]:
    """Yield the earlier steps that what is said of this one compares it with."""
    causes = [cause for quantity in step.quantities if _denied(quantity) for cause in quantity.causes[:1]]
    for cause in causes:
        match cause.id, cause.parameters:
            case "differs-from-step", {"step": int(other)}:
                yield other
            case "changed-by-refused-step", _:
                yield step.number - 1
            case _:
                pass


def _read(shown: Record, state: set[str], *, whole: bool) -> Iterator[int]:
    """Yield the steps after which something is asserted of a quantity that the state holds."""
    for step in shown.steps:
        asserted = {
            quantity.quantity for quantity in step.quantities if quantity.worst is not None or _denied(quantity)
        }
        if whole or asserted & state:
            yield step.number
