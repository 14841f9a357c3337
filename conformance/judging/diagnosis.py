"""Why numbers deviate: the changes of the formula that explain them, or else the weights that they are made of.

This happens twice. Right after a step is judged, `explained` finds every change of the formula (a hypothesis) under
which the step's deviating numbers would be right. When the whole cell is judged, `settled` chooses among those: the
smallest set of causes that explains as much of the cell as all of them do.
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
#: What explains a quantity: the causes that tell much, then the last resorts, which explain nearly anything.
_Explanations = tuple[tuple[Cause, ...], tuple[Cause, ...]]

#: A hypothesis is left out where its score is this many times that of the best one, and larger than the second number.
_FAR_WORSE, _CLOSE = 8.0, 1e-3
_VARIANCES = frozenset({"moving_variance", "batch_variance"})
_STATISTICS = _VARIANCES | {"moving_mean", "batch_mean"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepEvidence:
    """What one step's numbers say for and against a hypothesis."""

    #: The numbers that the implementation gave, by quantity, each in the shape of its reference.
    observed: Mapping[str, Array]
    #: The quantities that would be right if the implementation computed in a narrower dtype than it should.
    narrowed: frozenset[str]
    #: The quantities that were judged right.
    agreeing: frozenset[str]
    worked: Precision
    hypotheses: tuple[Hypothesis, ...]
    #: Returns what the step would give if a hypothesis were true.
    under: Callable[[Hypothesis], Mapping[str, Expected]]
    #: What the step should have given.
    expected: Mapping[str, Expected]
    #: Returns, for each quantity, the terms that its formula adds up.
    terms: Callable[[], Mapping[str, Mapping[str, Array]]]
    #: The hypotheses that explained an earlier step of this kind in the cell, by the quantities that they explained.
    #: Shared by the cell's steps of one kind: each explained step adds its own.
    fitted: dict[frozenset[str], tuple[Hypothesis, ...]] = field(default_factory=dict)

    def contradictions(self, hypothesis: Hypothesis) -> int:
        """Return how many quantities are right although they would be wrong if the hypothesis were true."""
        agreeing = self.agreeing & hypothesis.only if hypothesis.only else self.agreeing
        expected = self.under(hypothesis) if agreeing else {}
        return sum(
            expected[name].value.shape != self.observed[name].shape
            or not fit(self.observed[name], expected[name], self.worked).within
            for name in agreeing
            if name in expected
        )


def explained(quantities: Iterable[Judged], open_: frozenset[str], evidence: StepEvidence) -> list[Judged]:
    """Return the judged quantities, those in `open_` with the causes that explain them.

    Where one change of the formula explains all of `open_`, it replaces narrower arithmetic as the cause: narrower
    arithmetic explains many things, and so says less. Where a change explains only some of them, the rest keep narrower
    arithmetic as theirs; a quantity that nothing explains gets its weights on the terms of the formula.
    """
    hypotheses, names = _fitting(open_, evidence) if open_ else ([], open_)
    terms = None
    result = []
    for judged in quantities:
        if judged.quantity not in open_:
            result.append(judged)
        elif judged.quantity in names and hypotheses:
            first, last = _causes(hypotheses)
            result.append(replace(judged, explanations=first, last_resorts=last, causes=first or last))
        elif judged.causes:
            result.append(judged)
        else:
            terms = evidence.terms() if terms is None else terms
            result.append(replace(judged, causes=(_weighed(judged.quantity, evidence, terms),)))
    return result


def _causes(hypotheses: Sequence[Hypothesis]) -> _Explanations:
    """Return the causes of the hypotheses, each once: those that tell much, then the last resorts."""
    first, last = (
        tuple(dict.fromkeys(hypothesis.cause for hypothesis in hypotheses if hypothesis.last is last))
        for last in (False, True)
    )
    return first, last


def _fitting(open_: frozenset[str], evidence: StepEvidence) -> tuple[list[Hypothesis], frozenset[str]]:
    """Return the hypotheses that explain the largest part of the quantities, and that part.

    The parts tried are all the quantities; those that narrower arithmetic does not explain; the statistics alone.
    """
    parts = (open_, open_ - evidence.narrowed, open_ & _STATISTICS if evidence.narrowed else open_)
    for names in dict.fromkeys(part for part in parts if part):
        hypotheses = _fits(names, evidence)
        if hypotheses:
            return hypotheses, names
    return [], open_


def _fits(names: frozenset[str], evidence: StepEvidence) -> list[Hypothesis]:
    """Return the hypotheses under which every one of the named quantities would be right, without the implausible ones.

    Two kinds are left out. First, a hypothesis under which more of the quantities that are right would be wrong than
    under another: it would have to act on some quantities and spare others. Second, a hypothesis with a far larger
    score than the best: the true change leaves nothing but rounding, which is a small part of the bound, and a merely
    similar change leaves the difference between the two as well. Last resorts are spared the second test.

    The hypotheses that explained an earlier step of the cell are tried before all others, which are tried only where
    none of those fits: what explains both steps is the better diagnosis. The search is skipped where it failed on an
    earlier such step and narrower arithmetic explains the quantities.
    """
    earlier = evidence.fitted.get(names)
    if earlier == () and names <= evidence.narrowed:
        return []
    scores = _scores(earlier or (), names, evidence) or _scores(evidence.hypotheses, names, evidence)
    evidence.fitted[names] = tuple(scores) or earlier or ()
    if len(scores) > 1:
        against = {hypothesis: evidence.contradictions(hypothesis) for hypothesis in scores}
        scores = {
            hypothesis: score for hypothesis, score in scores.items() if against[hypothesis] == min(against.values())
        }
    limit = max(
        _FAR_WORSE * min((scores[hypothesis] for hypothesis in scores if not hypothesis.last), default=1.0), _CLOSE
    )
    return [hypothesis for hypothesis, score in scores.items() if hypothesis.last or score <= limit]


def _scores(tried: Iterable[Hypothesis], names: frozenset[str], evidence: StepEvidence) -> dict[Hypothesis, float]:
    """Return the hypotheses under which every one of the named quantities would be right, each with its largest score."""
    scores = {}
    for hypothesis in tried:
        if hypothesis.only and not hypothesis.only >= names:
            continue
        if hypothesis.representable and not all(
            _representable(evidence.observed[name], hypothesis.representable) for name in names
        ):
            continue
        score = _score(hypothesis, names, evidence)
        if score <= 1:
            scores[hypothesis] = score
    return scores


def _score(hypothesis: Hypothesis, names: frozenset[str], evidence: StepEvidence) -> float:
    """Return the largest score of the named quantities if the hypothesis were true; infinite where one would be wrong."""
    # A one-pass variance, E[x²] - E[x]², loses so many digits that its bound may admit any number. It is accepted all
    # the same where a variance is among the quantities to explain, or where the step gave no variance to look at.
    shown = hypothesis.variance == "one_pass" and (bool(_VARIANCES & names) or not _VARIANCES & set(evidence.observed))
    expected = evidence.under(hypothesis)
    worst = 0.0
    for name in sorted(names):
        if name not in expected or expected[name].value.shape != evidence.observed[name].shape:
            return math.inf
        quantity_fit = fit(evidence.observed[name], expected[name], evidence.worked)
        if not (quantity_fit.within and (shown or quantity_fit.decidable)):
            return math.inf
        worst = max(worst, quantity_fit.score)
    return worst


def _representable(observed: Array, dtype: str) -> bool:
    """Return whether every observed number is one that `dtype` can hold exactly."""
    values = observed.astype(np.float64)
    return bool(np.array_equal(rounded(values, dtype).astype(np.float64), values, equal_nan=True))


def _weighed(name: str, evidence: StepEvidence, terms: Mapping[str, Mapping[str, Array]]) -> Cause:
    """Return the cause of a quantity that no hypothesis explains: its weights on the terms of its formula, if computable."""
    if name not in terms or name not in evidence.expected:
        return because(UNEXPLAINED)
    weights = made_of(evidence.observed[name], evidence.expected[name], terms[name], evidence.worked)
    return because(UNEXPLAINED) if weights is None else because(UNEXPLAINED, quantity=name, **weights.parameters)


def settled(steps: Sequence[StepJudgement], evidence: Mapping[int, StepEvidence]) -> tuple[StepJudgement, ...]:
    """Return the steps with one set of causes chosen for the whole cell: the smallest that explains what can be explained.

    The choice is greedy: the cause that explains most is taken first, then the one that explains most of the rest, and
    so on. `evidence` holds, by number, each step that gave numbers.
    """
    kinds: dict[_Explanations, set[str]] = {}
    for step in steps:
        for judged in _explained(step):
            kinds.setdefault((judged.explanations, judged.last_resorts), set()).add(step.kind)
    kept: dict[_Explanations, tuple[Cause, ...]] = {}
    remaining = list(kinds)
    while remaining:
        causes, covered = _covering(remaining)
        covered_kinds = {kind for explanations in covered for kind in kinds[explanations]}
        conforming = [evidence[step.number] for step in steps if step.kind in covered_kinds and step.verdict.agrees]
        kept |= dict.fromkeys(covered, _uncontradicted(causes, conforming))
        remaining = [explanations for explanations in remaining if explanations not in covered]
    return tuple(
        replace(step, quantities=tuple(_settled(judged, kept) for judged in step.quantities)) for step in steps
    )


def _covering(remaining: Sequence[_Explanations]) -> tuple[tuple[Cause, ...], list[_Explanations]]:
    """Return what the best cause explains, and every cause that explains all of it: the numbers cannot tell them apart.

    The best cause is the one that occurs most often in `remaining`. Last resorts count only where it is one itself.
    """
    counts = Counter(cause for first, last in remaining for cause in (*first, *last))
    plain = {cause for first, _ in remaining for cause in first}
    best = max(counts, key=lambda cause: (counts[cause], cause in plain))
    covered = [explanations for explanations in remaining if best in (*explanations[0], *explanations[1])]
    causes = (
        cause for cause in counts if all(cause in (*explanations[0], *explanations[1]) for explanations in covered)
    )
    return tuple(cause for cause in causes if (cause in plain) is (best in plain)), covered


def _uncontradicted(causes: tuple[Cause, ...], conforming: Sequence[StepEvidence]) -> tuple[Cause, ...]:
    """Return the causes that no conforming step contradicts; all of them where every one is contradicted."""
    if len(causes) < 2:
        return causes
    kept = tuple(cause for cause in causes if not any(_contradicted(cause, evidence) for evidence in conforming))
    return kept or causes


def _contradicted(cause: Cause, evidence: StepEvidence) -> bool:
    """Return whether a right quantity of the step would be wrong under each of the hypotheses that have this cause."""
    hypotheses = [hypothesis for hypothesis in evidence.hypotheses if hypothesis.cause == cause]
    return bool(hypotheses) and all(evidence.contradictions(hypothesis) for hypothesis in hypotheses)


def _explained(step: StepJudgement) -> Iterator[Judged]:
    """Yield the quantities of a step that some hypothesis explains."""
    return (judged for judged in step.quantities if judged.explanations or judged.last_resorts)


def _settled(judged: Judged, kept: Mapping[_Explanations, tuple[Cause, ...]]) -> Judged:
    """Return the quantity with the causes that were chosen for its explanations, where any were."""
    causes = kept.get((judged.explanations, judged.last_resorts), ())
    return replace(judged, causes=causes) if causes else judged


def diagnosis(steps: Sequence[StepJudgement]) -> tuple[Explanation, ...]:
    """Return what explains the deviating quantities of a cell, each explanation once with the quantities it covers.

    All quantities that nothing explains share one explanation, with the weights of the first that has any.
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
