"""Legacy Keras: its batch norm layer as data, its passes with their gradients, and how a layer is saved, frozen and trained."""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import tensorflow as tf
import tf_keras

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities
from conformance_adapters.tensorflow._native import (
    DEVICES,
    DTYPES,
    MODES,
    compilations,
    infer_layer,
    pool,
    prepare,
    train_layer,
)
from conformance_adapters.tensorflow._process import numerics, once, threads

#: Keras has our names for the variables of the layer, but for those of batch renormalization's deviations.
NAMES = {
    **{name: name for name in ("gamma", "beta", "moving_mean", "moving_variance", "renorm_mean")},
    "moving_deviation": "moving_stddev",
    "renorm_deviation": "renorm_stddev",
}


def supports_layer(configuration: Configuration) -> str | None:
    half = configuration.dtype in {"float16", "bfloat16"}
    if configuration.parameter_dtype != ("float32" if half else configuration.dtype):
        return "the variables have the dtype of the layer, and are raised to float32 where that is a half precision"
    return None


def keywords(configuration: Configuration) -> dict[str, Any]:
    """The keywords that the layers share."""
    axes = list(configuration.feature_axes)
    return {
        "axis": axes[0] if len(axes) == 1 else axes,
        "momentum": configuration.decay,
        "epsilon": configuration.epsilon,
        "center": configuration.center,
        "scale": configuration.scale,
        "dtype": configuration.dtype,
    }


def call_layer(configuration: Configuration, **further: Any) -> Call:
    return Call(path="tf_keras.layers.BatchNormalization", keywords={**keywords(configuration), **further})


def differentiate(layer: Any, forward: Any, x: Any, upstream: Any) -> Any:
    """Output and gradients; those of gamma and beta while they are trainable."""
    return pulled(forward, x, upstream, learned(layer) if layer.trainable else {})


def pulled(forward: Any, x: Any, upstream: Any, variables: Any) -> Any:
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = forward(x)
    if upstream is None:
        return {"output": output}
    gradients = tape.gradient(output, {"grad_input": x, **variables}, output_gradients=upstream)
    return {"output": output, **gradients}


def learned(layer: Any) -> Any:
    """Gamma and beta of a layer that has them, under the names of their gradients."""
    variables = {f"grad_{name}": getattr(layer, name, None) for name in ("gamma", "beta")}
    return {name: variable for name, variable in variables.items() if variable is not None}


def differentiate_layer(layer: Any, x: Any, upstream: Any, training: bool) -> Any:
    return differentiate(layer, functools.partial(layer, training=training), x, upstream)


def start_layer(
    layer: Any,
    configuration: Configuration,
    state: Quantities,
    mode: str,
    device: str,
    differentiate: Any = differentiate_layer,
) -> Any:
    way = type(layer), layer.fused, layer.synchronized
    prepare = functools.partial(prepare_layer, differentiate)
    make = functools.partial(built, layer, configuration.shape, mode, prepare)
    with tf.device(device):
        layer, step = once(make, way, configuration, mode, device)
        layer.trainable = True
        for name, value in state.items():
            variable = getattr(layer, NAMES[name])
            # With several feature axes the variables keep the reduced ones, of size 1.
            variable.assign(value.reshape(variable.shape))
    return SimpleNamespace(
        layer=layer, configuration=configuration, mode=mode, device=device, prepare=prepare, step=step, gradients={}
    )


def built(layer: Any, shape: Any, mode: str, prepare: Any) -> Any:
    layer.build(shape)
    return layer, prepare(layer, mode)


def prepare_layer(differentiate: Any, layer: Any, mode: str) -> Any:
    return prepare(functools.partial(differentiate, layer), mode)


def state_layer(live: Any) -> Quantities:
    variables = {name: getattr(live.layer, attribute, None) for name, attribute in NAMES.items()}
    return {name: variable.numpy() for name, variable in variables.items() if variable is not None}


def reload_layer(live: Any) -> Any:
    with tf.device(live.device):
        live.layer = loaded(live)
    live.step = live.prepare(live.layer, live.mode)
    return live


def loaded(live: Any) -> Any:
    """The layer of a model of it that was saved and loaded."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        model_of(live).save(file)
        return tf_keras.models.load_model(file).layers[-1]


def model_of(live: Any) -> Any:
    """A model of the layer alone, in which the axes that it reduces have no fixed size."""
    configuration = live.configuration
    free = tuple(None if axis in configuration.reduction_axes else n for axis, n in enumerate(configuration.shape))
    return tf_keras.Sequential([tf_keras.Input(batch_shape=free, dtype=configuration.dtype), live.layer])


def switch(trainable: bool, live: Any) -> None:
    live.layer.trainable = trainable
    live.step = live.prepare(live.layer, live.mode)


FREEZING = {"freeze": functools.partial(switch, False), "unfreeze": functools.partial(switch, True)}


def sgd(live: Any, learning_rate: float) -> None:
    with tf.device(live.device):
        tf_keras.optimizers.SGD(learning_rate).apply_gradients(learned_pairs(live))


def sgd_v1(live: Any, learning_rate: float) -> None:
    tf.compat.v1.train.GradientDescentOptimizer(learning_rate).apply_gradients(learned_pairs(live))


def learned_pairs(live: Any) -> list[tuple[Any, Any]]:
    """The gradients of the preceding train step with their variables, as far as these are trainable now."""
    variables = learned(live.layer) if live.layer.trainable else {}
    return [(live.gradients[name], variable) for name, variable in variables.items() if name in live.gradients]


MOVING_CORRECTION = Declared(
    field="moving_correction",
    value=1,
    source="source code",
    where="tf_keras/src/layers/normalization/batch_normalization.py: the variance of fused batch norm is with Bessel's",
    ranks=(4, 5),
)
FROZEN = Declared(
    field="frozen_implies_inference",
    value=True,
    source="documentation",
    where="tf.keras.layers.BatchNormalization: trainable = False means that the layer will be run in inference mode",
)
PAGES = "https://www.tensorflow.org/versions/r2.15/api_docs/python/tf/"
#: The layer, of which the rows are variants.
LAYER = Implementation(
    name="tf_keras.layers.BatchNormalization",
    op="batch_norm",
    profile=(FROZEN, MOVING_CORRECTION),
    modes=MODES,
    devices=DEVICES,
    dtypes=DTYPES,
    supports=supports_layer,
    call=call_layer,
    start=start_layer,
    state=state_layer,
    steps={"train": train_layer, "infer": infer_layer, "reload": reload_layer, **FREEZING, "sgd": sgd},
    compilations=compilations,
    documentation=PAGES + "keras/layers/BatchNormalization",
)
VERSIONS = {"tf_keras": tf_keras.__version__, "tensorflow": tf.__version__}


def adapter(*implementations: Implementation, threaded: bool = True) -> Adapter:
    settings = {"legacy Keras": os.environ.get("TF_USE_LEGACY_KERAS", ""), "floatx": tf_keras.backend.floatx()}
    return Adapter(
        library="tf_keras",
        versions=VERSIONS,
        settings={**settings, **(threads(tf) if threaded else {}), **numerics(tf)},
        pool=pool(),
        implementations=implementations,
    )
