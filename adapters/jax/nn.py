"""JAX: `jax.nn.standardize` by its two algorithms, times gamma plus beta."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import numpy as np

from conformance.protocol import Call, Configuration, Declared, Quantities
from conformance_adapters.jax._native import (
    adapter,
    begun_pure,
    infer_pure,
    parted,
    row,
    state_pure,
    supports_dtype,
    timed,
    train_pure,
    with_keywords,
)

PROCESSES = "jax"


def supports(configuration: Configuration) -> str | None:
    if configuration.parameter_dtype != configuration.dtype:
        return "the result has the dtype of `x`, and arithmetic between two dtypes promotes it to the wider"
    return supports_dtype(configuration)


def call(configuration: Configuration) -> Call:
    return Call(
        path="jax.nn.standardize",
        keywords={"axis": configuration.reduction_axes, "epsilon": configuration.epsilon},
        function=True,
    )


def call_stable(configuration: Configuration) -> Call:
    return with_keywords(call(configuration), algorithm="stable")


def start(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    spread = {name: np.expand_dims(value, configuration.reduction_axes) for name, value in state.items()}
    keywords = tuple(function.keywords.items())
    return begun_pure(apply, keywords, parted(spread), dict, configuration, mode, jax.devices(device)[0])


def apply(keywords: Any, parameters: Any, moving: Any, x: Any, training: bool) -> Any:
    """The output; in training the statistics are those of `x`."""
    shape = tuple(1 if axis in dict(keywords)["axis"] else size for axis, size in enumerate(x.shape))
    if any(value.shape != shape for value in parameters.values()):
        raise ValueError(f"gamma and beta do not fit an input of shape {x.shape}")
    statistics = {} if training else {"mean": moving["moving_mean"], "variance": moving["moving_variance"]}
    output = jax.nn.standardize(x, **dict(keywords), **statistics)
    if "gamma" in parameters:
        output = output * parameters["gamma"]
    return output + parameters["beta"] if "beta" in parameters else output, moving


CALLER_STATE = Declared(
    field="state",
    value="caller",
    source="documentation",
    where="jax.nn.standardize: optionally specify the mean and the variance used for standardization",
)
STANDARDIZE = row(
    name="jax.nn.standardize",
    profile=(CALLER_STATE,),
    supports=supports,
    call=call,
    start=start,
    state=state_pure,
    # No gradient step: the state is its caller's, who begins anew with it before a call, and gradients do not outlive that.
    steps={"train": train_pure, "infer": infer_pure},
    given=("moving_mean", "moving_variance"),
    timed=timed(train_pure, infer_pure),
    documentation="https://docs.jax.dev/en/latest/_autosummary/jax.nn.standardize.html",
)

ADAPTER = adapter("jax", {}, STANDARDIZE, replace(STANDARDIZE, name="jax.nn.standardize+stable", call=call_stable))
