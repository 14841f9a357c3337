"""The properties of layer, RMS, group and instance normalization: a row each, with its related cases and what must agree.

x, μ, q, ε, r, x̂, dx, γ and g are those of `sample_norm_sides`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from conformance.search.properties import arms, batch_norm_sides, sample_norm_arms, sample_norm_sides
from conformance.search.properties.identity import Property
from conformance.search.properties.sample_norm_groups import Groups
from conformance.search.properties.sample_norm_sides import ByGroup
from conformance.search.properties.sides import agree, bits


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


def of(operation: str, groups: Groups, *, centred: bool = True) -> tuple[Property, ...]:
    """Return the properties of an operation whose values share their statistics by those groups."""
    prefix, by_group = operation.replace("_", "-"), ByGroup(groups=groups, centred=centred)
    properties = [*_of_any(prefix, CLAUSES[operation], by_group)]
    if centred:
        properties += _of_centred(prefix, CLAUSES[operation], by_group)
    return tuple(properties)


def _of_any(prefix: str, clauses: Clauses, by_group: ByGroup) -> Iterator[Property]:
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
        arms=sample_norm_arms.without_beta,
        sides=sample_norm_sides.odd,
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
        sides=batch_norm_sides.exchanged_sides,
    )
    yield Property(
        id=f"{prefix}-exchanged-gradients",
        title="Features in the reverse order, with their parameters, give the same input gradients in that order.",
        clauses=(clauses.gradient,),
        arms=arms.exchanged,
        sides=sample_norm_sides.exchanged_gradients,
        needs=("grad_input",),
    )
    yield from _of_sums(prefix, clauses, by_group)
    yield Property(
        id=f"{prefix}-train-is-inference",
        title="Inference gives what training gave.",
        clauses=(clauses.inference,),
        arms=sample_norm_arms.both_passes,
        sides=sample_norm_sides.train_is_inference,
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
            arms=sample_norm_arms.reversed_samples,
            sides=sample_norm_sides.in_order(quantity),
            needs=(quantity,),
        )
        yield Property(
            id=f"{prefix}-isolated-{words.replace(' ', '-')}",
            title=f"Other values in the other samples leave the {words} of a sample.",
            clauses=(clauses.groups,),
            arms=sample_norm_arms.other_samples,
            sides=sample_norm_sides.of_first(quantity),
            needs=(quantity,),
        )
    yield Property(
        id=f"{prefix}-beside-others",
        title="Inference on a sample does not depend on the samples beside it.",
        clauses=(clauses.inference,),
        arms=arms.beside_others,
        sides=batch_norm_sides.repeated_output,
    )
    for parameter in ("gamma", "beta"):
        yield Property(
            id=f"{prefix}-repeated-{parameter}",
            title=f"Every sample twice gives twice the gradient of {parameter}.",
            clauses=(clauses.parameters,),
            arms=arms.repeated,
            sides=sample_norm_sides.twice(f"grad_{parameter}"),
            needs=(f"grad_{parameter}",),
        )
    yield Property(
        id=f"{prefix}-reversed-gamma",
        title="The samples in the reverse order give the same gradient of gamma.",
        clauses=(clauses.parameters,),
        arms=sample_norm_arms.reversed_samples,
        sides=agree("grad_gamma"),
        needs=("grad_gamma",),
    )


def _of_sums(prefix: str, clauses: Clauses, by_group: ByGroup) -> Iterator[Property]:
    """Yield what holds of sums over a group or the batch."""
    yield Property(
        id=f"{prefix}-square-of-outputs",
        title="With gamma 1 and beta 0, the outputs that share statistics have the mean square q/(q + ε).",
        clauses=(clauses.transform,),
        arms=sample_norm_arms.plain,
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
        sides=batch_norm_sides.gamma_of_outputs,
        needs=("grad_gamma", "output"),
    )
    yield Property(
        id=f"{prefix}-sum-of-upstream",
        title="The gradient of beta is the sum of the upstream gradient.",
        clauses=(clauses.parameters,),
        arms=arms.one,
        sides=batch_norm_sides.sum_of_upstream,
        needs=("grad_beta",),
    )


def _of_centred(prefix: str, clauses: Clauses, by_group: ByGroup) -> Iterator[Property]:
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
        arms=sample_norm_arms.plain,
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
        arms=sample_norm_arms.constant_upstream,
        sides=batch_norm_sides.no_gradient,
        needs=("grad_input",),
    )
    yield Property(
        id=f"{prefix}-equal-values",
        title="Samples whose values are all equal give beta.",
        clauses=(clauses.transform,),
        arms=sample_norm_arms.equal_values,
        sides=batch_norm_sides.is_beta,
    )
