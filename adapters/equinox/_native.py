"""Equinox: its batch norm layer as data, and its leaves."""

from __future__ import annotations

import operator
from typing import Any

import equinox as eqx
import jax

from conformance.protocol import Call, Configuration, Declared

#: Our name -> Equinox's name for the same leaf.
EQUINOX_NAMES = {"gamma": "weight", "beta": "bias"}


def supports_channels(configuration: Configuration) -> str | None:
    if configuration.feature_axes != (1,):
        return "within `vmap` an example has the shape (input_size, dim_1, ..., dim_N): the features are axis 1"
    if configuration.scale != configuration.center:
        return "`channelwise_affine` switches weight and bias together"
    return None


def call_ema(configuration: Configuration) -> Call:
    return Call(
        path="equinox.nn.BatchNorm",
        keywords={
            "input_size": configuration.feature_count,
            "axis_name": "batch",
            "eps": configuration.epsilon,
            "channelwise_affine": configuration.scale,
            "momentum": configuration.decay,
            "dtype": configuration.parameter_dtype,
            "mode": "ema",
        },
        function=True,
    )


def with_leaves(layer: Any, values: Any) -> Any:
    for ours, theirs in EQUINOX_NAMES.items():
        if ours in values:
            layer = eqx.tree_at(operator.attrgetter(theirs), layer, values[ours])
    return layer


def leaves(tree: Any) -> dict[str, Any]:
    """Gamma and beta of a layer, or of its gradients, where it has them."""
    values = {ours: getattr(tree, theirs, None) for ours, theirs in EQUINOX_NAMES.items()}
    return {name: value for name, value in values.items() if value is not None}


def over_batch(layer: Any, x: Any, stored: Any) -> Any:
    """The layer on every example of the batch."""
    return jax.vmap(layer, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(x, stored)


CALL = "equinox/nn/_batch_norm.py, BatchNorm.__call__: "
EMA = (
    Declared(
        field="update",
        value="first_batch",
        source="documentation",
        where="equinox.nn.BatchNorm: the batch statistics are used to fill in the running statistics until populated",
    ),
    Declared(
        field="normalizes_with",
        value="moving_after",
        source="source code",
        where=CALL + "in training too, mean and var are the running statistics just updated",
    ),
)
