"""Faults in the update of the moving values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.faults.planting.layer import BFLOAT16, Layer, inferring, mean, moved, planted, update, variance
from tests.faults.planting.parts import rounded


def moving_step(l: Layer, a: Any, old: Any, batch: Any) -> Any:
    a = l.t(a)
    return a * old + (1 - a) * batch


def debiased(l: Layer, name: str, old: Any, batch: Any) -> Any:
    a, k = l.native.decay, l.trained + 1
    if a == 1:
        return old
    return (l.t(a * (1 - a ** (k - 1))) * old + l.t(1 - a) * batch) / l.t(1 - a**k)


def lagging(l: Layer, name: str, old: Any, batch: Any) -> Any:
    last = l.kept.get(name)
    l.kept[name] = batch
    return old if last is None else moved(l, name, old, last)


def inferring_and_moving(l: Layer, x: Any) -> Any:
    found = inferring(l, x)
    if len(x):
        update(l, mean(l, x), variance(l, x, mean(l, x)), x)
    return found


def moving_alone(name: str) -> Callable[..., Any]:
    """Move only one of the two moving values."""
    return lambda l, each, old, batch: moved(l, each, old, batch) if each == name else old


# fmt: off
FAULTS = (
    planted("decay_inverted", "The decay weighs the batch.", "decay inverted", decay=lambda l, n: l.t(1 - l.native.decay)),
    planted("decay_in_half", "The decay is rounded to bfloat16.", "decay rounded to bfloat16", decay=lambda l, n: l.t(BFLOAT16(l.native.decay))),
    planted("decay_dropped", "The batch statistics replace the moving values.", "moving values replaced by the batch's", moved=lambda l, n, old, batch: batch),
    planted("decay_default_for_variance", "The moving variance has a decay of 0.99 of its own.", "decay 0.99 in place of the one given", decay=lambda l, n: l.t(0.99 if n == "moving_variance" else l.native.decay)),
    planted("decay_warming_up", "The decay is (1 + k)/(10 + k) in the first steps, where that is less.", "decay smaller in the first steps", decay=lambda l, n: l.t(min(l.native.decay, (1 + l.trained) / (10 + l.trained)))),
    planted("decay_one_is_cumulative", "A decay of 1 is taken for a cumulative average.", "cumulative average", cases=("moving.decay-rank-4/decay-1.0/features-last", "moving.decay-rank-4/decay-1.0/features-first", "moving.decay/decay-1.0"), when=lambda l: l.native.decay == 1.0, decay=lambda l, n: l.t(l.trained / (l.trained + 1))),
    planted("updated_twice", "The moving values are updated twice in a step.", "moving values updated twice", moved=lambda l, n, old, batch: moved(l, n, moved(l, n, old, batch), batch)),
    planted("old_not_decayed", "The batch's share is added to the whole old value.", "old moving values not decayed", moved=lambda l, n, old, batch: old + (1 - l.decay(n)) * batch),
    planted("cumulative", "The moving values are the mean over all batches.", "cumulative average", moved=lambda l, n, old, batch: moving_step(l, l.trained / (l.trained + 1), old, batch)),
    planted("zero_debiased", "The moving values are divided by 1 - decay^k.", "zero-debiased average", moved=debiased),
    planted("first_batch_replaces", "The first batch replaces the initial moving values.", "first batch replaces", moved=lambda l, n, old, batch: moved(l, n, old, batch) if l.trained else batch),
    planted("variance_not_moved", "Only the moving mean is updated.", "moving values not updated", moved=moving_alone("moving_mean")),
    planted("mean_not_moved", "Only the moving variance is updated.", "moving values not updated", moved=moving_alone("moving_variance")),
    planted("never_moved", "The moving values are never updated.", "moving values not updated", moved=lambda l, n, old, batch: old),
    planted("moved_every_second_step", "Every second train step leaves the moving values.", "moving values not updated", when=lambda l: l.trained % 2 == 1, moved=lambda l, n, old, batch: old),
    planted("moved_in_inference", "Inference updates the moving values.", "updated in inference", inferring=inferring_and_moving),
    planted("moved_a_step_late", "The moving values take the statistics of the batch before.", "stale", moved=lagging),
    planted("moving_deviation", "The standard deviations are averaged, not the variances.", "standard deviations averaged", moved=lambda l, n, old, batch: (moved(l, n, old, batch) if n == "moving_mean" else moved(l, n, np.sqrt(old), np.sqrt(batch)) ** 2)),
    planted("moving_variance_about_moving_mean", "The moving variance takes the squares of deviations from the moving mean.", "variance about the moving mean", entering=lambda l, c, v, x: (c, np.square(x - l.value("moving_mean")).mean(0))),
    planted("moving_values_in_bfloat16", "The moving values are rounded to bfloat16 after each update.", "moving values rounded to bfloat16", stored=lambda l, n, value: rounded(value, BFLOAT16)),
    planted("moving_values_in_float16", "The moving values are rounded to float16 after each update.", "moving values rounded to float16", stored=lambda l, n, value: rounded(value, np.float16)),
    planted("initial_values_forgotten", "The first update starts from 0 and 1, not from the initial values.", "initial moving values forgotten", moved=lambda l, n, old, batch: moved(l, n, old if l.trained else np.full_like(old, n == "moving_variance"), batch)),
)
# fmt: on
