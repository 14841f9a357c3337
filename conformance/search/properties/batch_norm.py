"""The properties of batch normalization.

B is the bound of a quantity, that of `docs/tolerances.md` for the very step; r = (σ² + ε)^(-1/2), x̂ = (x - μ)·r. Where two
computed numbers are compared, each may be off by its own B. Where a sum or a product of computed numbers is compared with
its value, the bound is what their B make of it to first order and beyond.
"""

from __future__ import annotations

import numpy as np

from conformance.dialect import Dialect
from conformance.search.properties.identity import Arm, Array, Evidence, Ground, Property, Sides, near, same


def _train_of_batch(dialect: Dialect) -> bool:
    """Return whether training normalizes with the batch, by the variance with correction 0."""
    return dialect.normalizes_with == "batch" and not dialect.normalizing_correction


def _plain_update(dialect: Dialect) -> bool:
    """Return whether the layer keeps moving values that move by one weight, the batch variance with correction 0."""
    return dialect.update == "exponential" and not dialect.moving_correction and dialect.state == "layer"


def _both(dialect: Dialect) -> bool:
    return _train_of_batch(dialect) and _plain_update(dialect)


def _exponential(dialect: Dialect) -> bool:
    return dialect.update == "exponential" and dialect.state == "layer"


def _agree(quantity: str, evidence: Evidence) -> Sides:
    """Return the quantity of the first steps of both arms, which may be apart by the bounds of both."""
    first, second = evidence[0][0], evidence[1][0]
    return near(quantity, first.got[quantity], second.got[quantity], first.bound[quantity] + second.bound[quantity])


def _bits(quantity: str, evidence: Evidence, factor: float = 1.0) -> Sides:
    """Return the quantity of both arms, the first times a power of two, which must have the same bits."""
    return same(quantity, evidence[0][0].got[quantity] * factor, evidence[1][0].got[quantity])


def _statistics(ground: Ground) -> tuple[Array, Array, Array]:
    """Return mean, variance and inverse root of the batch in extended precision."""
    x = ground.x.astype(np.longdouble)
    mean = x.mean(axis=0)
    variance = np.square(x - mean).mean(axis=0)
    return mean, variance, 1 / np.sqrt(variance + np.longdouble(ground.epsilon))


def _scaled(ground: Ground) -> tuple[Arm, ...]:
    factor = 2.0**ground.power
    return ground.arm(ground.train()), ground.arm(ground.train(ground.x * factor), epsilon=ground.epsilon * factor**2)


def _negated(ground: Ground) -> tuple[Arm, ...]:
    state = ground.with_state(gamma=-ground.state["gamma"])
    return ground.arm(ground.train()), ground.arm(ground.train(-ground.x), state=state)


def _doubled_parameters(ground: Ground) -> tuple[Arm, ...]:
    state = ground.with_state(gamma=2 * ground.state["gamma"], beta=2 * ground.state["beta"])
    return ground.arm(ground.train()), ground.arm(ground.train(), state=state)


def _doubled_upstream(ground: Ground) -> tuple[Arm, ...]:
    return ground.arm(ground.train()), ground.arm(ground.train(upstream=2 * ground.upstream))


def _shifted(ground: Ground) -> tuple[Arm, ...]:
    return ground.arm(ground.train()), ground.arm(ground.train(ground.x + 64))


def _permuted(ground: Ground) -> tuple[Arm, ...]:
    order = ground.order
    return ground.arm(ground.train()), ground.arm(ground.train(ground.x[order], ground.upstream[order]))


def _permuted_bits(ground: Ground, evidence: Evidence) -> Sides:
    return same("output", evidence[0][0].got["output"][ground.order], evidence[1][0].got["output"])


def _permuted_near(ground: Ground, evidence: Evidence) -> Sides:
    first, second, order = evidence[0][0], evidence[1][0], ground.order
    allowed = first.bound["grad_input"][order] + second.bound["grad_input"]
    return near("grad_input", first.got["grad_input"][order], second.got["grad_input"], allowed)


def _isolated(ground: Ground) -> tuple[Arm, ...]:
    mixed = np.concatenate([ground.x[:, :1], ground.other[:, 1:]], axis=1)
    return ground.arm(ground.train()), ground.arm(ground.train(mixed))


def _isolated_sides(_ground: Ground, evidence: Evidence) -> Sides:
    first, second = evidence[0][0], evidence[1][0]
    allowed = first.bound["output"][:, 0] + second.bound["output"][:, 0]
    return near("output", first.got["output"][:, 0], second.got["output"][:, 0], allowed)


def _exchanged(ground: Ground) -> tuple[Arm, ...]:
    state = {name: value[::-1] for name, value in ground.state.items()}
    return ground.arm(ground.train()), ground.arm(
        ground.train(ground.x[:, ::-1], ground.upstream[:, ::-1]), state=state
    )


def _exchanged_sides(_ground: Ground, evidence: Evidence) -> Sides:
    first, second = evidence[0][0], evidence[1][0]
    allowed = first.bound["output"][:, ::-1] + second.bound["output"]
    return near("output", first.got["output"][:, ::-1], second.got["output"], allowed)


def _repeated(ground: Ground) -> tuple[Arm, ...]:
    twice = ground.train(np.concatenate([ground.x] * 2), np.concatenate([ground.upstream] * 2))
    return ground.arm(ground.train()), ground.arm(twice)


def _repeated_output(ground: Ground, evidence: Evidence) -> Sides:
    first, second, count = evidence[0][0], evidence[1][0], len(ground.x)
    allowed = first.bound["output"] + second.bound["output"][:count]
    return near("output", first.got["output"], second.got["output"][:count], allowed)


def _one(ground: Ground) -> tuple[Arm, ...]:
    return (ground.arm(ground.train()),)


def _sum_of_outputs(ground: Ground, evidence: Evidence) -> Sides:
    seen, beta = evidence[0][0], ground.state["beta"]
    return near("output", seen.got["output"].sum(axis=0), len(ground.x) * beta, seen.bound["output"].sum(axis=0))


def _square_of_outputs(ground: Ground, evidence: Evidence) -> Sides:
    seen, (_, variance, _) = evidence[0][0], _statistics(ground)
    centred, bound = seen.got["output"] - ground.state["beta"], seen.bound["output"]
    right = np.square(ground.state["gamma"]) * variance / (variance + np.longdouble(ground.epsilon))
    allowed = (2 * np.abs(centred) * bound + np.square(bound)).mean(axis=0)
    return near("output", np.square(centred).mean(axis=0), right, allowed)


def _sum_of_gradients(_ground: Ground, evidence: Evidence) -> Sides:
    seen = evidence[0][0]
    total = seen.got["grad_input"].sum(axis=0)
    return near("grad_input", total, np.zeros_like(total), seen.bound["grad_input"].sum(axis=0))


def _euler(ground: Ground, evidence: Evidence) -> Sides:
    seen, (mean, _, root) = evidence[0][0], _statistics(ground)
    deviation = ground.x - mean
    factor = ground.state["gamma"] * np.longdouble(ground.epsilon) * np.square(root)
    allowed = (np.abs(deviation) * seen.bound["grad_input"]).sum(axis=0) + np.abs(factor) * seen.bound["grad_gamma"]
    left = (deviation * seen.got["grad_input"]).sum(axis=0)
    return near("grad_input", left, factor * seen.got["grad_gamma"], allowed)


def _gamma_of_outputs(ground: Ground, evidence: Evidence) -> Sides:
    seen, gamma, pull = evidence[0][0], ground.state["gamma"], ground.upstream
    right = (pull * (seen.got["output"] - ground.state["beta"])).sum(axis=0)
    allowed = np.abs(gamma) * seen.bound["grad_gamma"] + (np.abs(pull) * seen.bound["output"]).sum(axis=0)
    return near("grad_gamma", gamma * seen.got["grad_gamma"], right, allowed)


def _sum_of_upstream(ground: Ground, evidence: Evidence) -> Sides:
    seen = evidence[0][0]
    right = ground.upstream.astype(np.longdouble).sum(axis=0)
    return near("grad_beta", seen.got["grad_beta"], right, seen.bound["grad_beta"])


def _constant_upstream(ground: Ground) -> tuple[Arm, ...]:
    return (ground.arm(ground.train(upstream=np.full_like(ground.upstream, 3.0))),)


def _no_gradient(_ground: Ground, evidence: Evidence) -> Sides:
    got = evidence[0][0].got["grad_input"]
    return near("grad_input", got, np.zeros_like(got), evidence[0][0].bound["grad_input"])


def _two_pulls(ground: Ground) -> tuple[Arm, ...]:
    return ground.arm(ground.train()), ground.arm(ground.train(upstream=ground.pull))


def _symmetric(ground: Ground, evidence: Evidence) -> Sides:
    first, second = evidence[0][0], evidence[1][0]
    left = (ground.pull * first.got["grad_input"]).sum(axis=0)
    right = (ground.upstream * second.got["grad_input"]).sum(axis=0)
    allowed = np.abs(ground.pull) * first.bound["grad_input"] + np.abs(ground.upstream) * second.bound["grad_input"]
    return near("grad_input", left, right, allowed.sum(axis=0))


def _own_statistics(ground: Ground) -> tuple[Arm, ...]:
    """Leave the batch's own statistics as the moving ones, and infer on the same batch."""
    return (ground.arm(ground.train(), ground.infer(), decay=0.0),)


def _train_is_inference(ground: Ground, evidence: Evidence) -> Sides:
    """Compare both outputs: the moving values that the second normalizes with may be off by their own bounds.

    |γ|·|(x - μ)·r - (x - μ')·r'| ≤ |γ|·((|x - μ| + δμ)·(r(σ² - δσ²) - r(σ² + δσ²)) + r·δμ).
    """
    trained, inferred = evidence[0]
    mean, variance, root = _statistics(ground)
    off_mean, off_variance = trained.bound["moving_mean"], trained.bound["moving_variance"]
    epsilon = np.longdouble(ground.epsilon)
    spread = 1 / np.sqrt(np.maximum(variance - off_variance, 0) + epsilon) - 1 / np.sqrt(
        variance + off_variance + epsilon
    )
    moved = (np.abs(ground.x - mean) + off_mean) * spread + root * off_mean
    allowed = trained.bound["output"] + inferred.bound["output"] + np.abs(ground.state["gamma"]) * moved
    return near("output", trained.got["output"], inferred.got["output"], allowed)


def _affine(ground: Ground) -> tuple[Arm, ...]:
    zero = np.zeros_like(ground.x)
    inputs = (ground.x, ground.other, ground.x + ground.other, zero)
    return tuple(ground.arm(ground.infer(x)) for x in inputs)


def _affine_sides(_ground: Ground, evidence: Evidence) -> Sides:
    a, b, both, zero = (arm[0] for arm in evidence)
    allowed = a.bound["output"] + b.bound["output"] + both.bound["output"] + zero.bound["output"]
    left = a.got["output"] + b.got["output"]
    return near("output", left, both.got["output"] + zero.got["output"], allowed)


def _beside_others(ground: Ground) -> tuple[Arm, ...]:
    return ground.arm(ground.infer()), ground.arm(ground.infer(np.concatenate([ground.x, ground.other])))


def _identical_batches(ground: Ground) -> tuple[Arm, ...]:
    return (ground.arm(*[ground.train()] * 3),)


def _closed_form(ground: Ground, evidence: Evidence) -> Sides:
    """Compare M after three steps with a³·M₀ + (1 - a³)·μ; a step adds its own bound to what is left of the last one's."""
    mean, a = _statistics(ground)[0], np.longdouble(ground.decay)
    allowed = np.zeros_like(mean)
    for seen in evidence[0]:
        allowed = a * allowed + seen.bound["moving_mean"]
    right = a**3 * ground.state["moving_mean"] + (1 - a**3) * mean
    return near("moving_mean", evidence[0][2].got["moving_mean"], right, allowed)


def _at_rest(ground: Ground) -> tuple[Arm, ...]:
    """Start from the batch's own mean, which the data give exactly."""
    state = ground.with_state(moving_mean=ground.x.mean(axis=0))
    return (ground.arm(ground.train(), state=state),)


def _stays(ground: Ground, evidence: Evidence) -> Sides:
    seen = evidence[0][0]
    return near("moving_mean", seen.got["moving_mean"], ground.x.mean(axis=0), seen.bound["moving_mean"])


def _between(ground: Ground, evidence: Evidence) -> Sides:
    """Compare V with its nearest value between the old one and that of the batch."""
    seen, variance, old = evidence[0][0], _statistics(ground)[1], ground.state["moving_variance"]
    got = seen.got["moving_variance"]
    held = np.clip(got, np.minimum(old, variance), np.maximum(old, variance))
    return near("moving_variance", got, held, seen.bound["moving_variance"])


def _constant(ground: Ground) -> tuple[Arm, ...]:
    return (ground.arm(ground.train(np.broadcast_to(ground.x[:1], ground.x.shape))),)


def _is_beta(ground: Ground, evidence: Evidence) -> Sides:
    got = evidence[0][0].got["output"]
    return near("output", got, np.broadcast_to(ground.state["beta"], got.shape), evidence[0][0].bound["output"])


def _twice(ground: Ground) -> tuple[Arm, ...]:
    return _one(ground) * 2


_FORWARD, _INPUT = ("output",), ("grad_input",)

PROPERTIES = (
    Property(
        id="power-of-two",
        title="Times 2^k, with epsilon times 4^k, the input gives the same bits of output.",
        clauses=("5.1", "6.1"),
        arms=_scaled,
        sides=lambda _, evidence: _bits("output", evidence),
        holds=_train_of_batch,
    ),
    Property(
        id="negated",
        title="The negated input with the negated gamma gives the same bits of output.",
        clauses=("3.1", "6.1"),
        arms=_negated,
        sides=lambda _, evidence: _bits("output", evidence),
        holds=_train_of_batch,
    ),
    Property(
        id="doubled-parameters",
        title="Twice gamma and twice beta give exactly twice the output.",
        clauses=("6.1",),
        arms=_doubled_parameters,
        sides=lambda _, evidence: _bits("output", evidence, 2.0),
    ),
    Property(
        id="doubled-upstream",
        title="Twice the upstream gradient gives exactly twice the input gradient.",
        clauses=("11.3",),
        arms=_doubled_upstream,
        sides=lambda _, evidence: _bits("grad_input", evidence, 2.0),
        needs=_INPUT,
    ),
    Property(
        id="shifted",
        title="A constant added to every value of the input leaves the output.",
        clauses=("3.1", "4.3"),
        arms=_shifted,
        sides=lambda _, evidence: _agree("output", evidence),
        dyadic=True,
        holds=_train_of_batch,
    ),
    Property(
        id="permuted-exactly",
        title="On exact data, another order of the positions gives the same bits in that order.",
        clauses=("2.2", "13.4"),
        arms=_permuted,
        sides=_permuted_bits,
        dyadic=True,
    ),
    Property(
        id="permuted",
        title="Another order of the positions gives the same input gradients in that order.",
        clauses=("2.2", "11.3"),
        arms=_permuted,
        sides=_permuted_near,
        needs=_INPUT,
    ),
    Property(
        id="isolated",
        title="Other values of the other features leave the output of a feature.",
        clauses=("2.1",),
        arms=_isolated,
        sides=_isolated_sides,
    ),
    Property(
        id="exchanged",
        title="Features in another order, with their parameters, give the same output in that order.",
        clauses=("2.1", "6.1"),
        arms=_exchanged,
        sides=_exchanged_sides,
    ),
    Property(
        id="repeated-output",
        title="Every sample twice gives every output twice.",
        clauses=("3.1", "4.1"),
        arms=_repeated,
        sides=_repeated_output,
        holds=_train_of_batch,
    ),
    Property(
        id="repeated-variance",
        title="Every sample twice leaves the moving variance as every sample once does.",
        clauses=("8.1",),
        arms=_repeated,
        sides=lambda _, evidence: _agree("moving_variance", evidence),
        needs=("moving_variance",),
        holds=_plain_update,
    ),
    Property(
        id="sum-of-outputs",
        title="The outputs of a feature add up to m times beta.",
        clauses=("3.1", "6.1"),
        arms=_one,
        sides=_sum_of_outputs,
        holds=_train_of_batch,
    ),
    Property(
        id="square-of-outputs",
        title="The outputs less beta have the mean square gamma²·σ²/(σ² + ε).",
        clauses=("4.1", "5.1"),
        arms=_one,
        sides=_square_of_outputs,
        holds=_train_of_batch,
    ),
    Property(
        id="sum-of-gradients",
        title="The input gradients of a feature add up to zero.",
        clauses=("11.3",),
        arms=_one,
        sides=_sum_of_gradients,
        needs=_INPUT,
        holds=_train_of_batch,
    ),
    Property(
        id="euler",
        title="The sum of (x - μ)·dx is gamma·ε·r²·dgamma, zero only without epsilon.",
        clauses=("5.1", "11.2", "11.3"),
        arms=_one,
        sides=_euler,
        needs=("grad_input", "grad_gamma"),
        holds=_train_of_batch,
    ),
    Property(
        id="gamma-of-outputs",
        title="Gamma times its gradient is the sum of the upstream gradient times the output less beta.",
        clauses=("11.2",),
        arms=_one,
        sides=_gamma_of_outputs,
        needs=("grad_gamma", "output"),
    ),
    Property(
        id="sum-of-upstream",
        title="The gradient of beta is the sum of the upstream gradient.",
        clauses=("11.1",),
        arms=_one,
        sides=_sum_of_upstream,
        needs=("grad_beta",),
    ),
    Property(
        id="constant-upstream",
        title="A constant upstream gradient gives no input gradient.",
        clauses=("11.3",),
        arms=_constant_upstream,
        sides=_no_gradient,
        needs=_INPUT,
        holds=_train_of_batch,
    ),
    Property(
        id="symmetric",
        title="The derivative of the output by the input is symmetric.",
        clauses=("11.3",),
        arms=_two_pulls,
        sides=_symmetric,
        needs=_INPUT,
        holds=_train_of_batch,
    ),
    Property(
        id="train-is-inference",
        title="Inference on a batch by its own statistics gives what training gave.",
        clauses=("9.1", "10.1"),
        arms=_own_statistics,
        sides=_train_is_inference,
        needs=("output", "moving_mean", "moving_variance"),
        holds=_both,
    ),
    Property(
        id="affine",
        title="Inference is affine: f(a) + f(b) = f(a + b) + f(0).",
        clauses=("10.1",),
        arms=_affine,
        sides=_affine_sides,
        dyadic=True,
    ),
    Property(
        id="beside-others",
        title="Inference on a sample does not depend on the samples beside it.",
        clauses=("10.3",),
        arms=_beside_others,
        sides=_repeated_output,
    ),
    Property(
        id="closed-form",
        title="Three identical batches leave a³ of the old moving mean and 1 - a³ of the batch's.",
        clauses=("7.1", "7.2"),
        arms=_identical_batches,
        sides=_closed_form,
        needs=("moving_mean",),
        holds=_exponential,
    ),
    Property(
        id="at-rest",
        title="A batch whose mean is the moving mean leaves it.",
        clauses=("7.1", "7.3"),
        arms=_at_rest,
        sides=_stays,
        needs=("moving_mean",),
        dyadic=True,
        holds=_exponential,
    ),
    Property(
        id="between",
        title="The moving variance after a batch lies between the old one and the batch's.",
        clauses=("7.1", "8.1"),
        arms=_one,
        sides=_between,
        needs=("moving_variance",),
        holds=_plain_update,
    ),
    Property(
        id="constant-feature",
        title="A feature whose values are all equal gives beta.",
        clauses=("4.2",),
        arms=_constant,
        sides=_is_beta,
        holds=_train_of_batch,
    ),
    Property(
        id="deterministic",
        title="The same numbers give the same bits.",
        clauses=("15.1",),
        arms=_twice,
        sides=lambda _, evidence: _bits("output", evidence),
    ),
)
