"""A checked property as a record like a cell's, so that a report shows it beside the cells.

A property is a row: a case of the family `properties`, whose record has the largest distance that any example showed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from conformance.cause import Explanation, because
from conformance.judging.judgement import Judged, Judgement, StepJudgement
from conformance.operations.score import Worst
from conformance.runfile import lines
from conformance.runfile.structs import Record
from conformance.search.bench import Bench
from conformance.search.finding import known_of
from conformance.search.properties.check import Checked
from conformance.spec.divergences import Known, Listed
from conformance.verdict import Verdict


def record_of(checked: Checked, bench: Bench, divergences: Sequence[Listed]) -> Record:
    """Return a property of an implementation as a record.

    Where it does not hold because the results themselves deviate, it says what is wrong with those.
    """
    judgement = _judgement(checked)
    known = Known()
    if not checked.holds:
        name = checked.cell.implementation.name
        trials = [trial for case in checked.cases for trial in bench.trials(case, name)]
        why = tuple(dict.fromkeys(explanation for trial in trials for explanation in trial.judgement.diagnosis))
        judgement = replace(judgement, diagnosis=why or judgement.diagnosis)
        entries = [entry for entry in divergences if entry.divergence.concerns(name)]
        known = known_of(checked.cell, judgement, entries, bench.offer.versions)
        merged = [trial.known for trial in trials if trial.judgement.diagnosis]
        if merged:
            known = Known(
                listed=tuple(pair for one in merged for pair in one.listed),
                unlisted=tuple(alternatives for one in merged for alternatives in one.unlisted),
            )
    return lines.record_line(checked.cell, judgement, known)


def _judgement(checked: Checked) -> Judgement:
    """Return what was seen as a judgement: the last step of the first arm carries the sides."""
    exact = checked.score == 0
    verdict = Verdict.EXACT if exact else Verdict.CONFORMS if checked.holds else Verdict.DEVIATES
    cause = because("identity-broken", identity=checked.identity.title.rstrip("."))
    causes = () if checked.holds else (cause.explaining((checked.sides.quantity,)),)
    judged = Judged(
        quantity=checked.sides.quantity, verdict=verdict, score=checked.score, worst=_worst(checked), causes=causes
    )
    performed = checked.cases[0].performed
    kinds = ["start", *(step.step for step in performed)]
    steps = tuple(
        StepJudgement(
            number=number,
            kind=kind,
            verdict=verdict if number == len(performed) else Verdict.EXACT,
            expected=checked.holds,
            quantities=(judged,) if number == len(performed) else (),
            message=_example(checked) if number == len(performed) else "",
        )
        for number, kind in enumerate(kinds)
    )
    return Judgement(
        verdict=verdict,
        expected=checked.holds,
        steps=steps,
        diagnosis=tuple(Explanation(alternatives=(cause,)) for cause in causes),
    )


def _worst(checked: Checked) -> Worst | None:
    """Return the worst element, where the sides have the quantity's own shape and so a place in it."""
    sides, case = checked.sides, checked.cases[0]
    last = case.step_shape(case.performed[-1])
    features = case.configuration.feature_count
    count = 1
    for size in last:
        count *= size
    if sides.left.size != (count if sides.quantity in ("output", "grad_input") else features):
        return None
    left, right = (float(side.reshape(-1)[checked.position]) for side in (sides.left, sides.right))
    allowed = 0.0 if sides.allowed is None else float(sides.allowed.reshape(-1)[checked.position])
    return Worst(position=checked.position, expected=right, observed=left, allowed=allowed)


def _example(checked: Checked) -> str:
    case = checked.cases[0]
    place = checked.position
    left, right = (float(side.reshape(-1)[place]) for side in (checked.sides.left, checked.sides.right))
    within = "the same bits" if checked.sides.allowed is None else f"within {checked.score:.2g} of what is allowed"
    return (
        f"the worst of {checked.examples} examples, {case.dtype}, shape {'×'.join(map(str, case.shape))}: "
        f"{left:.9g} and {right:.9g}, {within if checked.holds else f'{checked.score:.3g} times what is allowed'}"
    )
