"""A correct batch normalization, and the same with one fault each: what the suite must see.

`planted.nothing` computes in float32 (float64 for float64 input) and is healthy. Every other implementation
replaces one part of it, under a condition or always; the modules of `planting` list the faults by what is wrong.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

# A worker's path has no tests, or another checkout's.
sys.path.insert(0, str(Path(__file__).parents[2]))

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities
from tests.faults.planting import (
    conditions,
    edges,
    gradients,
    inputs,
    memory,
    moving,
    normalizing,
    parameters,
    statistics,
    steps,
)
from tests.faults.planting.layer import BatchNorm, Fault, Layer, freeze, infer, reload, sgd, train, unfreeze

PROCESSES: list[dict[str, Any]] = [{"name": "planted", "group": None, "environment": {}}]

PLANTED = tuple(
    fault
    for module in (statistics, moving, normalizing, parameters, memory, gradients, edges, steps, conditions, inputs)
    for fault in module.FAULTS
)
NOTHING = Fault("nothing", "Nothing is wrong.", None)


def refusing(l: Layer, x: Any) -> Any:
    raise ValueError("not today")


#: Gives no number that could be wrong, and so is none of the faults.
REFUSING = Fault("everything_refused", "Every input is refused.", None, {"fitting": refusing})


def call(configuration: Configuration) -> Call:
    return Call(path="BatchNorm", keywords={"decay": configuration.decay, "epsilon": configuration.epsilon})


def implementation(fault: Fault) -> Implementation:
    def start(native: BatchNorm, configuration: Configuration, state: Quantities, mode: str, device: str) -> Layer:
        return Layer(native, configuration, state, fault)

    return Implementation(
        name=f"planted.{fault.name}",
        op="batch_norm",
        profile=(),
        modes=("eager",),
        dtypes=("float32", "float64", "float16", "bfloat16"),
        supports=lambda configuration: None,
        given=("gamma", "beta", "moving_mean", "moving_variance"),
        call=call,
        start=start,
        state=lambda live: dict(live.state),
        steps={"train": train, "infer": infer, "reload": reload, "freeze": freeze, "unfreeze": unfreeze, "sgd": sgd},
    )


ADAPTER = Adapter(
    library="planted",
    versions={"numpy": np.__version__},
    implementations=tuple(implementation(fault) for fault in (NOTHING, REFUSING, *PLANTED)),
)
