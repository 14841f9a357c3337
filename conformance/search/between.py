"""What two implementations gave of one case, held against each other and not each against the reference.

The reference enters twice: its bounds say how far apart two right numbers may be, and its values take out what the
states that both reported before the step are apart already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from conformance.cause import Cause
from conformance.dialect import FIELDS, Dialect
from conformance.judging.judgement import Judgement, StepJudgement
from conformance.judging.step import StepJudge
from conformance.operations.expected import Expected
from conformance.operations.score import may_be_infinite
from conformance.precision import dtype_name, storage_rounding
from conformance.verdict import Verdict

Array = np.ndarray[Any, np.dtype[Any]]
Side = Literal["one", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why two implementations differ: a cause of one of them, or fields in which their documentation differs.

    Where it is neither, each alone is within its own bound.
    """

    #: The cause, and of which of both it is; None where both are right in the dialects that they document.
    cause: Cause | None = None
    side: Side = "one"
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One quantity of one step that two implementations gave, or that one of them did not give."""

    number: int
    kind: str
    #: Empty where one gave numbers and the other none.
    quantity: str
    #: The distance in what the bounds of both allow together.
    score: float
    #: Why they differ; nothing where they do not.
    whys: tuple[Why, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether they are farther apart than both bounds allow."""
        return self.score > 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Given:
    """What one implementation gave of a case: the judgement, and the judges of the steps that gave numbers."""

    judgement: Judgement
    judges: Mapping[int, StepJudge]


def comparisons(one: Given, other: Given) -> Iterator[Comparison]:
    """Yield everything that two implementations gave beside each other, step by step."""
    for mine, its in zip(one.judgement.steps, other.judgement.steps, strict=False):
        here, there = one.judges.get(mine.number), other.judges.get(its.number)
        if here is not None and there is not None:
            yield from _numbers(mine, its, here, there)
        elif mine.number and (here is None) != (there is None):
            yield from _presence(mine, its)


def _presence(mine: StepJudgement, its: StepJudgement) -> Iterator[Comparison]:
    """Yield the difference of a step that one performed and the other did not; an overflow may be refused."""
    sides: tuple[tuple[Side, StepJudgement], ...] = (("one", mine), ("other", its))
    if Verdict.OUTSIDE_DOMAIN in (mine.verdict, its.verdict):
        return
    whys = tuple(Why(cause=step.failure, side=side) for side, step in sides if step.failure is not None)
    refused = tuple(step.raised for _, step in sides if step.raised and step.failure is None)
    yield Comparison(
        number=mine.number, kind=mine.kind, quantity="", score=np.inf, whys=whys or (Why(fields=("refuses", *refused)),)
    )


def _numbers(mine: StepJudgement, its: StepJudgement, here: StepJudge, there: StepJudge) -> Iterator[Comparison]:
    canonical = here.operation.dialect
    for name in (name for name in here.target.observed if name in there.target.observed):
        score = _apart(name, here, there, (canonical, canonical))
        if score is None:
            continue
        documented = here.documented, there.documented
        whys: tuple[Why, ...] = ()
        if score > 1 and documented[0] != documented[1]:
            # Where one dialect does not give the quantity there is no own distance, and so no excuse.
            own = _apart(name, here, there, documented)
            whys = (Why(fields=_differing(*documented)),) if own is not None and own <= 1 else ()
        if score > 1 and not whys:
            whys = tuple(_causes(name, (("one", mine), ("other", its)))) or (Why(),)
        yield Comparison(number=mine.number, kind=mine.kind, quantity=name, score=score, whys=whys)


def _causes(name: str, sides: Iterable[tuple[Side, StepJudgement]]) -> Iterator[Why]:
    """Yield what either side does otherwise with a quantity, by its own judgement."""
    for side, step in sides:
        for judged in (judged for judged in step.quantities if judged.quantity == name):
            for cause in (*judged.causes[:1], *judged.also):
                yield Why(cause=cause, side=side)
            if judged.verdict is Verdict.DIALECT:
                yield Why(fields=judged.fields or ("statistics_dtype",), side=side)


def _differing(one: Dialect, other: Dialect) -> tuple[str, ...]:
    return tuple(field for field in FIELDS if getattr(one, field) != getattr(other, field))


def _apart(name: str, here: StepJudge, there: StepJudge, dialects: tuple[Dialect, Dialect]) -> float | None:
    """Return how far apart both are in what their bounds allow together; None where nothing is expected of one."""
    sides = [_side(name, judge, dialect) for judge, dialect in zip((here, there), dialects, strict=True)]
    mine, its = sides
    if mine is None or its is None or mine.numbers.shape != its.numbers.shape:
        return None
    return apart(mine, its)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Numbers:
    """One quantity that an implementation gave, beside what is right from the state that it reported before."""

    numbers: Array
    right: Array
    bound: Array
    #: Whether the bound is less than the terms that the number is made of, so that it tells right from wrong.
    telling: Array
    #: Where a number that is not finite is excused, because an intermediate or the result may leave the range.
    excused: Array


def _side(name: str, judge: StepJudge, dialect: Dialect) -> Numbers | None:
    expected = judge.target.expected(dialect, judge.worked).get(name)
    observed = judge.target.flat(name)
    return None if expected is None or observed.shape != expected.value.shape else numbers_of(observed, expected, judge)


def numbers_of(observed: Array, expected: Expected, judge: StepJudge) -> Numbers:
    """Return what was observed beside what was expected, with the rounding of the dtype that holds it in the bound."""
    stored = dtype_name(observed.dtype)
    with np.errstate(all="ignore"):
        bound = storage_rounding(expected.bound, expected.value, stored, judge.worked)
        return Numbers(
            numbers=observed.astype(expected.value.dtype),
            right=expected.value if expected.rest is None else expected.value + expected.rest,
            bound=bound,
            telling=np.broadcast_to(bound < expected.magnitude, observed.shape),
            excused=np.broadcast_to(~expected.in_domain | may_be_infinite(expected, stored), observed.shape),
        )


def apart(one: Numbers, other: Numbers) -> float:
    """Return the largest distance of two quantities, in what the bounds of both allow together; 1 is the limit.

    The distance is that of the numbers less that of what is right of either, which is 0 from the same state.
    Numbers that are not finite are all alike.
    """
    with np.errstate(all="ignore"):
        off = np.abs((one.numbers - other.numbers) - (one.right - other.right)).astype(np.float64)
        scores = np.where(off == 0, 0.0, off / (one.bound + other.bound))
        finite = np.isfinite(one.numbers), np.isfinite(other.numbers)
        # One that is finite says nothing of an infinite one that is excused.
        excused = (~finite[0] & one.excused) | (~finite[1] & other.excused)
        scores = np.where(finite[0] != finite[1], np.where(excused, 0.0, np.inf), scores)
        judged = np.isfinite(one.right) & np.isfinite(other.right) & one.telling & other.telling
        scores = np.where((finite[0] | finite[1]) & (judged | (finite[0] != finite[1])), scores, 0.0)
    return float(np.nan_to_num(scores, nan=np.inf, posinf=np.inf).max(initial=0.0))
