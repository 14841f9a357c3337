"""Normalization by statistics of each sample: what layer, RMS, group and instance normalization have in common.

Nothing is kept from step to step but gamma and beta, and inference is what training is.
"""

from __future__ import annotations

from collections.abc import Mapping

from conformance.dialect import CANONICAL
from conformance.operations.batch_norm import QUANTITIES as OF_BATCH
from conformance.operations.expected import Expected
from conformance.operations.operation import Operation, Quantity, Traffic
from conformance.operations.rational import Passes
from conformance.operations.sample_norm import diagnosis, rational
from conformance.operations.sample_norm.expected import performed
from conformance.operations.sample_norm.groups import Kind, Members
from conformance.operations.sample_norm.terms import terms
from conformance.operations.situation import Situation
from conformance.precision import Precision

_NAMES = ("gamma", "beta", "output", "grad_input", "grad_gamma", "grad_beta")
QUANTITIES: Mapping[str, Quantity] = {name: OF_BATCH[name] for name in _NAMES}


def operation(
    name: str, kind: Kind, *, formula: str, groups: rational.Groups, elsewhere: Mapping[str, Members]
) -> Operation:
    """Return the operation that normalizes each of those groups by itself.

    `groups` has them for the second reference; `elsewhere` has the groups it may be wrongly normalized over, by their words.
    """
    exactly = rational.performed(groups, kind.centred)

    def step(situation: Situation, worked: Precision) -> dict[str, Expected]:
        return performed(kind, situation, worked)

    return Operation(
        name=name,
        dialect=CANONICAL,
        ladder="",
        quantities=QUANTITIES,
        initial={"gamma": 1.0, "beta": 0.0},
        formulas={
            "train": formula,
            "infer": formula,
            "sgd": "γ ← γ - η·dγ,  β ← β - η·dβ",
            "reload": "the state after loading = the state before saving, bit for bit",
            "freeze": "the state stays as it is",
            "unfreeze": "the state stays as it is",
        },
        train=step,
        infer=step,
        rational=Passes(train=exactly, infer=exactly),
        observers={},
        hypotheses=lambda configuration, dialect: diagnosis.hypotheses(kind, elsewhere, configuration, dialect),
        train_terms=lambda situation: terms(kind, situation),
        infer_terms=lambda situation: terms(kind, situation),
        # Forward: x in, y out, x a second time for its statistics. Backward: x and g in, dx out, x and g a second time.
        traffic={"infer": Traffic(2, 3), "train_forward": Traffic(2, 3), "train": Traffic(2 + 3, 3 + 5)},
    )
