"""The properties of mean centering: y = x - μ, dx = g - Σg/m; B is the bound of a quantity as in `batch_norm.py`."""

from __future__ import annotations

import numpy as np

from conformance.dialect import Dialect
from conformance.search.properties.identity import Arm, Evidence, Ground, Property, Sides, near, same


def _of_batch(dialect: Dialect) -> bool:
    return dialect.normalizes_with == "batch"


def _exponential(dialect: Dialect) -> bool:
    return dialect.update == "exponential" and dialect.state == "layer"


def _one(ground: Ground) -> tuple[Arm, ...]:
    return (ground.arm(ground.train()),)


def _adds_up(quantity: str, evidence: Evidence) -> Sides:
    seen = evidence[0][0]
    total = seen.got[quantity].sum(axis=0)
    return near(quantity, total, np.zeros_like(total), seen.bound[quantity].sum(axis=0))


def _scaled(ground: Ground) -> tuple[Arm, ...]:
    return ground.arm(ground.train()), ground.arm(ground.train(ground.x * 2.0**ground.power))


def _scaled_bits(ground: Ground, evidence: Evidence) -> Sides:
    return same("output", evidence[0][0].got["output"] * 2.0**ground.power, evidence[1][0].got["output"])


def _negated(ground: Ground) -> tuple[Arm, ...]:
    return ground.arm(ground.train()), ground.arm(ground.train(-ground.x))


def _negated_bits(_ground: Ground, evidence: Evidence) -> Sides:
    # Adding 0 makes the zeros of both sides alike.
    return same("output", 0 - evidence[0][0].got["output"], 0 + evidence[1][0].got["output"])


def _shifted(ground: Ground) -> tuple[Arm, ...]:
    return ground.arm(ground.train()), ground.arm(ground.train(ground.x + 64))


def _agree(_ground: Ground, evidence: Evidence) -> Sides:
    first, second = evidence[0][0], evidence[1][0]
    return near("output", first.got["output"], second.got["output"], first.bound["output"] + second.bound["output"])


def _centred(ground: Ground) -> tuple[Arm, ...]:
    """Center the data, and what comes out of that, which the data give exactly."""
    return ground.arm(ground.train()), ground.arm(ground.train(ground.x - ground.x.mean(axis=0)))


def _added(ground: Ground) -> tuple[Arm, ...]:
    return tuple(ground.arm(ground.train(x)) for x in (ground.x, ground.other, ground.x + ground.other))


def _linear(_ground: Ground, evidence: Evidence) -> Sides:
    a, b, both = (arm[0] for arm in evidence)
    allowed = a.bound["output"] + b.bound["output"] + both.bound["output"]
    return near("output", a.got["output"] + b.got["output"], both.got["output"], allowed)


def _permuted(ground: Ground) -> tuple[Arm, ...]:
    return ground.arm(ground.train()), ground.arm(ground.train(ground.x[ground.order], ground.upstream[ground.order]))


def _permuted_bits(ground: Ground, evidence: Evidence) -> Sides:
    return same("output", evidence[0][0].got["output"][ground.order], evidence[1][0].got["output"])


def _identical(ground: Ground) -> tuple[Arm, ...]:
    return (ground.arm(*[ground.train()] * 3),)


def _closed_form(ground: Ground, evidence: Evidence) -> Sides:
    mean, a = ground.x.astype(np.longdouble).mean(axis=0), np.longdouble(ground.decay)
    allowed = np.zeros_like(mean)
    for seen in evidence[0]:
        allowed = a * allowed + seen.bound["moving_mean"]
    right = a**3 * ground.state["moving_mean"] + (1 - a**3) * mean
    return near("moving_mean", evidence[0][2].got["moving_mean"], right, allowed)


def _twice(ground: Ground) -> tuple[Arm, ...]:
    return _one(ground) * 2


PROPERTIES = (
    Property(
        id="centering-sum-of-outputs",
        title="The centred values of a feature add up to zero.",
        clauses=("20.1",),
        arms=_one,
        sides=lambda _, evidence: _adds_up("output", evidence),
        holds=_of_batch,
    ),
    Property(
        id="centering-sum-of-gradients",
        title="The input gradients of a centred feature add up to zero.",
        clauses=("20.5",),
        arms=_one,
        sides=lambda _, evidence: _adds_up("grad_input", evidence),
        needs=("grad_input",),
        holds=_of_batch,
    ),
    Property(
        id="centering-power-of-two",
        title="Times 2^k, the input gives exactly 2^k times the centred values.",
        clauses=("20.1",),
        arms=_scaled,
        sides=_scaled_bits,
        holds=_of_batch,
    ),
    Property(
        id="centering-negated",
        title="The negated input gives exactly the negated centred values.",
        clauses=("20.1",),
        arms=_negated,
        sides=_negated_bits,
        holds=_of_batch,
    ),
    Property(
        id="centering-shifted",
        title="A constant added to every value of the input leaves the centred values.",
        clauses=("20.1",),
        arms=_shifted,
        sides=_agree,
        dyadic=True,
        holds=_of_batch,
    ),
    Property(
        id="centering-idempotent",
        title="Centred values are centred to themselves.",
        clauses=("20.1",),
        arms=_centred,
        sides=_agree,
        dyadic=True,
        holds=_of_batch,
    ),
    Property(
        id="centering-linear",
        title="Centering is linear: the sum of two inputs gives the sum of their centred values.",
        clauses=("20.1",),
        arms=_added,
        sides=_linear,
        dyadic=True,
        holds=_of_batch,
    ),
    Property(
        id="centering-permuted-exactly",
        title="On exact data, another order of the positions gives the same centred bits in that order.",
        clauses=("20.2",),
        arms=_permuted,
        sides=_permuted_bits,
        dyadic=True,
    ),
    Property(
        id="centering-closed-form",
        title="Three identical batches leave a³ of the old moving mean of a centering and 1 - a³ of the batch's.",
        clauses=("20.3",),
        arms=_identical,
        sides=_closed_form,
        needs=("moving_mean",),
        holds=_exponential,
    ),
    Property(
        id="centering-deterministic",
        title="The same numbers give the same centred bits.",
        clauses=("20.8",),
        arms=_twice,
        sides=lambda _, evidence: same("output", evidence[0][0].got["output"], evidence[1][0].got["output"]),
    ),
)
