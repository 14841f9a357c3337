"""Why the numbers of a cell deviate: the smallest set of causes that explains as much of it as all that explain its steps.

Right after a step is judged, `conformance.judging.explaining` finds every change of the formula (a hypothesis) under
which the step's deviating numbers would be right. When the whole cell is judged, `settled` chooses among those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from conformance.cause import UNEXPLAINED, Cause, Explanation
from conformance.judging.evidence import StepEvidence
from conformance.judging.judgement import Judged, StepJudgement
from conformance.operations.frozen import replace
from conformance.verdict import Verdict

#: What explains a quantity: the causes that tell much, then the last resorts, which explain nearly anything.
_Explanations = tuple[tuple[Cause, ...], tuple[Cause, ...]]


def settled(
    steps: Sequence[StepJudgement], evidence: Callable[[StepJudgement], StepEvidence | None]
) -> tuple[StepJudgement, ...]:
    """Return the steps with one set of causes chosen for the whole cell: the smallest that explains what can be explained.

    The choice is greedy: the cause that explains most is taken first, then the one that explains most of the rest, and
    so on. `evidence` returns what the numbers of a step say; None where it gave none.
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
        if len(causes) > 1:
            agreeing = (step for step in steps if step.kind in covered_kinds and step.verdict.agrees)
            # A refusal that is right agrees, and gave no numbers.
            conforming = [numbers for step in agreeing if (numbers := evidence(step)) is not None]
            causes = _uncontradicted(causes, conforming)
        kept |= dict.fromkeys(covered, causes)
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
                for causes in (judged.causes, *((cause,) for cause in judged.also)):
                    quantities.setdefault(causes, {}).setdefault(judged.quantity)
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
