"""The single changes of a batch normalization's moving values that known implementations have got wrong."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from conformance.cause import because
from conformance.operations.batch_norm import reference
from conformance.operations.batch_norm.expectations import MOVING, changed_to
from conformance.operations.expected import Expected
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.moving import moved, weights
from conformance.operations.situation import Situation
from conformance.precision import in_dtype, precision

Array = np.ndarray[Any, np.dtype[Any]]
Results = dict[str, Expected]


def moving_values(base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield what may have happened to the moving values."""
    decay, other = base.configuration.decay, 1 - base.dialect.moving_correction
    whole = base
    if base.dialect.normalizes_with == "batch":
        # Then nothing else of a train step follows the update.
        base = replace(base, only=MOVING)
    yield base.in_dialect(because("moving-correction", correction=other), moving_correction=other)
    yield base.configured(because("decay-inverted"), decay=1 - decay)
    yield base.in_dialect(because("moving-not-updated"), update="none")
    yield base.configured(because("moving-updated-twice"), decay=decay**2)
    yield base.in_dialect(because("first-batch-replaces-moving"), update="first_batch")
    yield base.configured(because("moving-replaced-by-batch"), decay=0.0)
    yield base.in_dialect(because("cumulative-average"), update="cumulative")
    yield base.in_dialect(because("zero-debiased-average"), update="zero_debiased")
    for counted, count in (("samples", base.configuration.shape[0]), ("features", base.configuration.feature_count)):
        cause = because("moving-correction-of-another-count", counted=counted)
        yield replace(base, cause=cause, change_results=functools.partial(_corrected_by, count))
    yield replace(base, cause=because("deviations-averaged"), change_results=_deviations_averaged)
    yield replace(base, cause=because("moving-updated-in-inference"), performed="train", only=MOVING)
    frozen = not base.dialect.frozen_implies_inference
    cause = because("frozen-infers" if frozen else "frozen-trains")
    yield whole.in_dialect(cause, frozen_implies_inference=frozen)
    for dtype in ("float16", "bfloat16", "float32"):
        yield base.configured(because("decay-rounded", dtype=dtype), decay=in_dtype(decay, dtype))
        yield base.configured(because("batch-weight-rounded", dtype=dtype), decay=1 - in_dtype(1 - decay, dtype))
    for default in (0.9, 0.99, 0.999):
        if decay != default:
            yield base.configured(because("decay-fixed", value=default), decay=default)
    # In the first step it is the decay of 0.1, which is 0.9 inverted.
    yield replace(base, cause=because("decay-warming-up"), change_situation=_warming_up, last=True)
    yield replace(base, cause=because("old-not-decayed"), change_results=_old_kept_whole)
    about = frozenset({"moving_variance"})
    yield replace(base, cause=because("variance-about-moving-mean"), only=about, change_results=_about_moving_mean)
    yield replace(base, cause=because("empty-batch-decays"), only=MOVING, change_results=_decayed_by_nothing)
    yield from _counted(base)
    for dtype in ("float16", "bfloat16"):
        yield replace(
            base,
            cause=because("moving-rounded", dtype=dtype),
            only=MOVING,
            representable=dtype,
            change_results=functools.partial(_stored_in, dtype),
        )
    yield replace(base, cause=because("initial-moving-forgotten"), change_situation=_from_neutral, only=MOVING)
    yield replace(base, cause=because("moving-one-step-late"), change_results=_late, only=MOVING, last=True)
    yield empty_averaged(base, MOVING)


def _warming_up(situation: Situation) -> Situation:
    """Return the step with the decay min(a, (1 + k)/(10 + k)) of the first steps, k the number of those before."""
    configuration, trained = situation.configuration, situation.trained
    decay = min(configuration.decay, (1 + trained) / (10 + trained))
    return replace(situation, configuration=replace(configuration, decay=decay))


def _old_kept_whole(situation: Situation, results: Results) -> Results:
    """Return M + v s in place of w M + v s."""
    if not results.keys() >= MOVING or not situation.x.size:
        return {}
    kept = weights(situation.dialect, situation.configuration.decay, situation.trained, situation.x.dtype.type)[0]
    return {
        name: changed_to(results[name], results[name].value + (1 - kept) * situation.state[name]) for name in MOVING
    }


def _about_moving_mean(situation: Situation, results: Results) -> Results:
    """Return V' with Σ(x - M)²/m in place of Σ(x - μ)²/m."""
    if "moving_variance" not in results or not situation.x.size:
        return {}
    weight = weights(situation.dialect, situation.configuration.decay, situation.trained, situation.x.dtype.type)
    entering = np.square(situation.x - situation.state["moving_mean"]).mean(axis=0)
    value = moved(situation.state["moving_variance"], entering, weight)
    return {"moving_variance": changed_to(results["moving_variance"], value)}


def _decayed_by_nothing(situation: Situation, results: Results) -> Results:
    """Return a M after an empty batch, whose statistics count as 0."""
    if situation.x.size or not results.keys() >= MOVING:
        return {}
    decay = situation.x.dtype.type(situation.configuration.decay)
    return {name: changed_to(results[name], decay * situation.state[name]) for name in MOVING}


def _counted(base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield what may have gone wrong where the weights depend on the number of train steps so far."""
    if base.dialect.update not in {"cumulative", "merge", "zero_debiased"}:
        return
    for id_, change in (("empty-batch-counted", _with_empties), ("steps-counted-from-one", _one_more)):
        yield replace(base, cause=because(id_), change_situation=change)
    if base.dialect.update == "zero_debiased":
        yield replace(base, cause=because("debiased-with-initial"), change_results=_debiased_with_initial)


def _with_empties(situation: Situation) -> Situation:
    return replace(situation, trained=situation.trained + situation.empties)


def _one_more(situation: Situation) -> Situation:
    return replace(situation, trained=situation.trained + 1)


def _debiased_with_initial(situation: Situation, results: Results) -> Results:
    """Return (a M + (1-a) s)/(1-a) after the first step: the division undoes a beginning at 0, and M was not 0."""
    decay = situation.x.dtype.type(situation.configuration.decay)
    if situation.trained or decay == 1 or not situation.x.size or not results.keys() >= MOVING:
        return {}
    rest = decay / (1 - decay)
    return {name: changed_to(results[name], results[name].value + rest * situation.state[name]) for name in MOVING}


def empty_averaged(base: Hypothesis, averages: frozenset[str]) -> Hypothesis:
    """Return the hypothesis that the mean of no values, 0/0, enters the averages of an empty batch."""
    only = averages | {"grad_gamma"}
    return replace(
        base,
        cause=because("empty-batch-averaged"),
        only=only,
        change_results=functools.partial(_nothing_averaged, only),
    )


def _nothing_averaged(names: frozenset[str], situation: Situation, results: Results) -> Results:
    if situation.x.size:
        return {}
    return {
        name: replace(results[name], value=np.full_like(results[name].value, np.nan)) for name in names & results.keys()
    }


def _deviations_averaged(situation: Situation, results: Results) -> Results:
    if "moving_variance" not in results or not situation.x.size:
        return {}
    weight = weights(situation.dialect, situation.configuration.decay, situation.trained, situation.x.dtype.type)
    entering = reference.corrected(reference.batch_statistics(situation.x), situation.dialect.moving_correction)
    value = moved(np.sqrt(situation.state["moving_variance"]), np.sqrt(entering), weight) ** 2
    return {**results, "moving_variance": changed_to(results["moving_variance"], value)}


def _corrected_by(count: int, situation: Situation, results: Results) -> Results:
    """Return the moving variance with the factor n/(n - 1) of another count than that of the values."""
    if "moving_variance" not in results or not situation.x.size or count < 2 or count == len(situation.x):
        return {}
    weight = weights(situation.dialect, situation.configuration.decay, situation.trained, situation.x.dtype.type)
    entering = reference.batch_statistics(situation.x).variance * (situation.x.dtype.type(count) / (count - 1))
    value = moved(situation.state["moving_variance"], np.asarray(entering), weight)
    return {**results, "moving_variance": changed_to(results["moving_variance"], value)}


def _stored_in(dtype: str, situation: Situation, results: Results) -> Results:
    """Return the moving values within one more rounding, to `dtype`."""
    del situation
    stored = precision(dtype)
    return {
        name: replace(
            expected, bound=expected.bound + stored.unit * (np.abs(expected.value) + expected.bound) + stored.tiny
        )
        for name, expected in results.items()
        if name in MOVING
    }


def _from_neutral(situation: Situation) -> Situation:
    zero = np.zeros_like(situation.state["moving_mean"])
    return replace(situation, state={**situation.state, "moving_mean": zero, "moving_variance": zero + 1})


def _late(situation: Situation, results: Results) -> Results:
    """Return the moving values that the batch of the step before moves; in the first step nothing does."""
    if not results.keys() & MOVING:
        return {}
    earlier = situation.earlier
    if earlier is None or not earlier.x.size:
        return {name: changed_to(results[name], situation.state[name]) for name in MOVING}
    weight = weights(situation.dialect, situation.configuration.decay, situation.trained, situation.x.dtype.type)
    statistics = reference.batch_statistics(earlier.x)
    batch = {
        "moving_mean": statistics.mean,
        "moving_variance": reference.corrected(statistics, situation.dialect.moving_correction),
    }
    return {name: changed_to(results[name], moved(situation.state[name], batch[name], weight)) for name in batch}
