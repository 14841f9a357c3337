"""The adapter that `welford_norm` announces in the entry point group `conformance.adapters`."""

from __future__ import annotations

from typing import Any

import welford_norm
from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities

PROCESSES: list[dict[str, Any]] = [{"name": "welford-norm", "group": None, "environment": {}}]

#: Our name -> the library's name for the same array.
NAMES = {"gamma": "gain", "beta": "shift", "moving_mean": "mean", "moving_variance": "variance"}


def supports(configuration: Configuration) -> str | None:
    """Tables alone, with all four arrays of one dtype."""
    if configuration.rank != 2 or configuration.feature_axes != (1,):
        return "normalizes rows, shape (N, C), column by column"
    if configuration.parameter_dtype != configuration.dtype:
        return "`dtype` is that of the rows and of everything kept"
    if not (configuration.scale and configuration.center):
        return "gain and shift are always there"
    return None


def call(configuration: Configuration) -> Call:
    """The constructor, with every number that the configuration has."""
    return Call(
        path="welford_norm.WelfordNorm",
        keywords={
            "columns": configuration.feature_count,
            "keep": configuration.decay,
            "eps": configuration.epsilon,
            "dtype": configuration.dtype,
        },
    )


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:  # noqa: ARG001
    """Put the state in; eager on the CPU, there is nothing to prepare."""
    for ours, value in state.items():
        setattr(layer, NAMES[ours], value.copy())
    return layer


def state(layer: Any) -> Quantities:
    """Read the state back."""
    return {ours: getattr(layer, theirs).copy() for ours, theirs in NAMES.items()}


def train(layer: Any, x: Any, upstream: Any) -> Quantities:  # noqa: ARG001 - there are no gradients
    """One forward pass in training."""
    return {"output": layer.fit(x)}


def infer(layer: Any, x: Any, upstream: Any) -> Quantities:  # noqa: ARG001 - there are no gradients
    """One forward pass in inference."""
    return {"output": layer.apply(x)}


ADAPTER = Adapter(
    library="welford_norm",
    versions={"welford_norm": welford_norm.__version__},
    implementations=(
        Implementation(
            name="welford_norm.WelfordNorm",
            op="batch_norm",
            profile=(),
            modes=("eager",),
            dtypes=("float32", "float64"),
            supports=supports,
            call=call,
            start=start,
            state=state,
            steps={"train": train, "infer": infer},
            lacks=("grad_input", "grad_gamma", "grad_beta"),
        ),
    ),
)
