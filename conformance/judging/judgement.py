"""The results of judging: of a quantity, of a step and of a cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from conformance.cause import Cause, Explanation
from conformance.operations.score import Worst
from conformance.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The judgement of one quantity at one step."""

    quantity: str
    verdict: Verdict
    score: float | None = None
    #: The score by the bounds of narrower classes, by grade, on the cases that grade.
    narrower: Mapping[str, float] = field(default_factory=dict)
    worst: Worst | None = None
    #: The dialect fields that the numbers depend on: with a canonical value, they would not fit.
    fields: tuple[str, ...] = ()
    #: Why it deviates: one of these causes, the plainest first.
    causes: tuple[Cause, ...] = ()
    #: What acts on it besides: neither this nor `causes` explains the numbers alone.
    also: tuple[Cause, ...] = ()
    #: The changes of the formula that explain the numbers, the plainest first; then those that explain nearly anything.
    explanations: tuple[Cause, ...] = ()
    last_resorts: tuple[Cause, ...] = ()
    dtype: str = ""
    #: The shape in which the implementation gave it.
    shape: tuple[int, ...] = ()
    #: On the cases that are performed twice: a digest of its bits.
    bits: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepJudgement:
    """The judgement of one step; number 0 is the start."""

    number: int
    kind: str
    verdict: Verdict
    #: Whether it calls for no attention: the step agrees, is refused as documented, or cannot be judged.
    expected: bool
    seconds: float | None = None
    quantities: tuple[Judged, ...] = ()
    message: str = ""
    #: Why there are no numbers, where there should be some and no documentation says that there are none.
    failure: Cause | None = None
    #: The type of the exception that it raised, by name; empty where it raised none.
    raised: str = ""
    #: The seconds within which it gave no answer; None where it gave one.
    deadline: float | None = None
    #: At the start: how a user writes it, as path, keywords (as source text) and function.
    call: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The judgement of a cell."""

    verdict: Verdict
    expected: bool
    steps: tuple[StepJudgement, ...]
    #: What explains the deviating quantities.
    diagnosis: tuple[Explanation, ...] = ()
    #: On the cases that grade: the class of bound that holds every quantity.
    grade: str = ""
    #: On the cases that are performed twice: where the bits differ, empty where they nowhere do.
    again: str | None = None
    #: On the cases that probe: the dialect that the numbers show, by field.
    observed: Mapping[str, str] = field(default_factory=dict)

    @property
    def failures(self) -> tuple[Cause, ...]:
        """Why steps gave no numbers, each cause once."""
        return tuple(dict.fromkeys(step.failure for step in self.steps if step.failure is not None))
