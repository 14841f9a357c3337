"""The related cases of the identities of layer, RMS, group and instance normalization, beside those of `arms`."""

from __future__ import annotations

import numpy as np

from conformance.search.properties.identity import Arm, Array, Ground


def plain(ground: Ground) -> tuple[Arm, ...]:
    """Train once, with gamma 1 and beta 0."""
    gamma = ground.state["gamma"]
    return (ground.arm(ground.train(), state=ground.with_state(gamma=np.ones_like(gamma), beta=np.zeros_like(gamma))),)


def without_beta(ground: Ground) -> tuple[Arm, ...]:
    """Train, and on the negated input, both with beta 0."""
    state = ground.with_state(beta=np.zeros_like(ground.state["beta"]))
    return ground.arm(ground.train(), state=state), ground.arm(ground.train(-ground.x), state=state)


def constant_upstream(ground: Ground) -> tuple[Arm, ...]:
    """Train with the same upstream gradient and the same gamma everywhere."""
    state = ground.with_state(gamma=np.full_like(ground.state["gamma"], 2.0))
    return (ground.arm(ground.train(upstream=np.full_like(ground.upstream, 3.0)), state=state),)


def equal_values(ground: Ground) -> tuple[Arm, ...]:
    """Train on samples that have one value each."""
    by_sample = ground.by_sample(ground.x)
    return (ground.arm(ground.train(np.broadcast_to(by_sample[:, :1, :1], by_sample.shape).reshape(ground.x.shape))),)


def in_reverse(ground: Ground, array: Array) -> Array:
    """Return an (m, C) array with its samples in the reverse order."""
    return ground.by_sample(array)[::-1].reshape(array.shape)


def reversed_samples(ground: Ground) -> tuple[Arm, ...]:
    """Train, and on the samples in the reverse order."""
    backwards = ground.train(in_reverse(ground, ground.x), in_reverse(ground, ground.upstream))
    return ground.arm(ground.train()), ground.arm(backwards)


def other_samples(ground: Ground) -> tuple[Arm, ...]:
    """Train, and with other values in every sample but the first."""
    x, count = ground.x, len(ground.x) // ground.samples
    return ground.arm(ground.train()), ground.arm(ground.train(np.concatenate([x[:count], ground.other[count:]])))


def both_passes(ground: Ground) -> tuple[Arm, ...]:
    """Train, and infer on the same input."""
    return (ground.arm(ground.train(), ground.infer()),)
