"""Legacy Keras's masks: `tf_keras.layers.BatchNormalization` called with `mask`, fused where it can be, and not."""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import tensorflow as tf
import tf_keras

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

PROCESSES = "tf-keras"

#: Keras has our names for the variables of the layer.
NAMES = ("gamma", "beta", "moving_mean", "moving_variance")


def supports(configuration: Configuration) -> str | None:
    half = configuration.dtype in {"float16", "bfloat16"}
    if configuration.parameter_dtype != ("float32" if half else configuration.dtype):
        return "the variables have the dtype of the layer, and are raised to float32 where that is a half precision"
    return None


def call(configuration: Configuration) -> Call:
    axes = list(configuration.feature_axes)
    return Call(
        path="tf_keras.layers.BatchNormalization",
        keywords={
            "axis": axes[0] if len(axes) == 1 else axes,
            "momentum": configuration.decay,
            "epsilon": configuration.epsilon,
            "center": configuration.center,
            "scale": configuration.scale,
            "dtype": configuration.dtype,
        },
    )


def call_unfused(configuration: Configuration) -> Call:
    given = call(configuration)
    return replace(given, keywords={**given.keywords, "fused": False})


def call_synchronized(configuration: Configuration) -> Call:
    """Statistics over replicas, of which there is one here: another algorithm, by sums of squares."""
    given = call(configuration)
    return replace(given, keywords={**given.keywords, "synchronized": True})


#: The layers that were compiled: equal calls share one, which traces each signature once.
COMPILED: dict[tuple[Any, Configuration, str, str], tuple[Any, Any]] = {}


def prepare(layer: Any, mode: str) -> Any:
    """The step of the layer, or a graph traced from it per signature, which XLA compiles in its mode."""
    step = functools.partial(differentiate, layer)
    return step if mode == "eager" else tf.function(step, jit_compile=mode == "xla")


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    with tf.device(device):
        if mode == "eager":
            layer.build(configuration.shape)
            forward = prepare(layer, mode)
        else:
            way = layer.fused, layer.synchronized
            key = way, replace(configuration, memory="contiguous"), mode, device
            if key not in COMPILED:
                layer.build(configuration.shape)
                COMPILED[key] = layer, prepare(layer, mode)
            layer, forward = COMPILED[key]
            layer.trainable = True
        for name, value in state.items():
            variable = getattr(layer, name)
            # With several feature axes the variables keep the reduced ones, of size 1.
            variable.assign(value.reshape(variable.shape))
    return SimpleNamespace(layer=layer, mode=mode, device=device, forward=forward)


def state(live: Any) -> Quantities:
    variables = {name: getattr(live.layer, name) for name in NAMES}
    return {name: variable.numpy() for name, variable in variables.items() if variable is not None}


def train(live: Any, x: Any, upstream: Any, mask: Any = None) -> Quantities:
    """The mask as it is: the layer adds a last dimension to it."""
    return run(live, x, upstream, mask, training=True)


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    return run(live, x, upstream, None, training=False)


def run(live: Any, x: Any, upstream: Any, mask: Any, training: bool) -> Quantities:
    with tf.device(live.device):
        upstream, mask = (None if each is None else tf.constant(each) for each in (upstream, mask))
        quantities = live.forward(tf.constant(x), upstream, mask, training)
    return {name: value.numpy() for name, value in quantities.items()}


def differentiate(layer: Any, x: Any, upstream: Any, mask: Any, training: bool) -> Any:
    """Output and gradients; those of gamma and beta while they are trainable."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = layer(x, training=training, mask=mask)
    if upstream is None:
        return {"output": output}
    learned = {name: getattr(layer, name) for name in ("gamma", "beta")} if layer.trainable else {}
    sources = {f"grad_{name}": variable for name, variable in learned.items() if variable is not None}
    gradients = tape.gradient(output, {"grad_input": x, **sources}, output_gradients=upstream)
    return {"output": output, **gradients}


def freeze(live: Any) -> None:
    live.layer.trainable = False
    live.forward = prepare(live.layer, live.mode)


def unfreeze(live: Any) -> None:
    live.layer.trainable = True
    live.forward = prepare(live.layer, live.mode)


def compilations(live: Any) -> int:
    return 0 if live.mode == "eager" else int(live.forward.experimental_get_tracing_count())


FROZEN = Declared(
    field="frozen_implies_inference",
    value=True,
    source="documentation",
    where="tf.keras.layers.BatchNormalization: trainable = False means that the layer will be run in inference mode",
)
MOVING_CORRECTION = Declared(
    field="moving_correction",
    value=1,
    source="source code",
    where="tf_keras/src/layers/normalization/batch_normalization.py: the variance of fused batch norm is with Bessel's",
    ranks=(4, 5),
)
DEVICES = ("cpu", "gpu") if tf.config.list_physical_devices("GPU") else ("cpu",)


def implementation(name: str, call: Any, *profile: Declared) -> Implementation:
    """A row: the layer by one way of calling its constructor."""
    return Implementation(
        name=name,
        op="masked_batch_norm",
        profile=(FROZEN, *profile),
        modes=("eager", "compiled", "xla"),
        devices=DEVICES,
        dtypes=("float64", "float32", "float16", "bfloat16"),
        supports=supports,
        call=call,
        start=start,
        state=state,
        steps={"train": train, "infer": infer, "freeze": freeze, "unfreeze": unfreeze},
        compilations=compilations,
        documentation="https://www.tensorflow.org/versions/r2.15/api_docs/python/tf/keras/layers/BatchNormalization",
    )


# The first operation starts the pools: that within an operation has no name, and on a GPU others have none either.
tf.constant(0.0) + 1.0

ADAPTER = Adapter(
    library="tf_keras",
    versions={"tf_keras": tf_keras.__version__, "tensorflow": tf.__version__},
    settings={
        "legacy Keras": os.environ.get("TF_USE_LEGACY_KERAS", ""),
        "floatx": tf_keras.backend.floatx(),
        "threads within an op": str(tf.config.threading.get_intra_op_parallelism_threads() or "automatic"),
        "threads between ops": str(tf.config.threading.get_inter_op_parallelism_threads() or "automatic"),
        "oneDNN": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "deterministic ops": os.environ.get("TF_DETERMINISTIC_OPS", "default"),
        "TF32": str(tf.config.experimental.tensor_float_32_execution_enabled()),
        "XLA flags": os.environ.get("XLA_FLAGS", ""),
    },
    pool=None if "gpu" in DEVICES else "",
    implementations=(
        implementation("tf_keras.layers.BatchNormalization+mask", call, MOVING_CORRECTION),
        implementation("tf_keras.layers.BatchNormalization+mask+unfused", call_unfused),
        implementation("tf_keras.layers.BatchNormalization+mask+synchronized", call_synchronized),
    ),
)
