"""The properties of mean centering: y = x - μ, dx = g - Σg/m; B is the bound of a quantity as in `batch_norm_sides.py`."""

from __future__ import annotations

from conformance.search.properties import arms, holding
from conformance.search.properties.identity import Evidence, Ground, Property, Sides, near, same
from conformance.search.properties.sides import adds_up, agree, bits, closed_form, permuted_bits


def _scaled_bits(ground: Ground, evidence: Evidence) -> Sides:
    return same("output", evidence[0][0].got["output"] * 2.0**ground.power, evidence[1][0].got["output"])


def _negated_bits(_ground: Ground, evidence: Evidence) -> Sides:
    # Adding 0 makes the zeros of both sides alike.
    return same("output", 0 - evidence[0][0].got["output"], 0 + evidence[1][0].got["output"])


def _linear(_ground: Ground, evidence: Evidence) -> Sides:
    a, b, both = (arm[0] for arm in evidence)
    allowed = a.bound["output"] + b.bound["output"] + both.bound["output"]
    return near("output", a.got["output"] + b.got["output"], both.got["output"], allowed)


PROPERTIES = (
    Property(
        id="centering-sum-of-outputs",
        title="The centred values of a feature add up to zero.",
        clauses=("20.1",),
        arms=arms.one,
        sides=adds_up("output"),
        holds=holding.of_batch,
    ),
    Property(
        id="centering-sum-of-gradients",
        title="The input gradients of a centred feature add up to zero.",
        clauses=("20.5",),
        arms=arms.one,
        sides=adds_up("grad_input"),
        needs=("grad_input",),
        holds=holding.of_batch,
    ),
    Property(
        id="centering-power-of-two",
        title="Times 2^k, the input gives exactly 2^k times the centred values.",
        clauses=("20.1",),
        arms=arms.scaled_alone,
        sides=_scaled_bits,
        holds=holding.of_batch,
    ),
    Property(
        id="centering-negated",
        title="The negated input gives exactly the negated centred values.",
        clauses=("20.1",),
        arms=arms.negated_alone,
        sides=_negated_bits,
        holds=holding.of_batch,
    ),
    Property(
        id="centering-shifted",
        title="A constant added to every value of the input leaves the centred values.",
        clauses=("20.1",),
        arms=arms.shifted,
        sides=agree("output"),
        dyadic=True,
        holds=holding.of_batch,
    ),
    Property(
        id="centering-idempotent",
        title="Centred values are centred to themselves.",
        clauses=("20.1",),
        arms=arms.centred,
        sides=agree("output"),
        dyadic=True,
        holds=holding.of_batch,
    ),
    Property(
        id="centering-linear",
        title="Centering is linear: the sum of two inputs gives the sum of their centred values.",
        clauses=("20.1",),
        arms=arms.added,
        sides=_linear,
        dyadic=True,
        holds=holding.of_batch,
    ),
    Property(
        id="centering-permuted-exactly",
        title="On exact data, another order of the positions gives the same centred bits in that order.",
        clauses=("20.2",),
        arms=arms.permuted,
        sides=permuted_bits,
        dyadic=True,
    ),
    Property(
        id="centering-closed-form",
        title="Three identical batches leave a³ of the old moving mean of a centering and 1 - a³ of the batch's.",
        clauses=("20.3",),
        arms=arms.identical_batches,
        sides=closed_form,
        needs=("moving_mean",),
        holds=holding.exponential,
    ),
    Property(
        id="centering-deterministic",
        title="The same numbers give the same centred bits.",
        clauses=("20.8",),
        arms=arms.twice,
        sides=bits("output"),
    ),
)
