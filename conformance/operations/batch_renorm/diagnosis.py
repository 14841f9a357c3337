"""The single changes of batch renormalization that an implementation may have got wrong."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from conformance.cause import UNSTABLE, because
from conformance.dialect import Dialect
from conformance.operations.batch_norm import reference as plain
from conformance.operations.batch_norm.diagnosis import epsilons, parameters
from conformance.operations.batch_norm.expectations import changed_to
from conformance.operations.batch_norm.moving_changes import empty_averaged
from conformance.operations.batch_norm.overflow import overflows
from conformance.operations.batch_renorm import reference
from conformance.operations.batch_renorm.options import renorm_decay
from conformance.operations.batch_renorm.reference import Correction, Training
from conformance.operations.expected import Expected
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.moving import moved, weights
from conformance.operations.situation import Situation
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]
Results = dict[str, Expected]

_PRODUCED = frozenset({"output", "grad_input", "grad_gamma", "grad_beta"})
_RENORM = frozenset({"renorm_mean", "renorm_deviation"})
_MOVING = frozenset({"moving_mean", "moving_deviation", "moving_variance"})


def hypotheses(configuration: Configuration, dialect: Dialect) -> Iterator[Hypothesis]:
    """Yield the hypotheses, the more telling first: what explains nearly anything comes last."""
    base = Hypothesis(configuration=configuration, dialect=dialect)
    yield from overflows(base)
    yield from _clipping(base)
    yield from _decays(base)
    yield from _averages(base)
    yield from _correction(base)
    yield from _gradients(base)
    yield from epsilons(base)
    yield from parameters(base)
    yield empty_averaged(base, _MOVING | _RENORM)
    yield replace(base, cause=because(UNSTABLE), variance="one_pass", last=True)


def _limited(base: Hypothesis, id_: str, **options: Any) -> Hypothesis:
    configuration = base.configuration
    limited = replace(configuration, options={**configuration.options, **options})
    return replace(base, cause=because(id_), configuration=limited, only=_PRODUCED)


def _clipping(base: Hypothesis) -> Iterator[Hypothesis]:
    options = base.configuration.options
    yield _limited(base, "r-and-d-not-clipped", rmin=None, rmax=None, dmax=None)
    yield _limited(base, "r-not-clipped", rmin=None, rmax=None)
    yield _limited(base, "d-not-clipped", dmax=None)
    yield _limited(base, "rmin-ignored", rmin=None)
    yield _limited(base, "rmax-ignored", rmax=None)
    rmax = options.get("rmax")
    if isinstance(rmax, float | int) and rmax:
        yield _limited(base, "rmin-of-rmax", rmin=1 / rmax)
    yield _corrected(base, "d-clipped-above-alone", lambda s, c: replace(c, d=np.minimum(c.free_d, c.clipping.dmax)))
    if any(isinstance(option, list | tuple) for option in options.values()):
        for id_, step in (
            ("clipping-one-step-late", lambda trained: max(0, trained - 1)),
            ("clipping-one-step-early", lambda trained: trained + 1),
            ("clipping-kept-at-first", lambda trained: 0),
        ):
            yield replace(base, cause=because(id_), change_situation=functools.partial(_at, step), only=_PRODUCED)


def _at(step: Callable[[int], int], situation: Situation) -> Situation:
    return replace(situation, trained=step(situation.trained))


def _decays(base: Hypothesis) -> Iterator[Hypothesis]:
    configuration = base.configuration
    decay, renorm = configuration.decay, renorm_decay(configuration)

    def with_decays(id_: str, first: float, second: float) -> Hypothesis:
        options = {**configuration.options, "renorm_decay": second}
        altered = replace(configuration, decay=first, options=options)
        return replace(base, cause=because(id_), configuration=altered, only=_MOVING | _RENORM)

    yield with_decays("decays-swapped", renorm, decay)
    yield with_decays("decay-for-renorm-decay", decay, decay)
    yield with_decays("renorm-decay-for-decay", renorm, renorm)
    yield with_decays("decays-inverted", 1 - decay, 1 - renorm)
    yield with_decays("decay-inverted", 1 - decay, renorm)
    yield with_decays("renorm-decay-inverted", decay, 1 - renorm)
    still = replace(base, dialect=replace(base.dialect, update="none"))
    yield replace(still, cause=because("averages-not-updated"), only=_MOVING | _RENORM)
    yield replace(still, cause=because("renorm-averages-not-updated"), only=_RENORM)
    yield replace(still, cause=because("moving-averages-not-updated"), only=_MOVING)
    yield replace(base, cause=because("averages-updated-in-inference"), performed="train", only=_MOVING | _RENORM)


def _averages(base: Hypothesis) -> Iterator[Hypothesis]:
    def hypothesis(id_: str, change: Callable[[Situation, Training], Mapping[str, Array]]) -> Hypothesis:
        return _retrained(base, id_, lambda s, t: replace(t, after={**t.after, **change(s, t)}))

    def variance_averaged(s: Situation, t: Training) -> Mapping[str, Array]:
        weight = weights(s.dialect, s.configuration.decay, s.trained, s.x.dtype.type)
        return {"moving_variance": moved(s.state["moving_variance"], t.statistics.variance, weight)}

    def without_epsilon(s: Situation, t: Training) -> Mapping[str, Array]:
        return reference.moved_averages(s, t.statistics.mean, np.sqrt(t.statistics.variance))

    def of_the_variance(s: Situation, t: Training) -> Mapping[str, Array]:
        return reference.moved_averages(s, t.statistics.mean, t.deviation**2)

    def over_one_less(s: Situation, t: Training) -> Mapping[str, Array]:
        corrected = plain.corrected(t.statistics, 1)
        return reference.moved_averages(s, t.statistics.mean, plain.root(corrected, s))

    def clipped(s: Situation, t: Training) -> Mapping[str, Array]:
        by = t.correction
        return reference.moved_averages(s, s.state["renorm_mean"] + by.d * by.divisor, by.r * by.divisor)

    yield hypothesis("clipped-statistics-averaged", clipped)
    yield hypothesis("variances-averaged-for-moving", variance_averaged)
    yield hypothesis(
        "epsilon-left-in-moving-variance",
        lambda s, t: {"moving_variance": t.after["moving_deviation"] ** 2},
    )
    yield hypothesis(
        "moving-variance-one-step-late",
        lambda s, t: {"moving_variance": reference.variance_of(s, s.state["moving_deviation"])},
    )
    yield hypothesis("moving-variance-not-updated", lambda s, t: {"moving_variance": s.state["moving_variance"]})
    yield hypothesis("epsilon-left-out-of-deviation", without_epsilon)
    yield hypothesis("variances-averaged-for-deviations", of_the_variance)
    yield hypothesis("deviations-corrected", over_one_less)


def _correction(base: Hypothesis) -> Iterator[Hypothesis]:
    def floorless(s: Situation, c: Correction) -> Correction:
        divisor, ratio = s.state["renorm_deviation"], c.divisor / s.state["renorm_deviation"]
        return _clipped(replace(c, divisor=divisor), c.free_r * ratio, c.free_d * ratio)

    def other(id_: str, state: Callable[[Situation], Mapping[str, Array]]) -> Hypothesis:
        def change_situation(situation: Situation) -> Situation:
            return replace(situation, state={**situation.state, **state(situation)})

        return replace(base, cause=because(id_), change_situation=change_situation, only=_PRODUCED)

    def after(s: Situation) -> Mapping[str, Array]:
        return {name: value for name, value in reference.training(s).after.items() if name in _RENORM}

    def moving(s: Situation) -> Mapping[str, Array]:
        return {"renorm_mean": s.state["moving_mean"], "renorm_deviation": s.state["moving_deviation"]}

    def renorm(s: Situation) -> Mapping[str, Array]:
        variance = reference.variance_of(s, s.state["renorm_deviation"])
        return {"moving_mean": s.state["renorm_mean"], "moving_variance": variance}

    yield _limited(base, "r-left-out", rmin=1.0, rmax=1.0)
    yield _limited(base, "d-left-out", dmax=0.0)
    yield _limited(base, "r-and-d-left-out", rmin=1.0, rmax=1.0, dmax=0.0)
    yield _corrected(base, "r-inverted", lambda s, c: _clipped(c, 1 / c.free_r, c.free_d))
    yield _corrected(base, "d-negated", lambda s, c: replace(c, d=-c.d))
    yield _corrected(base, "d-over-batch-deviation", lambda s, c: _clipped(c, c.free_r, c.free_d / c.free_r))
    yield _corrected(base, "d-not-divided", lambda s, c: _clipped(c, c.free_r, c.free_d * c.divisor))
    yield _corrected(base, "renorm-deviation-without-floor", floorless)
    yield other("r-and-d-one-step-early", after)
    yield other("r-and-d-of-moving", moving)
    yield other("inference-by-renorm-averages", renorm)
    yield _retrained(base, "d-not-scaled", _unscaled, _PRODUCED)
    yield replace(base, cause=because("inference-in-training"), performed="infer")
    yield replace(base, cause=because("training-in-inference"), performed="train")


def _unscaled(s: Situation, t: Training) -> Training:
    """Return y = γ·x̂·r + d + β; the gradient of gamma follows, without d."""
    gamma, _ = reference.parameters(s, t.deviation)
    n = t.normalization
    unscaled = replace(n, output=n.output + (1 - gamma) * t.correction.d)
    return replace(t, normalization=unscaled, correction=replace(t.correction, d=np.zeros_like(t.correction.d)))


def _clipped(correction: Correction, r: Array, d: Array) -> Correction:
    limits, wide = correction.clipping, correction.r.dtype.type
    return replace(
        correction,
        r=np.clip(r, wide(limits.rmin), wide(limits.rmax)),
        d=np.clip(d, -wide(limits.dmax), wide(limits.dmax)),
    )


def _corrected(base: Hypothesis, id_: str, change: Callable[[Situation, Correction], Correction]) -> Hypothesis:
    def retrained(s: Situation, t: Training) -> Training:
        by = change(s, t.correction)
        return replace(t, correction=by, normalization=reference.composed(s, t.statistics, by))

    return _retrained(base, id_, retrained, _PRODUCED)


def _retrained(
    base: Hypothesis,
    id_: str,
    change: Callable[[Situation, Training], Training],
    only: frozenset[str] = _MOVING | _RENORM,
) -> Hypothesis:
    """Return the hypothesis that a train step was another: `change` of the right one."""

    def change_results(situation: Situation, results: Results) -> Results:
        if not results.keys() & _RENORM or not situation.x.size:
            return {}
        with np.errstate(all="ignore"):
            training = change(situation, reference.training(situation))
            gradients = None
            if situation.upstream is not None:
                gradients = plain.gradients(training.normalization, situation.upstream, situation.x)
            values = reference.quantities(training, gradients)
            return {name: changed_to(results[name], value) for name, value in values.items() if name in results}

    return replace(base, cause=because(id_), change_results=change_results, only=only)


def _gradients(base: Hypothesis) -> Iterator[Hypothesis]:
    def hypothesis(id_: str, quantity: str, change: Callable[[Situation, Training, Results], Array]) -> Hypothesis:
        def change_results(situation: Situation, results: Results) -> Results:
            if not results.keys() >= {quantity, "renorm_mean"} or situation.upstream is None or not situation.x.size:
                return {}
            with np.errstate(all="ignore"):
                value = change(situation, reference.training(situation), results)
            return {quantity: changed_to(results[quantity], value)}

        return replace(base, cause=because(id_), change_results=change_results, only=frozenset({quantity}))

    yield hypothesis(
        "r-and-d-differentiated", "grad_input", lambda s, t, f: f["grad_input"].value + _through(s, t, "rd")
    )
    yield hypothesis("r-differentiated", "grad_input", lambda s, t, f: f["grad_input"].value + _through(s, t, "r"))
    yield hypothesis("d-differentiated", "grad_input", lambda s, t, f: f["grad_input"].value + _through(s, t, "d"))
    yield hypothesis(
        "r-missing-from-input-gradient", "grad_input", lambda s, t, f: f["grad_input"].value / t.correction.r
    )
    yield hypothesis(
        "statistics-taken-for-constants",
        "grad_input",
        lambda s, t, f: t.normalization.gamma * t.normalization.inverse_root * s.upstream,
    )
    yield hypothesis(
        "r-and-d-missing-from-gamma-gradient",
        "grad_gamma",
        lambda s, t, f: (s.upstream * t.normalization.normalized).sum(axis=0),
    )
    yield hypothesis(
        "d-missing-from-gamma-gradient",
        "grad_gamma",
        lambda s, t, f: f["grad_gamma"].value - t.correction.d * f["grad_beta"].value,
    )


def _through(s: Situation, t: Training, which: str) -> Array:
    """Return what reaches the input through r and d where they are not clipped.

    dr/dx = x̂/(mσ) and dd/dx = 1/(mσ), times γΣ(g·x̂) and γΣg.
    """
    assert s.upstream is not None
    gamma, _ = reference.parameters(s, t.deviation)
    by, normalized = t.correction, t.normalization.normalized
    scale = gamma / (len(s.x) * by.divisor)
    r = normalized * (scale * (s.upstream * normalized).sum(axis=0) * (by.r == by.free_r))
    d = scale * s.upstream.sum(axis=0) * (by.d == by.free_d)
    return np.asarray(("r" in which) * r + ("d" in which) * d)
