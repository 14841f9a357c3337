"""Keras 3: `keras.layers.LayerNormalization`, `RMSNormalization` and `GroupNormalization`, on the backend of the process."""

from __future__ import annotations

import functools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import keras

from conformance.protocol import Call, Configuration, Quantities
from conformance_adapters.keras._backend import BACKEND, LACKS, differentiate
from conformance_adapters.keras._native import (
    DOCUMENTATION,
    LAYER,
    adapter,
    array,
    built,
    infer_layer,
    policy,
    prepare,
    pulled,
    reload_layer,
    sgd,
    supports_policy,
    train_layer,
)
from conformance_adapters.tensorflow._process import once

PROCESSES = "keras"

#: By operation, our name -> the layer's name for the same variable.
VARIABLES = {"layer_norm": {"gamma": "gamma", "beta": "beta"}, "rms_norm": {"gamma": "scale"}}
VARIABLES |= dict.fromkeys(("group_norm", "instance_norm"), VARIABLES["layer_norm"])


def supports_rms(configuration: Configuration) -> str | None:
    if not configuration.scale or configuration.center:
        return "there is always a scale, and never an offset"
    if any(configuration.options.values()):
        return "the scale multiplies as it is, and epsilon is inside the root"
    return supports_policy(configuration)


def supports_group(configuration: Configuration) -> str | None:
    if len(configuration.feature_axes) != 1:
        return "`axis` is an integer"
    if configuration.options.get("tracked"):
        return "there are no moving values"
    return supports_policy(configuration)


def call_rms(configuration: Configuration) -> Call:
    axes = configuration.feature_axes
    return Call(
        path="keras.layers.RMSNormalization",
        keywords={
            "axis": axes[0] if len(axes) == 1 else list(axes),
            "epsilon": configuration.epsilon,
            "dtype": policy(configuration),
        },
    )


def call_layer_norm(configuration: Configuration) -> Call:
    keywords = {"center": configuration.center, "scale": configuration.scale}
    return Call(path="keras.layers.LayerNormalization", keywords={**call_rms(configuration).keywords, **keywords})


def call_group(configuration: Configuration) -> Call:
    """With groups of -1 the layer is an instance normalization, as its page says."""
    keywords = {"groups": configuration.options.get("groups", -1), **call_layer_norm(configuration).keywords}
    return Call(path="keras.layers.GroupNormalization", keywords=keywords)


def forward(layer: Any, x: Any) -> Any:
    return {"output": layer(x)}


def learned_rows(layer: Any) -> Any:
    """Gamma and beta under the names of their gradients."""
    return {f"grad_{'gamma' if v.name == 'scale' else v.name}": v.value for v in layer.trainable_variables}


def differentiate_rows(layer: Any, x: Any, upstream: Any, training: bool) -> Any:
    return differentiate(functools.partial(forward, layer), x, upstream, learned_rows(layer))


def differentiate_pure_rows(layer: Any, trainable: Any, others: Any, x: Any, upstream: Any, training: bool) -> Any:
    """On JAX a layer is differentiated as a pure function of its variables."""

    def call(x: Any, trainable: Any) -> Any:
        return layer.stateless_call(trainable, others, x)

    quantities, moved = pulled(layer, call, x, upstream, trainable)
    return {"grad_gamma" if name == "grad_scale" else name: value for name, value in quantities.items()}, moved


def prepare_rows(layer: Any, mode: str) -> Any:
    return prepare(layer, mode, differentiate_rows, differentiate_pure_rows)


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    make = functools.partial(built, layer, configuration.shape, mode, prepare_rows)
    names = VARIABLES[configuration.op]
    with keras.device(device):
        layer, step = once(make, type(layer), configuration, mode, device)
        for name, value in state.items():
            getattr(layer, names[name]).assign(value)
    return SimpleNamespace(
        layer=layer,
        configuration=configuration,
        names=names,
        mode=mode,
        device=device,
        prepare=prepare_rows,
        step=step,
        gradients={},
    )


def state(live: Any) -> Quantities:
    variables = {ours: getattr(live.layer, theirs, None) for ours, theirs in live.names.items()}
    return {name: array(variable) for name, variable in variables.items() if variable is not None}


def sgd_scale(live: Any, learning_rate: float) -> None:
    (variable,) = live.layer.trainable_variables
    keras.optimizers.SGD(learning_rate).apply([live.gradients["grad_gamma"]], [variable])


ROW_STEPS = {"train": train_layer, "infer": infer_layer, "reload": reload_layer}
ROWS = replace(
    LAYER,
    name=f"keras.layers.LayerNormalization+{BACKEND}",
    op="layer_norm",
    profile=(),
    supports=supports_policy,
    call=call_layer_norm,
    start=start,
    state=state,
    steps=ROW_STEPS if LACKS else {**ROW_STEPS, "sgd": sgd},
    documentation=DOCUMENTATION + "layers/normalization_layers/layer_normalization/",
    names={"gamma": "*/gamma", "beta": "*/beta"},
)
GROUP = replace(
    ROWS,
    name=f"keras.layers.GroupNormalization+{BACKEND}",
    op="group_norm",
    supports=supports_group,
    call=call_group,
    documentation=DOCUMENTATION + "layers/normalization_layers/group_normalization/",
)

ADAPTER = adapter(
    ROWS,
    replace(
        ROWS,
        name=f"keras.layers.RMSNormalization+{BACKEND}",
        op="rms_norm",
        supports=supports_rms,
        call=call_rms,
        steps=ROW_STEPS if LACKS else {**ROW_STEPS, "sgd": sgd_scale},
        documentation=DOCUMENTATION + "layers/normalization_layers/rms_normalization/",
        names={"gamma": "*/scale"},
    ),
    GROUP,
    replace(GROUP, name=f"keras.layers.GroupNormalization+instances+{BACKEND}", op="instance_norm"),
)
