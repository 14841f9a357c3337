"""Why numbers deviate: the changes of the formula that explain them, or else what they are made of.

A step may be explained by several changes; those that explain most steps of a cell are named, and only the fewest
that it takes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from conformance.cause import UNEXPLAINED, Cause, Explanation, because
from conformance.judging.judgement import Judged, StepJudgement
from conformance.operations.decomposition import made_of
from conformance.operations.operation import Expected, Hypothesis
from conformance.operations.score import fit
from conformance.precision import Precision, rounded
from conformance.verdict import Verdict

Array = np.ndarray[Any, np.dtype[Any]]
#: The explanations of a quantity, and its last resorts.
_Explanations = tuple[tuple[Cause, ...], tuple[Cause, ...]]

#: A fit this many times worse than the best is left out, unless it is better than the second number.
_FAR_WORSE, _CLOSE = 8.0, 1e-3
_VARIANCES = frozenset({"moving_variance", "batch_variance"})
_STATISTICS = _VARIANCES | {"moving_mean", "batch_mean"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """What is known of a step that deviates."""

    #: By quantity, of the shape of its reference.
    observed: Mapping[str, Array]
    #: The quantities that arithmetic narrower than it should be would explain.
    narrowed: frozenset[str]
    #: The quantities that are as they should be.
    agreeing: frozenset[str]
    worked: Precision
    hypotheses: tuple[Hypothesis, ...]
    #: Returns what the step gives under a hypothesis.
    under: Callable[[Hypothesis], Mapping[str, Expected]]
    #: What is right.
    expected: Mapping[str, Expected]
    #: Returns the terms of each quantity.
    terms: Callable[[], Mapping[str, Mapping[str, Array]]]
    #: The hypotheses that fitted such a step of the cell before, by the quantities that they explained; it grows.
    fitted: dict[frozenset[str], tuple[Hypothesis, ...]] = field(default_factory=dict)

    def contradictions(self, hypothesis: Hypothesis) -> int:
        """Return how many quantities that are as they should be would not be so under the hypothesis."""
        told = self.agreeing & hypothesis.only if hypothesis.only else self.agreeing
        expected = self.under(hypothesis) if told else {}
        return sum(
            expected[name].value.shape != self.observed[name].shape
            or not fit(self.observed[name], expected[name], self.worked).within
            for name in told
            if name in expected
        )


def explained(quantities: Iterable[Judged], open_: frozenset[str], evidence: Evidence) -> list[Judged]:
    """Return the quantities with what explains those that are `open_`.

    One change of the formula that explains them all says more than narrower arithmetic, which explains much; but
    both are told where the change explains the others alone.
    """
    found, of = _fitting(open_, evidence) if open_ else ([], open_)
    terms = None
    result = []
    for each in quantities:
        if each.quantity not in open_:
            result.append(each)
        elif each.quantity in of and found:
            first, last = _causes(found)
            result.append(replace(each, explanations=first, last_resorts=last, causes=first or last))
        elif each.causes:
            result.append(each)
        else:
            terms = evidence.terms() if terms is None else terms
            result.append(replace(each, causes=(_weighed(each.quantity, evidence, terms),)))
    return result


def _causes(found: Sequence[Hypothesis]) -> _Explanations:
    """Return the causes that tell much and those that explain nearly anything."""
    first, last = (tuple(dict.fromkeys(each.cause for each in found if each.last is last)) for last in (False, True))
    return first, last


def _fitting(open_: frozenset[str], evidence: Evidence) -> tuple[list[Hypothesis], frozenset[str]]:
    """Return the hypotheses that explain most of the quantities, and which they explain."""
    # Narrower arithmetic alone may explain some; a change that explains the others, or the statistics, is told beside it.
    parts = (open_, open_ - evidence.narrowed, open_ & _STATISTICS if evidence.narrowed else open_)
    for of in dict.fromkeys(part for part in parts if part):
        found = _fits(of, evidence)
        if found:
            return found, of
    return [], open_


def _fits(of: frozenset[str], evidence: Evidence) -> list[Hypothesis]:
    """Return the hypotheses that explain every one of those quantities, but for those that fit far worse than others.

    Where a change was made, what is left is rounding, which the bound exceeds many times; another change that fits
    leaves a part of the first as well. Those count that the fewest of the quantities which do not deviate speak against:
    the others would have been made in one place of several.

    What explained an earlier step of the cell is tried first: another change would leave that one unexplained. Where
    narrower arithmetic explains all and no change explained such a step before, none is looked for again.
    """
    known = evidence.fitted.get(of)
    if known == () and of <= evidence.narrowed:
        return []
    scores = _scores(known or (), of, evidence) or _scores(evidence.hypotheses, of, evidence)
    evidence.fitted[of] = tuple(scores) or known or ()
    if len(scores) > 1:
        against = {each: evidence.contradictions(each) for each in scores}
        scores = {each: score for each, score in scores.items() if against[each] == min(against.values())}
    limit = max(_FAR_WORSE * min((scores[each] for each in scores if not each.last), default=1.0), _CLOSE)
    return [each for each, score in scores.items() if each.last or score <= limit]


def _scores(tried: Iterable[Hypothesis], of: frozenset[str], evidence: Evidence) -> dict[Hypothesis, float]:
    """Return the hypotheses that explain every one of those quantities, each with its largest score."""
    scores = {}
    for hypothesis in tried:
        if hypothesis.only and not hypothesis.only >= of:
            continue
        if hypothesis.representable and not all(
            _representable(evidence.observed[name], hypothesis.representable) for name in of
        ):
            continue
        score = _score(hypothesis, of, evidence)
        if score <= 1:
            scores[hypothesis] = score
    return scores


def _score(hypothesis: Hypothesis, of: frozenset[str], evidence: Evidence) -> float:
    """Return the largest score of the quantities under the hypothesis; infinite where one does not fit."""
    # A difference of squares loses so much that its own bound may say nothing: where the variance shows it, it may.
    shown = hypothesis.variance == "one_pass" and (bool(_VARIANCES & of) or not _VARIANCES & set(evidence.observed))
    expected = evidence.under(hypothesis)
    worst = 0.0
    for name in sorted(of):
        if name not in expected or expected[name].value.shape != evidence.observed[name].shape:
            return math.inf
        found = fit(evidence.observed[name], expected[name], evidence.worked)
        if not (found.within and (shown or found.decidable)):
            return math.inf
        worst = max(worst, found.score)
    return worst


def _representable(observed: Array, dtype: str) -> bool:
    values = observed.astype(np.float64)
    return bool(np.array_equal(rounded(values, dtype).astype(np.float64), values, equal_nan=True))


def _weighed(name: str, evidence: Evidence, terms: Mapping[str, Mapping[str, Array]]) -> Cause:
    """Return what is said of a quantity that nothing explains: what it is made of, where that can be told."""
    if name not in terms or name not in evidence.expected:
        return because(UNEXPLAINED)
    weights = made_of(evidence.observed[name], evidence.expected[name], terms[name], evidence.worked)
    return because(UNEXPLAINED) if weights is None else because(UNEXPLAINED, quantity=name, **weights.parameters)


def settled(steps: Sequence[StepJudgement], evidence: Mapping[int, Evidence]) -> tuple[StepJudgement, ...]:
    """Return the steps with the fewest explanations that explain as much of the cell as any do.

    `evidence` is that of each step which gave numbers.
    """
    kinds: dict[_Explanations, set[str]] = {}
    for step in steps:
        for each in _explained(step):
            kinds.setdefault((each.explanations, each.last_resorts), set()).add(step.kind)
    kept: dict[_Explanations, tuple[Cause, ...]] = {}
    remaining = list(kinds)
    while remaining:
        causes, covered = _covering(remaining)
        of = {kind for each in covered for kind in kinds[each]}
        conforming = [evidence[step.number] for step in steps if step.kind in of and step.verdict.agrees]
        kept |= dict.fromkeys(covered, _uncontradicted(causes, conforming))
        remaining = [each for each in remaining if each not in covered]
    return tuple(replace(step, quantities=tuple(_settled(each, kept) for each in step.quantities)) for step in steps)


def _covering(remaining: Sequence[_Explanations]) -> tuple[tuple[Cause, ...], list[_Explanations]]:
    """Return the causes that explain most of those, each as much as the others, and what they explain."""
    counts = Counter(cause for first, last in remaining for cause in (*first, *last))
    plain = {cause for first, _ in remaining for cause in first}
    best = max(counts, key=lambda cause: (counts[cause], cause in plain))
    covered = [each for each in remaining if best in (*each[0], *each[1])]
    causes = (cause for cause in counts if all(cause in (*each[0], *each[1]) for each in covered))
    return tuple(cause for cause in causes if (cause in plain) is (best in plain)), covered


def _uncontradicted(causes: tuple[Cause, ...], conforming: Sequence[Evidence]) -> tuple[Cause, ...]:
    """Return the causes that the steps which conform do not speak against; all, where these speak against all."""
    if len(causes) < 2:
        return causes
    kept = tuple(cause for cause in causes if not any(_contradicted(cause, evidence) for evidence in conforming))
    return kept or causes


def _contradicted(cause: Cause, evidence: Evidence) -> bool:
    hypotheses = [hypothesis for hypothesis in evidence.hypotheses if hypothesis.cause == cause]
    return bool(hypotheses) and all(evidence.contradictions(hypothesis) for hypothesis in hypotheses)


def _explained(step: StepJudgement) -> Iterator[Judged]:
    return (each for each in step.quantities if each.explanations or each.last_resorts)


def _settled(judged: Judged, kept: Mapping[_Explanations, tuple[Cause, ...]]) -> Judged:
    causes = kept.get((judged.explanations, judged.last_resorts), ())
    return replace(judged, causes=causes) if causes else judged


def diagnosis(steps: Sequence[StepJudgement]) -> tuple[Explanation, ...]:
    """Return what explains the deviating quantities of a cell, each explanation once with its quantities.

    What nothing explains is one explanation, with the first weights that were found.
    """
    quantities: dict[tuple[Cause, ...], dict[str, None]] = {}
    for step in steps:
        for judged in step.quantities:
            if judged.verdict is Verdict.DEVIATES and judged.causes:
                quantities.setdefault(judged.causes, {}).setdefault(judged.quantity)
    unexplained = [causes for causes in quantities if causes[0].id == UNEXPLAINED]
    if unexplained:
        kept = next((causes for causes in unexplained if causes[0].parameters), unexplained[0])
        quantities[kept] = {name: None for causes in unexplained for name in quantities[causes]}
        for causes in unexplained:
            if causes != kept:
                del quantities[causes]
    return tuple(
        Explanation(alternatives=tuple(cause.explaining(tuple(names)) for cause in causes))
        for causes, names in quantities.items()
    )
