"""The grade of a cell on the stability ladder: the narrowest class of bound that holds every quantity.

A   two passes with pairwise or wider sums        θ of the logarithm of the count
D   two passes with sequential sums               θ of the count
W   Welford's or Chan's update: what every healthy algorithm keeps
O   one pass, E[x²] - E[x]²: consistent with its own bound, and unstable
F   none of them, or not even finite

Chan, Golub and LeVeque 1983 compare the classes; `docs/tolerances.md` has the bounds.
"""

from __future__ import annotations

from collections.abc import Sequence

from conformance.cause import UNSTABLE
from conformance.judging.judgement import Judged, StepJudgement
from conformance.verdict import Verdict, worst_grade


def grade_of(steps: Sequence[StepJudgement]) -> str:
    """Return the worst grade of the quantities that have one; empty where none has."""
    return worst_grade(_grade(judged) for step in steps for judged in step.quantities if _graded(judged))


def _graded(judged: Judged) -> bool:
    return bool(judged.narrower) or judged.verdict is Verdict.DEVIATES


def _grade(judged: Judged) -> str:
    if judged.verdict is Verdict.DEVIATES:
        return "O" if any(cause.id == UNSTABLE for cause in judged.causes) else "F"
    if judged.verdict not in (Verdict.EXACT, Verdict.CONFORMS, Verdict.DIALECT):
        return ""
    return next((grade for grade in "AD" if judged.narrower[grade] <= 1), "W")
