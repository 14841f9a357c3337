"""The properties of layer, RMS, group and instance normalization, by which values share a mean and a mean square.

Of a group of k values: q = Σ(x - μ)²/k, where μ is their mean, or 0 in RMS normalization; r = (q + ε)^(-1/2),
x̂ = (x - μ)·r and ĝ = γ·g. B is the bound of a quantity, that of `docs/tolerances.md` for the very step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from conformance.search.properties import arms
from conformance.search.properties import batch_norm_sides as whole
from conformance.search.properties.identity import Arm, Array, Evidence, Ground, Property, Sides, near, same
from conformance.search.properties.sides import agree, bits

#: Returns the values of an (m, C) array by group: (k, groups).
Groups = Callable[[Ground, Array], Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clauses:
    """Where `spec/semantics.md` says of an operation what its properties follow from."""

    transform: str
    groups: str
    gradient: str
    parameters: str = "28.6"
    inference: str = "28.3"


CLAUSES = {
    "layer_norm": Clauses(transform="28.2", groups="28.1", gradient="28.5"),
    "rms_norm": Clauses(transform="29.1", groups="29.1", gradient="29.4"),
    "group_norm": Clauses(transform="30.2", groups="30.1", gradient="30.3"),
    "instance_norm": Clauses(transform="31.1", groups="31.1", gradient="31.1", inference="31.1"),
}


def rows(_ground: Ground, array: Array) -> Array:
    """Return a group for each position: all its features."""
    return array.T


def channels(ground: Ground, array: Array) -> Array:
    """Return a group for each feature of each sample: its positions."""
    by_sample = ground.by_sample(array)
    return by_sample.transpose(1, 0, 2).reshape(by_sample.shape[1], -1)


def halves(ground: Ground, array: Array) -> Array:
    """Return a group for each half of the features of each sample, over all its positions."""
    samples, positions, features = ground.by_sample(array).shape
    divided = array.reshape(samples, positions, 2, features // 2)
    return divided.transpose(1, 3, 0, 2).reshape(positions * features // 2, -1)


def _by_value(ground: Ground, parameter: Array) -> Array:
    return np.broadcast_to(parameter, ground.x.shape)


def _plain(ground: Ground) -> tuple[Arm, ...]:
    """Train once, with gamma 1 and beta 0."""
    gamma = ground.state["gamma"]
    return (ground.arm(ground.train(), state=ground.with_state(gamma=np.ones_like(gamma), beta=np.zeros_like(gamma))),)


def _without_beta(ground: Ground) -> tuple[Arm, ...]:
    """Train, and on the negated input, both with beta 0."""
    state = ground.with_state(beta=np.zeros_like(ground.state["beta"]))
    return ground.arm(ground.train(), state=state), ground.arm(ground.train(-ground.x), state=state)


def _constant_upstream(ground: Ground) -> tuple[Arm, ...]:
    """Train with the same upstream gradient and the same gamma everywhere."""
    state = ground.with_state(gamma=np.full_like(ground.state["gamma"], 2.0))
    return (ground.arm(ground.train(upstream=np.full_like(ground.upstream, 3.0)), state=state),)


def _equal_values(ground: Ground) -> tuple[Arm, ...]:
    """Train on samples that have one value each."""
    by_sample = ground.by_sample(ground.x)
    return (ground.arm(ground.train(np.broadcast_to(by_sample[:, :1, :1], by_sample.shape).reshape(ground.x.shape))),)


def _reversed(ground: Ground, array: Array) -> Array:
    """Return an (m, C) array with its samples in the reverse order."""
    return ground.by_sample(array)[::-1].reshape(array.shape)


def _reversed_samples(ground: Ground) -> tuple[Arm, ...]:
    """Train, and on the samples in the reverse order."""
    backwards = ground.train(_reversed(ground, ground.x), _reversed(ground, ground.upstream))
    return ground.arm(ground.train()), ground.arm(backwards)


def _other_samples(ground: Ground) -> tuple[Arm, ...]:
    """Train, and with other values in every sample but the first."""
    x, count = ground.x, len(ground.x) // ground.samples
    return ground.arm(ground.train()), ground.arm(ground.train(np.concatenate([x[:count], ground.other[count:]])))


def _both_passes(ground: Ground) -> tuple[Arm, ...]:
    """Train, and infer on the same input."""
    return (ground.arm(ground.train(), ground.infer()),)


def _odd(_ground: Ground, evidence: Evidence) -> Sides:
    """Compare the output of the negated input with the negated output; adding 0 makes the zeros of both alike."""
    return same("output", 0 - evidence[0][0].got["output"], 0 + evidence[1][0].got["output"])


def _in_order(quantity: str) -> Callable[[Ground, Evidence], Sides]:
    """Compare a quantity of the input's shape with that of the samples in the reverse order."""

    def compare(ground: Ground, evidence: Evidence) -> Sides:
        first, second = evidence[0][0], evidence[1][0]
        allowed = _reversed(ground, first.bound[quantity]) + second.bound[quantity]
        return near(quantity, _reversed(ground, first.got[quantity]), second.got[quantity], allowed)

    return compare


def _of_first(quantity: str) -> Callable[[Ground, Evidence], Sides]:
    """Compare a quantity of the first sample."""

    def compare(ground: Ground, evidence: Evidence) -> Sides:
        first, second, count = evidence[0][0], evidence[1][0], len(ground.x) // ground.samples
        allowed = first.bound[quantity][:count] + second.bound[quantity][:count]
        return near(quantity, first.got[quantity][:count], second.got[quantity][:count], allowed)

    return compare


def _exchanged_gradients(_ground: Ground, evidence: Evidence) -> Sides:
    """Compare the input gradients in the other order of the features."""
    first, second = evidence[0][0], evidence[1][0]
    allowed = first.bound["grad_input"][:, ::-1] + second.bound["grad_input"]
    return near("grad_input", first.got["grad_input"][:, ::-1], second.got["grad_input"], allowed)


def _twice(quantity: str) -> Callable[[Ground, Evidence], Sides]:
    """Compare twice a sum over the batch with that of every sample twice."""

    def compare(_ground: Ground, evidence: Evidence) -> Sides:
        first, second = evidence[0][0], evidence[1][0]
        allowed = 2 * first.bound[quantity] + second.bound[quantity]
        return near(quantity, 2 * first.got[quantity], second.got[quantity], allowed)

    return compare


def _train_is_inference(_ground: Ground, evidence: Evidence) -> Sides:
    """Compare the outputs of both passes."""
    trained, inferred = evidence[0]
    allowed = trained.bound["output"] + inferred.bound["output"]
    return near("output", trained.got["output"], inferred.got["output"], allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ByGroup:
    """What identities compare of sums over a group."""

    groups: Groups
    centred: bool

    def deviations(self, ground: Ground) -> tuple[Array, Array]:
        """Return x - μ and q of each group in extended precision."""
        x = self.groups(ground, ground.x).astype(np.longdouble)
        deviation = x - x.mean(axis=0) if self.centred else x
        return deviation, np.square(deviation).mean(axis=0)

    def adds_up(self, quantity: str) -> Callable[[Ground, Evidence], Sides]:
        """Compare the sum of a quantity over a group with zero."""

        def compare(ground: Ground, evidence: Evidence) -> Sides:
            seen = evidence[0][0]
            total = self.groups(ground, seen.got[quantity]).sum(axis=0)
            allowed = self.groups(ground, seen.bound[quantity]).sum(axis=0)
            return near(quantity, total, np.zeros_like(total), allowed)

        return compare

    def square_of_outputs(self, ground: Ground, evidence: Evidence) -> Sides:
        """Compare the mean square of x̂ with q/(q + ε)."""
        seen, (_, square) = evidence[0][0], self.deviations(ground)
        output, bound = (self.groups(ground, values["output"]) for values in (seen.got, seen.bound))
        allowed = (2 * np.abs(output) * bound + np.square(bound)).mean(axis=0)
        right = square / (square + np.longdouble(ground.epsilon))
        return near("output", np.square(output).mean(axis=0), right, allowed)

    def euler(self, ground: Ground, evidence: Evidence) -> Sides:
        """Compare Σ(x - μ)·dx with ε·r²·Σĝ·x̂."""
        seen, (deviation, square) = evidence[0][0], self.deviations(ground)
        reach = square + np.longdouble(ground.epsilon)
        pulled = self.groups(ground, _by_value(ground, ground.state["gamma"]) * ground.upstream)
        right = np.longdouble(ground.epsilon) / reach * (pulled * deviation).sum(axis=0) / np.sqrt(reach)
        gradient, bound = (self.groups(ground, values["grad_input"]) for values in (seen.got, seen.bound))
        allowed = (np.abs(deviation) * bound).sum(axis=0)
        return near("grad_input", (deviation * gradient).sum(axis=0), right, allowed)

    def symmetric(self, ground: Ground, evidence: Evidence) -> Sides:
        """Compare Σγ·h·dx(g) with Σγ·g·dx(h): ∂x̂/∂x is symmetric, and γ is before and behind it."""
        first, second = evidence[0][0], evidence[1][0]
        gamma = _by_value(ground, ground.state["gamma"])
        one, other = gamma * ground.pull, gamma * ground.upstream
        left = self.groups(ground, one * first.got["grad_input"]).sum(axis=0)
        right = self.groups(ground, other * second.got["grad_input"]).sum(axis=0)
        allowed = np.abs(one) * first.bound["grad_input"] + np.abs(other) * second.bound["grad_input"]
        return near("grad_input", left, right, self.groups(ground, allowed).sum(axis=0))


def of(operation: str, groups: Groups, *, centred: bool = True) -> tuple[Property, ...]:
    """Return the properties of an operation whose values share their statistics by those groups."""
    prefix, by_group = operation.replace("_", "-"), _ByGroup(groups=groups, centred=centred)
    properties = [*_of_any(prefix, CLAUSES[operation], by_group)]
    if centred:
        properties += _of_centred(prefix, CLAUSES[operation], by_group)
    return tuple(properties)


def _of_any(prefix: str, clauses: Clauses, by_group: _ByGroup) -> Iterator[Property]:
    """Yield what holds with and without a mean that is taken off."""
    yield Property(
        id=f"{prefix}-power-of-two",
        title="Times 2^k, with epsilon times 4^k, the input gives the same bits of output.",
        clauses=(clauses.transform,),
        arms=arms.scaled,
        sides=bits("output"),
    )
    yield Property(
        id=f"{prefix}-negated",
        title="The negated input with the negated gamma gives the same bits of output.",
        clauses=(clauses.transform,),
        arms=arms.negated,
        sides=bits("output"),
    )
    yield Property(
        id=f"{prefix}-odd",
        title="Without beta, the negated input gives exactly the negated output.",
        clauses=(clauses.transform,),
        arms=_without_beta,
        sides=_odd,
    )
    yield Property(
        id=f"{prefix}-doubled-parameters",
        title="Twice gamma and twice beta give exactly twice the output.",
        clauses=(clauses.transform,),
        arms=arms.doubled_parameters,
        sides=bits("output", 2.0),
    )
    for quantity, words, clause in (
        ("grad_input", "the input gradient", clauses.gradient),
        ("grad_gamma", "the gradient of gamma", clauses.parameters),
    ):
        yield Property(
            id=f"{prefix}-doubled-upstream-{quantity[5:]}",
            title=f"Twice the upstream gradient gives exactly twice {words}.",
            clauses=(clause,),
            arms=arms.doubled_upstream,
            sides=bits(quantity, 2.0),
            needs=(quantity,),
        )
    yield from _of_samples(prefix, clauses)
    yield Property(
        id=f"{prefix}-exchanged",
        title="Features in the reverse order, with their parameters, give the same output in that order.",
        clauses=(clauses.transform,),
        arms=arms.exchanged,
        sides=whole.exchanged_sides,
    )
    yield Property(
        id=f"{prefix}-exchanged-gradients",
        title="Features in the reverse order, with their parameters, give the same input gradients in that order.",
        clauses=(clauses.gradient,),
        arms=arms.exchanged,
        sides=_exchanged_gradients,
        needs=("grad_input",),
    )
    yield from _of_sums(prefix, clauses, by_group)
    yield Property(
        id=f"{prefix}-train-is-inference",
        title="Inference gives what training gave.",
        clauses=(clauses.inference,),
        arms=_both_passes,
        sides=_train_is_inference,
    )
    yield Property(
        id=f"{prefix}-deterministic",
        title="The same numbers give the same bits.",
        clauses=("15.1",),
        arms=arms.twice,
        sides=bits("output"),
    )


def _of_samples(prefix: str, clauses: Clauses) -> Iterator[Property]:
    """Yield what holds because samples do not meet."""
    for quantity, words in (("output", "outputs"), ("grad_input", "input gradients")):
        yield Property(
            id=f"{prefix}-reversed-{words.replace(' ', '-')}",
            title=f"The samples in the reverse order give the same {words} in that order.",
            clauses=(clauses.groups,),
            arms=_reversed_samples,
            sides=_in_order(quantity),
            needs=(quantity,),
        )
        yield Property(
            id=f"{prefix}-isolated-{words.replace(' ', '-')}",
            title=f"Other values in the other samples leave the {words} of a sample.",
            clauses=(clauses.groups,),
            arms=_other_samples,
            sides=_of_first(quantity),
            needs=(quantity,),
        )
    yield Property(
        id=f"{prefix}-beside-others",
        title="Inference on a sample does not depend on the samples beside it.",
        clauses=(clauses.inference,),
        arms=arms.beside_others,
        sides=whole.repeated_output,
    )
    for parameter in ("gamma", "beta"):
        yield Property(
            id=f"{prefix}-repeated-{parameter}",
            title=f"Every sample twice gives twice the gradient of {parameter}.",
            clauses=(clauses.parameters,),
            arms=arms.repeated,
            sides=_twice(f"grad_{parameter}"),
            needs=(f"grad_{parameter}",),
        )
    yield Property(
        id=f"{prefix}-reversed-gamma",
        title="The samples in the reverse order give the same gradient of gamma.",
        clauses=(clauses.parameters,),
        arms=_reversed_samples,
        sides=agree("grad_gamma"),
        needs=("grad_gamma",),
    )


def _of_sums(prefix: str, clauses: Clauses, by_group: _ByGroup) -> Iterator[Property]:
    """Yield what holds of sums over a group or the batch."""
    yield Property(
        id=f"{prefix}-square-of-outputs",
        title="With gamma 1 and beta 0, the outputs that share statistics have the mean square q/(q + ε).",
        clauses=(clauses.transform,),
        arms=_plain,
        sides=by_group.square_of_outputs,
    )
    yield Property(
        id=f"{prefix}-euler",
        title="The sum of (x - μ)·dx over a group is ε·r²·Σγ·g·x̂, zero only without epsilon.",
        clauses=(clauses.gradient,),
        arms=arms.one,
        sides=by_group.euler,
        needs=("grad_input",),
    )
    yield Property(
        id=f"{prefix}-symmetric",
        title="The derivative of the normalized values by the input is symmetric.",
        clauses=(clauses.gradient,),
        arms=arms.two_pulls,
        sides=by_group.symmetric,
        needs=("grad_input",),
    )
    yield Property(
        id=f"{prefix}-gamma-of-outputs",
        title="Gamma times its gradient is the sum of the upstream gradient times the output less beta.",
        clauses=(clauses.parameters,),
        arms=arms.one,
        sides=whole.gamma_of_outputs,
        needs=("grad_gamma", "output"),
    )
    yield Property(
        id=f"{prefix}-sum-of-upstream",
        title="The gradient of beta is the sum of the upstream gradient.",
        clauses=(clauses.parameters,),
        arms=arms.one,
        sides=whole.sum_of_upstream,
        needs=("grad_beta",),
    )


def _of_centred(prefix: str, clauses: Clauses, by_group: _ByGroup) -> Iterator[Property]:
    """Yield what holds because a mean is taken off."""
    yield Property(
        id=f"{prefix}-shifted",
        title="A constant added to every value of the input leaves the output.",
        clauses=(clauses.transform,),
        arms=arms.shifted,
        sides=agree("output"),
        dyadic=True,
    )
    yield Property(
        id=f"{prefix}-sum-of-outputs",
        title="With gamma 1 and beta 0, the outputs that share statistics add up to zero.",
        clauses=(clauses.transform,),
        arms=_plain,
        sides=by_group.adds_up("output"),
    )
    yield Property(
        id=f"{prefix}-sum-of-gradients",
        title="The input gradients of values that share statistics add up to zero.",
        clauses=(clauses.gradient,),
        arms=arms.one,
        sides=by_group.adds_up("grad_input"),
        needs=("grad_input",),
    )
    yield Property(
        id=f"{prefix}-constant-upstream",
        title="A constant upstream gradient, with one gamma, gives no input gradient.",
        clauses=(clauses.gradient,),
        arms=_constant_upstream,
        sides=whole.no_gradient,
        needs=("grad_input",),
    )
    yield Property(
        id=f"{prefix}-equal-values",
        title="Samples whose values are all equal give beta.",
        clauses=(clauses.transform,),
        arms=_equal_values,
        sides=whole.is_beta,
    )
