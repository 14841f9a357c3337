"""Turns what happened in a cell into a judgement, by the rules of `spec/semantics.md`, section 21.

Each step is judged from the state that the implementation itself reported before it. A quantity within the bound of the
canonical reference conforms. Otherwise, within the bound of the reference in the documented dialect, it is a dialect.
Otherwise it deviates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from conformance.cause import CRASHES, TIMES_OUT, Cause, because
from conformance.judging.diagnosis import diagnosis, settled
from conformance.judging.evidence import StepEvidence
from conformance.judging.judgement import Judged, Judgement, StepJudgement
from conformance.judging.passes import passes_of
from conformance.judging.refusal import refusal, taken
from conformance.judging.stability_grade import grade_of
from conformance.judging.step import StepJudge
from conformance.judging.walk import Walk
from conformance.operations import OPERATIONS
from conformance.operations.frozen import replace
from conformance.outcome import Crashed, Outcome, Produced, Refused, Repeated, TimedOut, Unsupported
from conformance.planning.plan import Cell
from conformance.precision import working
from conformance.reference.expected import References
from conformance.reference.inputs import Inputs, inputs_of
from conformance.spec.case import handed, unfit
from conformance.verdict import Verdict, worst

Array = np.ndarray[Any, np.dtype[Any]]


def judge(cell: Cell, outcomes: Sequence[Outcome], references: References, inputs: Inputs | None = None) -> Judgement:
    """Return the judgement of a cell, from the outcomes of its start and of each step that was reached.

    `inputs` are the arrays that it was performed on, where those are not made by the recipes of its case.
    """
    return judge_by_step(cell, outcomes, references, inputs)[0]


def judge_by_step(
    cell: Cell, outcomes: Sequence[Outcome], references: References, inputs: Inputs | None = None
) -> tuple[Judgement, Mapping[int, StepJudge]]:
    """Return the same, and the judge of each step that gave numbers, by the number of the step."""
    judges: dict[int, StepJudge] = {}
    steps = tuple(_steps(cell, outcomes, references, judges, inputs or inputs_of(cell.case)))
    steps = _settled(steps, judges)
    verdict = worst(step.verdict for step in steps)
    expected = all(step.expected for step in steps)
    graded = cell.case.family == OPERATIONS[cell.case.op].ladder
    judgement = Judgement(
        verdict=verdict,
        expected=expected,
        steps=steps,
        diagnosis=diagnosis(steps),
        grade=grade_of(steps) if graded else "",
        again=next((outcome.difference for outcome in outcomes if isinstance(outcome, Repeated)), None),
        observed=_observed(cell, outcomes),
    )
    return judgement, judges


def _settled(steps: tuple[StepJudgement, ...], judges: Mapping[int, StepJudge]) -> tuple[StepJudgement, ...]:
    """Return the steps with the causes chosen for the whole cell, and with what these say of the documentation."""
    if not any(judged.explanations or judged.last_resorts for step in steps for judged in step.quantities):
        return steps

    def evidence(step: StepJudgement) -> StepEvidence | None:
        return judges[step.number].evidence(step.quantities) if step.number in judges else None

    return tuple(
        replace(step, quantities=tuple(map(judges[step.number].against_documentation, step.quantities)))
        if any(judged.explanations for judged in step.quantities)
        else step
        for step in settled(steps, evidence)
    )


def _observed(cell: Cell, outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Return the dialect that the numbers show, by field; nothing on a case of a family that does not show it."""
    observe = OPERATIONS[cell.case.op].observers.get(cell.case.family)
    passes = passes_of(cell, outcomes) if observe else []
    return observe(passes, working(cell.case.dtype)) if observe and passes else {}


def _steps(
    cell: Cell, outcomes: Sequence[Outcome], references: References, judges: dict[int, StepJudge], inputs: Inputs
) -> Iterator[StepJudgement]:
    """Yield the judgement of each step, and put the judge of each step that gave numbers into `judges`, by number."""
    walk = Walk(state={}, computed=_computed(inputs, outcomes))
    refused = False
    kinds = ["start", *(step_inputs.step.step for step_inputs in inputs.steps)]
    for number, outcome in enumerate(outcomes):
        match outcome:
            case Produced() if number == 0:
                yield _start(outcome, inputs.initial, walk, cell.implementation.keeps_state)
            case Produced() if unfit(inputs.steps[number - 1].step):
                yield taken(cell, number, inputs.steps[number - 1], outcome)
                if not handed(inputs.steps[number - 1].step):
                    walk.follow(outcome.state)
            case Produced():
                judges[number] = StepJudge(cell, number, inputs.steps[number - 1], walk, references)
                step = judges[number].judge(outcome)
                yield _digested(step, outcome) if cell.case.again else step
            case Refused():
                before = None if number == 0 else inputs.steps[number - 1]
                # After a refusal an adapter may lack what the refused step would have left it.
                own = replace(outcome, mistake="") if refused else outcome
                yield refusal(cell, number, before, own, walk, references)
                refused = True
            case Unsupported(reason=reason):
                yield _plain(number, kinds[number], Verdict.UNSUPPORTED, reason)
            case Crashed():
                kind, failure = kinds[min(number, len(kinds) - 1)], because(CRASHES, how=outcome.how)
                yield _plain(number, kind, Verdict.CRASHED, _crash_text(outcome), failure)
            case Repeated():
                pass
            case TimedOut(limit=limit, output=output):
                kind = kinds[min(number, len(kinds) - 1)]
                message = f"no answer within {limit:g} s; its output ends: {output}"
                step = _plain(number, kind, Verdict.TIMED_OUT, message, because(TIMES_OUT))
                yield replace(step, deadline=limit)


def _computed(inputs: Inputs, outcomes: Sequence[Outcome]) -> frozenset[str]:
    """Return the kinds of step that gave numbers of an input that fits."""
    reached = zip(inputs.steps, outcomes[1:], strict=False)
    return frozenset(
        each.step.step for each, outcome in reached if isinstance(outcome, Produced) and not unfit(each.step)
    )


def _digested(step: StepJudgement, outcome: Produced) -> StepJudgement:
    """Return the step with a digest of each quantity's dtype and bits, to be compared with those of other processes."""
    arrays = {**outcome.state, **outcome.quantities}
    digests = {
        name: hashlib.blake2b(value.dtype.name.encode() + value.tobytes(), digest_size=8).hexdigest()
        for name, value in arrays.items()
    }
    quantities = tuple(replace(judged, bits=digests.get(judged.quantity, "")) for judged in step.quantities)
    return replace(step, quantities=quantities)


def _plain(number: int, kind: str, verdict: Verdict, message: str, failure: Cause | None = None) -> StepJudgement:
    """Return the judgement of a step that gave no numbers. It is as expected where there is no `failure`."""
    return StepJudgement(
        number=number, kind=kind, verdict=verdict, expected=failure is None, message=message, failure=failure
    )


def _crash_text(crash: Crashed) -> str:
    again = "again when alone" if crash.recurs else "not when alone, after " + (", ".join(crash.before) or "nothing")
    return f"{crash.how} ({again}); its output ends: {crash.output}"


def _start(outcome: Produced, initial: Mapping[str, Array], walk: Walk, keeps_state: bool) -> StepJudgement:
    """Judge the start: the state that was put in must be read back unchanged, value by value."""
    walk.state = dict(initial)
    walk.follow(outcome.state)
    expected = [name for name in initial if keeps_state or name in outcome.state]
    quantities = [_put_in(name, initial[name], outcome.state.get(name)) for name in expected]
    verdict = worst(judged.verdict for judged in quantities)
    return StepJudgement(
        number=0,
        kind="start",
        verdict=verdict,
        expected=verdict.agrees,
        seconds=outcome.seconds,
        quantities=tuple(quantities),
        call=outcome.call,
    )


def _put_in(name: str, initial: Array, value: Array | None) -> Judged:
    if value is None:
        return Judged(quantity=name, verdict=Verdict.DEVIATES, causes=(because("not-given"),))
    same = value.size == initial.size and np.array_equal(
        value.reshape(-1).astype(np.float64), initial.reshape(-1).astype(np.float64), equal_nan=True
    )
    return Judged(
        quantity=name,
        verdict=Verdict.EXACT if same else Verdict.DEVIATES,
        dtype=value.dtype.name,
        shape=value.shape,
        causes=() if same else (because("initial-state-changed"),),
    )
