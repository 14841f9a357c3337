"""The related cases of the identities, from the drawn numbers; one, where a case is related to itself."""

from __future__ import annotations

import numpy as np

from conformance.search.properties.identity import Arm, Ground


def one(ground: Ground) -> tuple[Arm, ...]:
    """Train once."""
    return (ground.arm(ground.train()),)


def twice(ground: Ground) -> tuple[Arm, ...]:
    """Train twice on the same numbers."""
    return one(ground) * 2


def scaled(ground: Ground) -> tuple[Arm, ...]:
    """Train, and on the input times 2^k with epsilon times 4^k."""
    factor = 2.0**ground.power
    return ground.arm(ground.train()), ground.arm(ground.train(ground.x * factor), epsilon=ground.epsilon * factor**2)


def negated(ground: Ground) -> tuple[Arm, ...]:
    """Train, and on the negated input with the negated gamma."""
    state = ground.with_state(gamma=-ground.state["gamma"])
    return ground.arm(ground.train()), ground.arm(ground.train(-ground.x), state=state)


def doubled_parameters(ground: Ground) -> tuple[Arm, ...]:
    """Train, and with twice gamma and twice beta."""
    state = ground.with_state(gamma=2 * ground.state["gamma"], beta=2 * ground.state["beta"])
    return ground.arm(ground.train()), ground.arm(ground.train(), state=state)


def doubled_upstream(ground: Ground) -> tuple[Arm, ...]:
    """Train, and with twice the upstream gradient."""
    return ground.arm(ground.train()), ground.arm(ground.train(upstream=2 * ground.upstream))


def shifted(ground: Ground) -> tuple[Arm, ...]:
    """Train, and on the input with a constant added."""
    return ground.arm(ground.train()), ground.arm(ground.train(ground.x + 64))


def permuted(ground: Ground) -> tuple[Arm, ...]:
    """Train, and on the positions in another order."""
    order = ground.order
    return ground.arm(ground.train()), ground.arm(ground.train(ground.x[order], ground.upstream[order]))


def isolated(ground: Ground) -> tuple[Arm, ...]:
    """Train, and on an input that has other values in every feature but the first."""
    mixed = np.concatenate([ground.x[:, :1], ground.other[:, 1:]], axis=1)
    return ground.arm(ground.train()), ground.arm(ground.train(mixed))


def exchanged(ground: Ground) -> tuple[Arm, ...]:
    """Train, and on the features in another order, with their parameters."""
    state = {name: value[::-1] for name, value in ground.state.items()}
    return ground.arm(ground.train()), ground.arm(
        ground.train(ground.x[:, ::-1], ground.upstream[:, ::-1]), state=state
    )


def repeated(ground: Ground) -> tuple[Arm, ...]:
    """Train, and on every sample twice."""
    doubled = ground.train(np.concatenate([ground.x] * 2), np.concatenate([ground.upstream] * 2))
    return ground.arm(ground.train()), ground.arm(doubled)


def constant_upstream(ground: Ground) -> tuple[Arm, ...]:
    """Train with an upstream gradient that is the same everywhere."""
    return (ground.arm(ground.train(upstream=np.full_like(ground.upstream, 3.0))),)


def two_pulls(ground: Ground) -> tuple[Arm, ...]:
    """Train with one upstream gradient, and with another."""
    return ground.arm(ground.train()), ground.arm(ground.train(upstream=ground.pull))


def own_statistics(ground: Ground) -> tuple[Arm, ...]:
    """Leave the batch's own statistics as the moving ones, and infer on the same batch."""
    return (ground.arm(ground.train(), ground.infer(), decay=0.0),)


def affine(ground: Ground) -> tuple[Arm, ...]:
    """Infer on two inputs, on their sum and on 0."""
    zero = np.zeros_like(ground.x)
    inputs = (ground.x, ground.other, ground.x + ground.other, zero)
    return tuple(ground.arm(ground.infer(x)) for x in inputs)


def beside_others(ground: Ground) -> tuple[Arm, ...]:
    """Infer, and on the same samples beside others."""
    return ground.arm(ground.infer()), ground.arm(ground.infer(np.concatenate([ground.x, ground.other])))


def identical_batches(ground: Ground) -> tuple[Arm, ...]:
    """Train three times on one batch."""
    return (ground.arm(*[ground.train()] * 3),)


def at_rest(ground: Ground) -> tuple[Arm, ...]:
    """Start from the batch's own mean, which the data give exactly."""
    state = ground.with_state(moving_mean=ground.x.mean(axis=0))
    return (ground.arm(ground.train(), state=state),)


def constant(ground: Ground) -> tuple[Arm, ...]:
    """Train on features whose values are all equal."""
    return (ground.arm(ground.train(np.broadcast_to(ground.x[:1], ground.x.shape))),)


def scaled_alone(ground: Ground) -> tuple[Arm, ...]:
    """Train, and on the input times 2^k."""
    return ground.arm(ground.train()), ground.arm(ground.train(ground.x * 2.0**ground.power))


def negated_alone(ground: Ground) -> tuple[Arm, ...]:
    """Train, and on the negated input."""
    return ground.arm(ground.train()), ground.arm(ground.train(-ground.x))


def centred(ground: Ground) -> tuple[Arm, ...]:
    """Center the data, and what comes out of that, which the data give exactly."""
    return ground.arm(ground.train()), ground.arm(ground.train(ground.x - ground.x.mean(axis=0)))


def added(ground: Ground) -> tuple[Arm, ...]:
    """Train on two inputs, and on their sum."""
    return tuple(ground.arm(ground.train(x)) for x in (ground.x, ground.other, ground.x + ground.other))
