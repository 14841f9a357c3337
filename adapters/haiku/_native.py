"""Haiku: its batch norm module as data, and its trees of parameters and averages."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from conformance.protocol import Call, Configuration, Declared, Quantities

#: Our name -> Haiku's names of the module and of the value.
HAIKU_NAMES = {
    "gamma": ("batch_norm", "scale"),
    "beta": ("batch_norm", "offset"),
    "moving_mean": ("batch_norm/~/mean_ema", "average"),
    "moving_variance": ("batch_norm/~/var_ema", "average"),
}


def call_haiku(configuration: Configuration) -> Call:
    """The constructor, which runs within `haiku.transform_with_state`."""
    return Call(
        path="haiku.BatchNorm",
        keywords={
            "create_scale": configuration.scale,
            "create_offset": configuration.center,
            "decay_rate": configuration.decay,
            "eps": configuration.epsilon,
            "axis": configuration.reduction_axes,
        },
        function=True,
    )


def filled(shaped: Any, names: Any, state: Quantities) -> Any:
    """Parameters and averages of those shapes with the state in them; what else they have is zero."""
    parameters, averages = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shaped)
    for ours, (module, theirs) in names.items():
        if ours in state:
            tree = averages if ours.startswith("moving") else parameters
            tree[module][theirs] = state[ours].reshape(tree[module][theirs].shape)
    return parameters, averages


def apply_haiku(pure: Any, parameters: Any, averages: Any, x: Any, training: bool) -> Any:
    return pure.apply(parameters, averages, None, x, training)


def read_haiku(names: Any, tree: Any) -> dict[str, Any]:
    """The values of a tree under our names."""
    return {ours: tree[module][theirs] for ours, (module, theirs) in names.items() if theirs in tree.get(module, {})}


DEBIASED = Declared(
    field="update",
    value="zero_debiased",
    source="documentation",
    where="haiku.ExponentialMovingAverage: This uses the Adam debiasing procedure (zero_debias=True by default)",
)
