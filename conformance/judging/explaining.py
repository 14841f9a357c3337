"""Which changes of the formula explain a step's deviating numbers: the fewest that cover every quantity.

One change (a hypothesis) that explains all deviating quantities is the best diagnosis. Where there is none, each quantity
is looked at alone, and the changes that explain most of them are taken first. A quantity that no single change
explains may have two causes at once: one that is known already, or narrower arithmetic, together with another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from conformance.cause import UNEXPLAINED, Cause, because
from conformance.judging.evidence import VARIANCES, Array, StepEvidence
from conformance.judging.judgement import Judged
from conformance.operations.decomposition import made_of
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis

#: A hypothesis is left out where its score is this many times that of the best one, and larger than the second number.
_FAR_WORSE, _CLOSE = 8.0, 1e-3
_STATISTICS = VARIANCES | {"moving_mean", "batch_mean"}
#: Of changes that do not explain a quantity alone, those that come nearest are tried with every other: this many, and
#: only such as leave less than this part of the deviation.
_NEAREST, _NEAR = 2, 0.5
#: Where nothing explains more quantities of a step than this, they are likely to share no two causes either.
_FEW = 2
#: A quantity of more values is not searched for two causes at once.
_LARGEST = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Hypotheses that explain the same quantities, and what acts on these besides."""

    hypotheses: tuple[Hypothesis, ...] = ()
    also: tuple[Cause, ...] = ()
    #: Whether narrower arithmetic, which other quantities of the step show, admits them as well.
    narrow: bool = False


def explained(quantities: Iterable[Judged], evidence: StepEvidence) -> list[Judged]:
    """Return the judged quantities, those that the evidence is to explain with the causes that explain them.

    Where one change of the formula explains all of them, it replaces narrower arithmetic as the cause: narrower
    arithmetic explains many things, and so says less. Where a change explains only some of them, the rest keep narrower
    arithmetic as theirs; a quantity that nothing explains gets its weights on the terms of the formula.
    """
    parts = _parts(evidence)
    terms = None
    result = []
    for judged in quantities:
        # A quantity is judged twice where it is wrong beside its values as well, and only these are explained here.
        part = None if judged.causes and judged.worst is None else parts.get(judged.quantity)
        if part is not None and part.narrow:
            result.append(replace(judged, causes=(_narrower(evidence),)))
        elif part is not None:
            first, last = _causes(part.hypotheses)
            result.append(replace(judged, explanations=first, last_resorts=last, causes=first or last, also=part.also))
        elif judged.quantity not in evidence.deviating or judged.causes:
            result.append(judged)
        else:
            terms = evidence.terms() if terms is None else terms
            result.append(replace(judged, causes=(_weighed(judged.quantity, evidence, terms),)))
    return result


def _causes(hypotheses: Sequence[Hypothesis]) -> tuple[tuple[Cause, ...], tuple[Cause, ...]]:
    """Return the causes of the hypotheses, each once: those that tell much, then the last resorts."""
    first, last = (
        tuple(dict.fromkeys(hypothesis.cause for hypothesis in hypotheses if hypothesis.last is last))
        for last in (False, True)
    )
    return first, last


def _parts(evidence: StepEvidence) -> dict[str, _Part]:
    """Return what explains each deviating quantity, where anything does."""
    hypotheses, names = _together(evidence)
    parts = dict.fromkeys(names, _Part(hypotheses=hypotheses)) if hypotheses else {}
    names_together = frozenset(parts)
    rest = evidence.deviating - parts.keys() - evidence.narrowed
    if evidence.narrowed:
        parts |= {name: _Part(narrow=True) for name in rest if evidence.admits_narrow(name)}
        rest -= parts.keys()
    while rest:
        hypotheses, names = _most(rest, evidence)
        if not hypotheses:
            break
        parts |= dict.fromkeys(names, _Part(hypotheses=hypotheses))
        rest -= names
    for name in sorted(rest):
        part = _two(name, list(parts.values()), evidence, alone=len(rest) <= _FEW)
        if part is not None:
            parts[name] = part
    return _believed(parts, names_together, evidence.deviating - parts.keys() - evidence.narrowed)


def _believed(parts: dict[str, _Part], together: frozenset[str], unexplained: frozenset[str]) -> dict[str, _Part]:
    """Return the parts without changes that would have acted on a quantity that stays unexplained.

    What explains one quantity alone, and would have changed another that it does not explain, may fit by chance.
    """

    def acts(part: _Part) -> bool:
        return any(not one.last and (not one.only or one.only & unexplained) for one in part.hypotheses)

    return {name: part for name, part in parts.items() if not unexplained or name in together or not acts(part)}


def _together(evidence: StepEvidence) -> tuple[tuple[Hypothesis, ...], frozenset[str]]:
    """Return the hypotheses of which each explains the largest part of the quantities, and that part.

    The parts tried are all the quantities; those that narrower arithmetic does not explain; the statistics alone.
    """
    deviating, narrowed = evidence.deviating, evidence.narrowed
    parts = (deviating, deviating - narrowed, deviating & _STATISTICS if narrowed else deviating)
    for names in dict.fromkeys(part for part in parts if part):
        hypotheses = _fits(names, evidence)
        if hypotheses:
            return hypotheses, names
    return (), deviating


def _fits(names: frozenset[str], evidence: StepEvidence) -> tuple[Hypothesis, ...]:
    """Return the hypotheses under which every one of the named quantities would be right, without the implausible ones.

    The hypotheses that explained an earlier step of the cell are tried before all others, which are tried only where
    none of those fits: what explains both steps is the better diagnosis. The search is skipped where it failed on an
    earlier such step and narrower arithmetic explains the quantities.
    """
    earlier = evidence.fitted.get(names)
    if earlier == () and names <= evidence.narrowed:
        return ()
    scores = _scores(earlier or (), names, evidence) or _scores(evidence.hypotheses, names, evidence)
    evidence.fitted[names] = tuple(scores) or earlier or ()
    return _plausible(scores, evidence)


def _scores(tried: Iterable[Hypothesis], names: frozenset[str], evidence: StepEvidence) -> dict[Hypothesis, float]:
    """Return the hypotheses under which every one of the named quantities would be right, each with its largest score."""
    about = (hypothesis for hypothesis in tried if not hypothesis.only or hypothesis.only >= names)
    return evidence.explaining(about, names)


def _plausible(scores: Mapping[Hypothesis, float], evidence: StepEvidence) -> tuple[Hypothesis, ...]:
    """Return hypotheses that explain the same quantities, with their scores, without the implausible ones.

    Two kinds are left out. First, a hypothesis under which more of the quantities that are right would be wrong than
    under another: it would have to act on some quantities and spare others. Second, a hypothesis with a far larger
    score than the best: the true change leaves nothing but rounding, which is a small part of the bound, and a merely
    similar change leaves the difference between the two as well. Last resorts are spared the second test.
    """
    if len(scores) > 1:
        against = {hypothesis: evidence.contradictions(hypothesis) for hypothesis in scores}
        fewest = min(against.values())
        scores = {hypothesis: score for hypothesis, score in scores.items() if against[hypothesis] == fewest}
    best = min((score for hypothesis, score in scores.items() if not hypothesis.last), default=1.0)
    limit = max(_FAR_WORSE * best, _CLOSE)
    return tuple(hypothesis for hypothesis, score in scores.items() if hypothesis.last or score <= limit)


def _most(names: frozenset[str], evidence: StepEvidence) -> tuple[tuple[Hypothesis, ...], frozenset[str]]:
    """Return the hypotheses that explain the most of the named quantities, and which: nothing where none explains one."""
    by_covered: dict[frozenset[str], list[Hypothesis]] = {}
    explaining = {name: evidence.explaining(evidence.hypotheses, (name,)) for name in names}
    for hypothesis in evidence.hypotheses:
        covered = frozenset(name for name in names if hypothesis in explaining[name])
        # Of numbers that are NaN, a change that makes them so tells nothing: many do.
        if covered - evidence.spoiled:
            by_covered.setdefault(covered, []).append(hypothesis)
    largest = max(map(len, by_covered), default=0)
    # Of different sets of that size, the one whose explanation fewest of the right quantities speak against.
    candidates = [
        (_plausible({hypothesis: evidence.score(hypothesis, covered) for hypothesis in hypotheses}, evidence), covered)
        for covered, hypotheses in by_covered.items()
        if len(covered) == largest
    ]
    if not candidates:
        return (), names
    return min(
        candidates, key=lambda candidate: (min(map(evidence.contradictions, candidate[0])), sorted(candidate[1]))
    )


def _two(name: str, parts: Sequence[_Part], evidence: StepEvidence, *, alone: bool) -> _Part | None:
    """Return two causes that explain a quantity together, None where no two do or the quantity is large.

    One of them explains other quantities, or is narrower arithmetic; where the quantity stands `alone`, it may be any.
    """
    if evidence.observed[name].size > _LARGEST:
        return None
    tried = [hypothesis for hypothesis in evidence.hypotheses if not hypothesis.only or name in hypothesis.only]
    if evidence.narrow is not None:
        fitting = evidence.explaining(tried, (name,), evidence.narrow)
        if fitting:
            return _Part(hypotheses=_plausible(fitting, evidence), also=(_narrower(evidence),))
    for partner in (*_known(parts, tried, evidence), *(_nearest(name, tried, evidence) if alone else ())):
        joint = {hypothesis: evidence.joint(partner, hypothesis) for hypothesis in tried if not hypothesis.last}
        single = {together: hypothesis for hypothesis, together in joint.items() if together is not None}
        scores = evidence.explaining(single, (name,))
        if scores:
            fitting = {single[together]: score for together, score in scores.items()}
            return _Part(hypotheses=_plausible(fitting, evidence), also=(partner.cause,))
    return None


def _narrower(evidence: StepEvidence) -> Cause:
    assert evidence.narrow is not None
    return because("narrower-arithmetic", narrower=evidence.narrow.name, wider=evidence.worked.name)


def _known(parts: Sequence[_Part], tried: Sequence[Hypothesis], evidence: StepEvidence) -> list[Hypothesis]:
    """Return what explains other quantities of the step, and quantities of earlier steps."""
    chosen = (*(part.hypotheses for part in parts), *evidence.fitted.values())
    firsts = dict.fromkeys(hypotheses[0] for hypotheses in chosen if hypotheses)
    return [hypothesis for hypothesis in firsts if hypothesis in tried and not hypothesis.last]


def _nearest(name: str, tried: Sequence[Hypothesis], evidence: StepEvidence) -> list[Hypothesis]:
    """Return the hypotheses that come nearest to explaining the quantity."""
    limit = _NEAR * evidence.score(evidence.base, (name,))
    if not limit < math.inf:
        return []
    scores = evidence.nearest((hypothesis for hypothesis in tried if not hypothesis.last), name, limit)
    return sorted(scores, key=scores.__getitem__)[:_NEAREST]


def _weighed(name: str, evidence: StepEvidence, terms: Mapping[str, Mapping[str, Array]]) -> Cause:
    """Return the cause of a quantity that nothing explains: its weights on the terms of its formula, if computable."""
    if name not in terms or name not in evidence.expected:
        return because(UNEXPLAINED)
    weights = made_of(evidence.observed[name], evidence.expected[name], terms[name], evidence.worked)
    return because(UNEXPLAINED) if weights is None else because(UNEXPLAINED, quantity=name, **weights.parameters)
