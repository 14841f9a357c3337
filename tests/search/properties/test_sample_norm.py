"""Every property of the operations by sample holds of a healthy layer, and is broken by a planted fault."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import pytest

from conformance.outcome import Produced
from conformance.planning.plan import Cell
from conformance.search.bench import Bench
from conformance.search.properties import PROPERTIES
from conformance.search.properties.check import Checked, check_one
from conformance.search.properties.identity import Array, Property
from conformance.spec.case import Case
from tests.cells import cell
from tests.faults.by_sample import FAULTS, Parts, produced

OPERATIONS = ("layer_norm", "rms_norm", "group_norm", "instance_norm")


def _limited(array: Array) -> Array:
    return np.asarray(np.minimum(array, array.dtype.type(0.01)))


def _first_doubled(array: Array) -> Array:
    return np.concatenate([2 * array[:1], array[1:]])


#: Parts of a layer that are faulty, beside those of `FAULTS`.
PARTS: dict[str, Parts] = {
    "gamma-without-sign": {"gain": lambda layer, gamma, beta: (np.abs(gamma), beta)},
    "gamma-of-the-others": {"grad_gamma": lambda layer, g, n, x, d: (g * n)[1:].sum(axis=0)},
    "pull-of-the-first": {"level": lambda layer, pulled, centred: pulled[:1]},
    "beta-averaged": {"grad_beta": lambda layer, g: g.mean(axis=0)},
}
#: By name, the step, the quantity, and what becomes of it.
SPOILED: dict[str, tuple[str, str, Callable[[Array], Array]]] = {
    "output-limited": ("train", "output", _limited),
    "inference-limited": ("infer", "output", _limited),
    "gradient-limited": ("train", "grad_input", _limited),
    "gamma-gradient-limited": ("train", "grad_gamma", _limited),
    "first-gradient-doubled": ("train", "grad_input", _first_doubled),
    "first-output-doubled": ("train", "output", _first_doubled),
}
#: By the end of a property's id, a fault that breaks it; nothing is planted that gives other bits the second time.
BREAKS = {
    "power-of-two": "epsilon-fixed",
    "negated": "gamma-without-sign",
    "odd": "output-limited",
    "doubled-parameters": "gamma-ignored",
    "doubled-upstream-input": "gradient-limited",
    "doubled-upstream-gamma": "gamma-gradient-limited",
    "reversed-outputs": "first-output-doubled",
    "reversed-input-gradients": "first-gradient-doubled",
    "isolated-outputs": "whole",
    "isolated-input-gradients": "whole",
    "exchanged": "gamma-rolled",
    "exchanged-gradients": "gamma-rolled",
    "square-of-outputs": "epsilon-twice",
    "euler": "variance-term",
    "symmetric": "pull-of-the-first",
    "gamma-of-outputs": "gamma-of-x",
    "sum-of-upstream": "beta-averaged",
    "repeated-gamma": "gamma-averaged",
    "repeated-beta": "beta-averaged",
    "reversed-gamma": "gamma-of-the-others",
    "beside-others": "whole",
    "train-is-inference": "inference-limited",
    "shifted": "about-zero",
    "sum-of-outputs": "uncentred",
    "sum-of-gradients": "mean-term",
    "constant-upstream": "mean-term",
    "equal-values": "uncentred",
}


@dataclass(frozen=True, kw_only=True)
class InProcess:
    """A bench of one made-up implementation, which performs its cases here."""

    fault: str | None
    dtypes: tuple[str, ...] = ("float32", "float64")

    def performed(self, case: Case) -> Iterator[tuple[Cell, list[Produced]]]:
        """Yield the cell of a case, with what the implementation gave."""
        known = {fault.name: fault.parts for fault in FAULTS[case.op]} | PARTS
        outcomes = list(produced(case, known.get(self.fault or "", {})))
        if self.fault in SPOILED:
            kind, quantity, spoil = SPOILED[self.fault]
            for number, step in enumerate(case.performed, 1):
                values = outcomes[number].quantities
                if step.step == kind and quantity in values:
                    changed = {**values, quantity: spoil(values[quantity])}
                    outcomes[number] = replace(outcomes[number], quantities=changed)
        yield cell(case, op=case.op), outcomes


@functools.cache
def checked(operation: str, identity: Property, fault: str | None) -> Checked:
    bench = cast("Bench", InProcess(fault=fault))
    (one,) = check_one(bench, operation, identity, 4)
    return one


EVERY = [
    pytest.param(operation, identity, id=identity.id)
    for operation in OPERATIONS
    for identity in PROPERTIES[operation].properties
]


@pytest.mark.parametrize(("operation", "identity"), EVERY)
def test_a_property_holds_of_the_healthy_layer(operation: str, identity: Property) -> None:
    assert checked(operation, identity, None).score <= 1


@pytest.mark.parametrize(
    ("operation", "identity"), [one for one in EVERY if not str(one.id).endswith("-deterministic")]
)
def test_a_fault_breaks_a_property(operation: str, identity: Property) -> None:
    fault = BREAKS[identity.id.removeprefix(f"{operation.replace('_', '-')}-")]
    assert not checked(operation, identity, fault).holds


@pytest.mark.parametrize("operation", OPERATIONS)
def test_at_least_twenty_properties_are_checked_of_each_operation(operation: str) -> None:
    assert len(PROPERTIES[operation].properties) >= 20


def test_ids_are_unique_over_the_operations() -> None:
    ids = [identity.id for family in PROPERTIES.values() for identity in family.properties]
    assert len(set(ids)) == len(ids)
