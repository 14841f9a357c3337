"""What of a recorded cell its script shows: from which step to which, and what it reads there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from conformance.reproduce.checks import first_deviating, refusals
from conformance.reproduce.evidence import Evidence
from conformance.runfile.run_file import Line, number_from
from conformance.spec.case import Infer

_NEVER_BEGUN = ("refused", "crashed", "timed_out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """The steps of a cell that its script performs and those it holds to what was recorded."""

    #: The first step and the last that are performed; the start alone where the last is 0.
    first: int
    last: int
    #: The record with those of its steps alone whose quantities are asserted.
    shown: Line
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
    if record["verdict"] in ("crashed", "timed_out"):
        last = record["steps"][-1]["number"]
    elif finding is not None:
        last = finding
    steps = [
        step for step in record["steps"] if (step["number"] == last if finding is not None else step["number"] <= last)
    ]
    state = {quantity["quantity"] for quantity in record["steps"][0]["quantities"]}
    shown = {**record, "steps": steps}
    earlier = {number for step in steps for number in _compared(step)}
    alone = finding is not None and not evidence.keeps_state and not earlier and last > 0
    first = last if alone and isinstance(evidence.case.performed[last - 1], Infer) else 1
    raising = [step["number"] for step in steps if step["number"] == finding and _only_raises(step, record)]
    return Extent(
        first=first,
        last=last,
        shown=shown,
        kept=frozenset(earlier | {step["number"] for step in steps}) - set(raising),
        reads=frozenset(earlier | set(_read(shown, state, whole=whole))) - set(raising),
        begins=record["steps"][0]["verdict"] not in _NEVER_BEGUN,
        raises=raising[0] if raising else None,
    )


def _finding(record: Line) -> int | None:
    """Return the step that a person wants to see; None where that is every step.

    The first that must not be as it is, else the first refused, else the first that fits a documented dialect, else
    the one that uses most of what rounding may take.
    """
    deviating = first_deviating(record)
    if deviating is not None:
        return deviating
    match record["verdict"]:
        case "refused":
            return min(refusals(record), default=None)
        case "dialect":
            return next((step["number"] for step in record["steps"] if step["verdict"] == "dialect"), None)
        case "conforms" | "exact":
            steps = [step for step in record["steps"] if step["number"]]
            return max(steps, key=_score)["number"] if steps else None
        case _:
            return None


def _score(step: Line) -> float:
    """Return the largest score of a step; what is nearest to its bound comes first."""
    scores = [number_from(quantity["score"]) for quantity in step["quantities"] if "worst" in quantity]
    return max((score for score in scores if score is not None), default=-1.0)


def _only_raises(step: Line, record: Line) -> bool:
    """Return whether the step's exception is undocumented, and all there is to show."""
    return bool(
        step["number"] in refusals(record) and not step["expected"] and not any(map(_denied, step["quantities"]))
    )


def _denied(quantity: Line) -> bool:
    return bool(quantity["verdict"] == "deviates" and quantity.get("reason"))


def _compared(step: Line) -> Iterator[int]:
    """Yield the earlier steps that what is said of this one compares it with."""
    for quantity in step["quantities"]:
        match str(quantity.get("reason", "")).split(" ") if _denied(quantity) else []:
            case ["differs", "from", "step", other, *_]:
                yield int(other.rstrip(","))
            case ["changed", "by", *_]:
                yield step["number"] - 1
            case _:
                pass


def _read(shown: Line, state: set[str], *, whole: bool) -> Iterator[int]:
    """Yield the steps after which something is asserted of a quantity that the state holds."""
    for step in shown["steps"]:
        asserted = {quantity["quantity"] for quantity in step["quantities"] if "worst" in quantity or _denied(quantity)}
        if whole or asserted & state:
            yield step["number"]
