"""Keras 3: its tensors, its batch norm layer as data, a layer's passes, and how a layer is saved, frozen and trained."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities
from conformance_adapters.keras._backend import (
    BACKEND,
    DTYPES,
    LACKS,
    MODES,
    clock,
    compilations,
    compiled,
    copy,
    devices,
    differentiate,
    differentiate_jax,
    pool,
    settings,
    versions,
    wait,
)
from conformance_adapters.tensorflow._process import once

#: Keras has our names for the variables of the layer, but for those of batch renormalization's deviations.
NAMES = {
    **{name: name for name in ("gamma", "beta", "moving_mean", "moving_variance", "renorm_mean")},
    "moving_deviation": "moving_stddev",
    "renorm_deviation": "renorm_stddev",
}


def tensor(value: Any) -> Any:
    """A tensor of the array's dtype, which some backends would else change."""
    return None if value is None else keras.ops.convert_to_tensor(value, dtype=value.dtype.name)


def array(value: Any) -> Any:
    return keras.ops.convert_to_numpy(value)


def supports_layer(configuration: Configuration) -> str | None:
    if len(configuration.feature_axes) != 1:
        return "`axis` is an integer, the axis that should be normalized"
    return supports_policy(configuration)


def supports_policy(configuration: Configuration) -> str | None:
    if policy(configuration) is None:
        return "the dtype policies are one dtype, or mixed_float16 and mixed_bfloat16 with float32 variables"
    return None


def policy(configuration: Configuration) -> str | None:
    """The name of the dtype policy that computes in one dtype and stores in the other."""
    if configuration.parameter_dtype == configuration.dtype:
        return configuration.dtype
    half = configuration.dtype in ("float16", "bfloat16")
    return f"mixed_{configuration.dtype}" if half and configuration.parameter_dtype == "float32" else None


def call_layer(configuration: Configuration, **further: Any) -> Call:
    return Call(
        path="keras.layers.BatchNormalization",
        keywords={
            "axis": configuration.feature_axes[0],
            "momentum": configuration.decay,
            "epsilon": configuration.epsilon,
            "center": configuration.center,
            "scale": configuration.scale,
            "dtype": policy(configuration),
            **further,
        },
    )


def call_centering(configuration: Configuration) -> Call:
    return Call(
        path="Centering",
        keywords={"axes": configuration.reduction_axes, "decay": configuration.decay, "dtype": policy(configuration)},
    )


def forward_layer(layer: Any, training: bool, x: Any) -> Any:
    return {"output": layer(x, training=training)}


def differentiate_layer(layer: Any, x: Any, upstream: Any, training: bool) -> Any:
    return differentiate(functools.partial(forward_layer, layer, training), x, upstream, learned(layer))


def learned(layer: Any) -> Any:
    """Gamma and beta while they are trainable."""
    return {f"grad_{variable.name}": variable.value for variable in layer.trainable_variables}


def differentiate_pure(layer: Any, trainable: Any, others: Any, x: Any, upstream: Any, training: bool) -> Any:
    """On JAX a layer is differentiated as a pure function of its variables, and tells what the others become."""

    def forward(x: Any, trainable: Any) -> Any:
        return layer.stateless_call(trainable, others, x, training=training)

    return pulled(layer, forward, x, upstream, trainable)


def pulled(layer: Any, forward: Any, x: Any, upstream: Any, trainable: Any) -> Any:
    quantities, gradients, moved = differentiate_jax(forward, x, upstream, trainable)
    # Without an upstream gradient there are none.
    return {**quantities, **dict(zip(learned(layer), gradients, strict=False))}, moved


class Stateless:
    """A layer on JAX: calls a pure function of its variables, and assigns what they become."""

    def __init__(self, layer: Any, pure: Any, mode: str) -> None:
        self.layer, self.pure = layer, compiled(pure, mode, "training")

    def __call__(self, *arrays: Any, training: bool) -> Any:
        trainable, others = values(self.layer)
        quantities, moved = self.pure(trainable, others, *arrays, training=training)
        assign(self.layer, moved)
        return quantities


def values(layer: Any) -> Any:
    """The values of the variables that are trained, and those of the others."""
    trainable = [variable.value for variable in layer.trainable_variables]
    return trainable, [variable.value for variable in layer.non_trainable_variables]


def assign(layer: Any, moved: Any) -> None:
    for variable, value in zip(layer.non_trainable_variables, moved, strict=True):
        variable.assign(value)


def prepare(layer: Any, mode: str, step: Any, pure: Any) -> Any:
    """The step of the layer in the way of the backend: (arrays, training) -> quantities."""
    if BACKEND == "jax":
        return Stateless(layer, functools.partial(pure, layer), mode)
    return compiled(functools.partial(step, layer), mode)


def prepare_layer(layer: Any, mode: str) -> Any:
    return prepare(layer, mode, differentiate_layer, differentiate_pure)


def start_layer(
    layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str, prepare: Any = prepare_layer
) -> Any:
    make = functools.partial(built, layer, configuration.shape, mode, prepare)
    with keras.device(device):
        layer, step = once(make, prepare, configuration, mode, device)
        layer.trainable = True
        for name, value in state.items():
            getattr(layer, NAMES[name]).assign(value)
    return SimpleNamespace(
        layer=layer, configuration=configuration, mode=mode, device=device, prepare=prepare, step=step, gradients={}
    )


def built(layer: Any, shape: Any, mode: str, prepare: Any) -> Any:
    layer.build(shape)
    return layer, prepare(layer, mode)


def state_layer(live: Any) -> Quantities:
    variables = {name: getattr(live.layer, attribute, None) for name, attribute in NAMES.items()}
    return {name: array(variable) for name, variable in variables.items() if variable is not None}


def train_layer(live: Any, x: Any, upstream: Any) -> Quantities:
    live.gradients = run_layer(live, x, upstream, training=True)
    return {name: array(value) for name, value in live.gradients.items()}


def infer_layer(live: Any, x: Any, upstream: Any) -> Quantities:
    return {name: array(value) for name, value in run_layer(live, x, upstream, training=False).items()}


def run_layer(live: Any, x: Any, upstream: Any, training: bool) -> Any:
    with keras.device(live.device):
        return live.step(tensor(x), tensor(upstream), training=training)


def reload_layer(live: Any) -> Any:
    with keras.device(live.device):
        live.layer = loaded(live)
    live.step = live.prepare(live.layer, live.mode)
    return live


def loaded(live: Any) -> Any:
    """The layer of a model of it that was saved and loaded."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        model_of(live).save(file)
        return keras.saving.load_model(file).layers[-1]


def model_of(live: Any) -> Any:
    """A model of the layer alone, in which the axes that it reduces have no fixed size."""
    configuration = live.configuration
    free = tuple(None if axis in configuration.reduction_axes else n for axis, n in enumerate(configuration.shape))
    return keras.Sequential([keras.Input(batch_shape=free, dtype=configuration.dtype), live.layer])


def switch(trainable: bool, live: Any) -> None:
    live.layer.trainable = trainable
    # Keras documents that a changed `trainable` takes effect on compiling again.
    live.step = live.prepare(live.layer, live.mode)


FREEZING = {"freeze": functools.partial(switch, False), "unfreeze": functools.partial(switch, True)}


def sgd(live: Any, learning_rate: float) -> None:
    variables = live.layer.trainable_variables
    gradients = [live.gradients[f"grad_{variable.name}"] for variable in variables]
    with keras.device(live.device):
        keras.optimizers.SGD(learning_rate).apply(gradients, variables)


def put(value: Any, device: str) -> Any:
    with keras.device(device):
        return tensor(value)


def passes(step: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """The steps of one function that is told whether it trains."""
    return {"train": functools.partial(step, training=True), "infer": functools.partial(step, training=False)}


def placed(step: Callable[..., Any], live: Any, x: Any, upstream: Any, training: bool) -> Any:
    """The step on its device, which is not the one that the backend would take where there are two."""
    with keras.device(live.device):
        return step(live, x, upstream, training)


def timed(step: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """A function that is told whether it trains, on tensors and on its device; NumPy has no pass with gradients."""
    on_device = functools.partial(placed, step)
    functions = {**passes(on_device), "train_forward": functools.partial(on_device, training=True)}
    if LACKS:
        del functions["train"]
    # JAX tells of results, and not of a device, when it has computed: there each call is waited for.
    clocks = {} if BACKEND == "jax" else {"clock": clock}
    return {"put": put, "get": array, "wait": wait, **clocks, "copy": copy, **functions}


FROZEN = Declared(
    field="frozen_implies_inference",
    value=True,
    source="documentation",
    where="keras.layers.BatchNormalization: trainable = False means that the layer will be run in inference mode",
)
DOCUMENTATION = "https://keras.io/api/"
STEPS: dict[str, Callable[..., Any]] = {"train": train_layer, "infer": infer_layer, "reload": reload_layer, **FREEZING}
#: The layer, of which the rows are variants. The devices are for those who may ask for them: it starts the backend.
LAYER = Implementation(
    name=f"keras.layers.BatchNormalization+{BACKEND}",
    op="batch_norm",
    profile=(FROZEN,),
    modes=MODES,
    dtypes=DTYPES,
    supports=supports_layer,
    call=call_layer,
    start=start_layer,
    state=state_layer,
    steps=STEPS if LACKS else {**STEPS, "sgd": sgd},
    lacks=LACKS,
    compilations=compilations,
    documentation=DOCUMENTATION + "layers/normalization_layers/batch_normalization/",
    names={name: f"*/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")},
)


def adapter(*implementations: Implementation) -> Adapter:
    """On every device of the backend."""
    return Adapter(
        library="keras",
        versions=versions(),
        settings=settings(),
        pool=pool(),
        implementations=tuple(replace(row, devices=devices()) for row in implementations),
    )
