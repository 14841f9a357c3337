"""Legacy Keras: virtual batches of the layers that offer them, `tf.recompute_grad`, and further derivatives."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import tensorflow as tf
import tf_keras

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

PROCESSES = "tf-keras-alone"

#: Keras has our names for the variables of the layer.
NAMES = ("gamma", "beta", "moving_mean", "moving_variance")


def supports(configuration: Configuration) -> str | None:
    half = configuration.dtype in {"float16", "bfloat16"}
    if configuration.parameter_dtype != ("float32" if half else configuration.dtype):
        return "the variables have the dtype of the layer, and are raised to float32 where that is a half precision"
    return None


def supports_single(configuration: Configuration) -> str | None:
    if 0 in configuration.feature_axes:
        return "one layer: a stack of them is mapped over"
    return supports(configuration)


def call_virtual(configuration: Configuration, path: str) -> Call:
    virtual = {"virtual_batch_size": configuration.options["virtual_batch"]}
    return Call(path=path, keywords={**keywords(configuration), **virtual})


def call(configuration: Configuration) -> Call:
    return Call(path="tf_keras.layers.BatchNormalization", keywords=keywords(configuration))


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


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str, recomputes: bool) -> Any:
    with tf.device(device):
        layer.build((None, *configuration.shape[1:]))
        for name, value in state.items():
            variable = getattr(layer, name)
            # With virtual batches the variables keep the reduced axes, of size 1, and one more.
            variable.assign(value.reshape(variable.shape))
    live = SimpleNamespace(
        configuration=configuration, mode=mode, device=device, recomputes=recomputes, layer=layer, gradients={}
    )
    live.forward = prepare(live)
    return live


def prepare(live: Any) -> Any:
    """The step itself, or a graph traced from it per signature, which XLA compiles in its mode."""
    step = functools.partial(differentiate, live.layer, live.recomputes)
    return step if live.mode == "eager" else tf.function(step, jit_compile=live.mode == "xla")


def state(live: Any) -> Quantities:
    variables = {name: getattr(live.layer, name) for name in NAMES}
    return {name: variable.numpy() for name, variable in variables.items() if variable is not None}


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    live.gradients = run(live, x, upstream, training=True)
    return {name: value.numpy() for name, value in live.gradients.items()}


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    return {name: value.numpy() for name, value in run(live, x, upstream, training=False).items()}


def run(live: Any, x: Any, upstream: Any, training: bool) -> Any:
    with tf.device(live.device):
        upstream = None if upstream is None else tf.constant(upstream)
        return live.forward(tf.constant(x), upstream, training)


def differentiate(layer: Any, recomputes: bool, x: Any, upstream: Any, training: bool) -> Any:
    """Output and gradients; those of gamma and beta while they are trainable."""
    call = functools.partial(layer, training=training)
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = tf.recompute_grad(call)(x) if recomputes else call(x)
    if upstream is None:
        return {"output": output}
    learned = {name: getattr(layer, name) for name in ("gamma", "beta")} if layer.trainable else {}
    sources = {f"grad_{name}": variable for name, variable in learned.items() if variable is not None}
    gradients = tape.gradient(output, {"grad_input": x, **sources}, output_gradients=upstream)
    return {"output": output, **gradients}


def train_further(live: Any, x: Any, upstream: Any, tangent: Any) -> Quantities:
    return run_further(live, x, upstream, tangent, training=True)


def infer_further(live: Any, x: Any, upstream: Any, tangent: Any) -> Quantities:
    return run_further(live, x, upstream, tangent, training=False)


def run_further(live: Any, x: Any, upstream: Any, tangent: Any, training: bool) -> Quantities:
    with tf.device(live.device):
        arrays = (tf.constant(x), tf.constant(upstream), tf.constant(tangent))
        found = further(live.layer, *arrays, training=training)
    return {name: value.numpy() for name, value in found.items()}


def further(layer: Any, x: Any, upstream: Any, tangent: Any, training: bool) -> Any:
    """One forward pass under an accumulator and two tapes; the outer differentiates the inner's gradient."""
    learned = {name: getattr(layer, name) for name in ("gamma", "beta") if getattr(layer, name) is not None}
    with tf.autodiff.ForwardAccumulator(x, tangent) as forward, tf.GradientTape() as outer:
        outer.watch((x, upstream))
        with tf.GradientTape() as inner:
            inner.watch(x)
            output = layer(x, training=training)
        along = forward.jvp(output, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        named = {f"grad_{name}": variable for name, variable in learned.items()}
        gradients = inner.gradient(output, {"grad_input": x, **named}, output_gradients=upstream)
    sources = {"second_grad_input": x, "second_grad_upstream": upstream}
    if "gamma" in learned:
        sources["second_grad_gamma"] = learned["gamma"]
    second = outer.gradient(
        gradients["grad_input"],
        sources,
        output_gradients=tangent,
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return {"output": output, "tangent_output": along, **gradients, **second}


def reload(live: Any) -> Any:
    shape = live.configuration.shape
    model = tf_keras.Sequential([tf_keras.Input(shape[1:], dtype=live.configuration.dtype), live.layer])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        model.save(file)
        live.layer = tf_keras.models.load_model(file).layers[-1]
    live.forward = prepare(live)
    return live


def sgd(live: Any, learning_rate: float) -> None:
    names = [name for name in ("gamma", "beta") if f"grad_{name}" in live.gradients]
    pairs = [(live.gradients[f"grad_{name}"], getattr(live.layer, name)) for name in names]
    tf.compat.v1.train.GradientDescentOptimizer(learning_rate).apply_gradients(pairs)


def compilations(live: Any) -> int:
    return 0 if live.mode == "eager" else int(live.forward.experimental_get_tracing_count())


MOVING_CORRECTION = Declared(
    field="moving_correction",
    value=1,
    source="source code",
    where="tf_keras/src/layers/normalization/batch_normalization.py: the variance of fused batch norm is with Bessel's",
    ranks=(4, 5),
)
DEVICES = ("cpu", "gpu") if tf.config.list_physical_devices("GPU") else ("cpu",)
STEPS: dict[str, Callable[..., Any]] = {"train": train, "infer": infer, "sgd": sgd}
COMMON: dict[str, Any] = {
    "modes": ("eager", "compiled", "xla"),
    "devices": DEVICES,
    "dtypes": ("float64", "float32", "float16", "bfloat16"),
    "state": state,
    "compilations": compilations,
}
DOCUMENTATION = "https://www.tensorflow.org/versions/r2.15/api_docs/python/tf/"


def virtual(name: str, path: str, page: str, steps: dict[str, Callable[..., Any]]) -> Implementation:
    """A row: a layer that divides its batches itself."""
    return Implementation(
        name=name,
        op="virtual_batch_norm",
        profile=(),
        supports=supports,
        call=functools.partial(call_virtual, path=path),
        start=functools.partial(start, recomputes=False),
        steps=steps,
        documentation=DOCUMENTATION + page,
        **COMMON,
    )


# The first operation starts the pools: that within an operation has no name, and on a GPU others have none either.
tf.constant(0.0) + 1.0

ADAPTER = Adapter(
    library="tf_keras",
    versions={"tf_keras": tf_keras.__version__, "tensorflow": tf.__version__},
    settings={
        "legacy Keras": os.environ.get("TF_USE_LEGACY_KERAS", ""),
        "floatx": tf_keras.backend.floatx(),
        "oneDNN": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "deterministic ops": os.environ.get("TF_DETERMINISTIC_OPS", "default"),
        "TF32": str(tf.config.experimental.tensor_float_32_execution_enabled()),
        "XLA flags": os.environ.get("XLA_FLAGS", ""),
    },
    pool=None if "gpu" in DEVICES else "",
    implementations=(
        virtual(
            "tf_keras.layers.BatchNormalization+virtual",
            "tf_keras.layers.BatchNormalization",
            "keras/layers/BatchNormalization",
            {**STEPS, "reload": reload},
        ),
        virtual(
            "tf.compat.v1.layers.BatchNormalization+virtual",
            "tensorflow.compat.v1.layers.BatchNormalization",
            "compat/v1/layers/BatchNormalization",
            STEPS,
        ),
        Implementation(
            **{**COMMON, "modes": ("eager",)},
            name="tf_keras.layers.BatchNormalization+derivatives",
            op="differentiated_batch_norm",
            profile=(MOVING_CORRECTION,),
            supports=supports_single,
            call=call,
            start=functools.partial(start, recomputes=False),
            steps={"train": train_further, "infer": infer_further},
            documentation=DOCUMENTATION + "autodiff/ForwardAccumulator",
        ),
        Implementation(
            name="tf_keras.layers.BatchNormalization+recompute_grad",
            op="transformed_batch_norm",
            profile=(MOVING_CORRECTION,),
            supports=supports_single,
            call=call,
            start=functools.partial(start, recomputes=True),
            steps=STEPS,
            documentation=DOCUMENTATION + "recompute_grad",
            **COMMON,
        ),
    ),
)
