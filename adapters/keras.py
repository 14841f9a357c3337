"""Keras 3: `keras.layers.BatchNormalization` and a `Centering` layer, on the backend of the process."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import tensorflow as tf

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities


def unnamed() -> int:
    """The number of threads whose name is the process's own, as Linux counts them; 0 elsewhere."""
    time.sleep(0.1)  # a thread takes its name a moment after its start
    found = 0
    for file in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):  # it may end meanwhile
            found += file.read_text() == Path("/proc/self/comm").read_text()
    return found


# Importing Keras performs TensorFlow's first operation, which starts its pools: that for one operation has no name.
BEFORE = unnamed()
import keras  # noqa: E402

PROCESSES = [
    {
        "name": "keras-tensorflow",
        "group": "tensorflow",
        "environment": {
            "KERAS_BACKEND": "tensorflow",
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        },
        "threads": {"TF_NUM_INTRAOP_THREADS": "{threads}", "TF_NUM_INTEROP_THREADS": "{threads}"},
    }
]

#: Keras has our names for the variables of the layer.
NAMES = ("gamma", "beta", "moving_mean", "moving_variance")


@keras.saving.register_keras_serializable(package="conformance")
class Centering(keras.layers.Layer):
    """Subtracts the batch mean in training and the moving mean in inference; untrainable, it infers."""

    def __init__(self, axes: tuple[int, ...], decay: float, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.axes, self.decay = tuple(axes), decay

    def build(self, input_shape: Any) -> None:
        features = [size for axis, size in enumerate(input_shape) if axis not in self.axes]
        self.moving_mean = self.add_weight(
            name="moving_mean", shape=features, initializer="zeros", trainable=False, autocast=False
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        x = keras.ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        moving = keras.ops.cast(self.moving_mean, x.dtype)
        if not (training and self.trainable):
            shape = [1 if axis in self.axes else size for axis, size in enumerate(inputs.shape)]
            return keras.ops.cast(x - keras.ops.reshape(moving, shape), self.compute_dtype)
        mean = keras.ops.mean(x, self.axes, keepdims=True)
        moved = self.decay * moving + (1 - self.decay) * keras.ops.reshape(mean, moving.shape)
        self.moving_mean.assign(keras.ops.where(keras.ops.equal(keras.ops.size(x), 0), moving, moved))
        return keras.ops.cast(x - mean, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axes": self.axes, "decay": self.decay}


def supports(configuration: Configuration) -> str | None:
    if len(configuration.feature_axes) != 1:
        return "`axis` is an integer, the axis that should be normalized"
    return supports_centering(configuration)


def supports_centering(configuration: Configuration) -> str | None:
    if policy(configuration) is None:
        return "the dtype policies are one dtype, or mixed_float16 and mixed_bfloat16 with float32 variables"
    return None


def policy(configuration: Configuration) -> str | None:
    """The name of the dtype policy that computes in one dtype and stores in the other."""
    if configuration.parameter_dtype == configuration.dtype:
        return configuration.dtype
    half = configuration.dtype in ("float16", "bfloat16")
    return f"mixed_{configuration.dtype}" if half and configuration.parameter_dtype == "float32" else None


def call(configuration: Configuration) -> Call:
    return Call(
        path="keras.layers.BatchNormalization",
        keywords={
            "axis": configuration.feature_axes[0],
            "momentum": configuration.decay,
            "epsilon": configuration.epsilon,
            "center": configuration.center,
            "scale": configuration.scale,
            "dtype": policy(configuration),
        },
    )


def call_centering(configuration: Configuration) -> Call:
    return Call(
        path="Centering",
        keywords={
            "axes": configuration.reduction_axes,
            "decay": configuration.decay,
            "dtype": policy(configuration),
        },
    )


def prepare(layer: Any, mode: str) -> Any:
    """The layer with its gradients, called eagerly or as a graph traced per signature."""
    step = functools.partial(differentiate, layer)
    return step if mode == "eager" else tf.function(step)


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    with keras.device(device):
        if not layer.built:
            layer.build(configuration.shape)
        for name, value in state.items():
            getattr(layer, name).assign(value)
    return SimpleNamespace(
        layer=layer,
        configuration=configuration,
        mode=mode,
        device=device,
        forward=prepare(layer, mode),
        gradients={},
    )


def state(live: Any) -> Quantities:
    return {name: array(getattr(live.layer, name)) for name in NAMES if getattr(live.layer, name, None) is not None}


def array(value: Any) -> Any:
    return keras.ops.convert_to_numpy(value)


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities = run(live, x, upstream, training=True)
    live.gradients = quantities
    return {name: array(value) for name, value in quantities.items()}


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    return {name: array(value) for name, value in run(live, x, upstream, training=False).items()}


def run(live: Any, x: Any, upstream: Any, training: bool) -> Any:
    with keras.device(live.device):
        upstream = None if upstream is None else keras.ops.convert_to_tensor(upstream)
        return live.forward(keras.ops.convert_to_tensor(x), upstream, training)


def differentiate(layer: Any, x: Any, upstream: Any, training: bool) -> Any:
    """Output and gradients as the user of the TensorFlow backend gets them; a frozen layer has only the input's."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = layer(x, training=training)
    if upstream is None:
        return {"output": output}
    learned = {f"grad_{variable.name}": variable.value for variable in layer.trainable_variables}
    gradients = tape.gradient(output, {"grad_input": x, **learned}, output_gradients=upstream)
    return {"output": output, **gradients}


def reload(live: Any) -> Any:
    configuration = live.configuration
    free = tuple(None if axis in configuration.reduction_axes else n for axis, n in enumerate(configuration.shape))
    model = keras.Sequential([keras.Input(batch_shape=free, dtype=configuration.dtype), live.layer])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        model.save(file)
        live.layer = keras.saving.load_model(file).layers[-1]
    live.forward = prepare(live.layer, live.mode)
    return live


def freeze(live: Any) -> None:
    live.layer.trainable = False
    # Keras documents that a changed `trainable` takes effect on compiling again.
    live.forward = prepare(live.layer, live.mode)


def unfreeze(live: Any) -> None:
    live.layer.trainable = True
    live.forward = prepare(live.layer, live.mode)


def sgd(live: Any, learning_rate: float) -> None:
    variables = live.layer.trainable_variables
    gradients = [live.gradients[f"grad_{variable.name}"] for variable in variables]
    keras.optimizers.SGD(learning_rate).apply(gradients, variables)


def compilations(live: Any) -> int:
    return int(live.forward.experimental_get_tracing_count()) if live.mode == "compiled" else 0


FROZEN = Declared(
    field="frozen_implies_inference",
    value=True,
    source="documentation",
    where="keras.layers.BatchNormalization: trainable = False means that the layer will be run in inference mode",
)
BACKEND = keras.backend.backend()
MODES = ("eager", "compiled")
DEVICES = ("cpu", "gpu") if keras.distribution.list_devices("gpu") else ("cpu",)
DTYPES = ("float64", "float32", "float16", "bfloat16")
# On a GPU other threads without a name start as well.
STARTED = 0 if "gpu" in DEVICES else unnamed() - BEFORE
STEPS: dict[str, Callable[..., Any]] = {
    "train": train,
    "infer": infer,
    "reload": reload,
    "freeze": freeze,
    "unfreeze": unfreeze,
}

ADAPTER = Adapter(
    library="keras",
    versions={"keras": keras.__version__, "tensorflow": tf.__version__},
    settings={
        "backend": BACKEND,
        "floatx": keras.config.floatx(),
        "threads": str(STARTED or "unknown"),
        "threads within an op": str(tf.config.threading.get_intra_op_parallelism_threads() or "automatic"),
        "threads between ops": str(tf.config.threading.get_inter_op_parallelism_threads() or "automatic"),
        "oneDNN": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "deterministic ops": os.environ.get("TF_DETERMINISTIC_OPS", "default"),
        "TF32": str(tf.config.experimental.tensor_float_32_execution_enabled()),
        "XLA flags": os.environ.get("XLA_FLAGS", ""),
    },
    implementations=(
        Implementation(
            name=f"keras.layers.BatchNormalization+{BACKEND}",
            op="batch_norm",
            profile=(FROZEN,),
            modes=MODES,
            devices=DEVICES,
            dtypes=DTYPES,
            supports=supports,
            call=call,
            start=start,
            state=state,
            steps={**STEPS, "sgd": sgd},
            compilations=compilations,
            documentation="https://keras.io/api/layers/normalization_layers/batch_normalization/",
        ),
        Implementation(
            name=f"keras.Centering+{BACKEND}",
            op="centering",
            profile=(),
            modes=MODES,
            devices=DEVICES,
            dtypes=DTYPES,
            supports=supports_centering,
            call=call_centering,
            start=start,
            state=state,
            steps=STEPS,
            compilations=compilations,
        ),
    ),
)
