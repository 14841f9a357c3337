"""Legacy Keras: `tf_keras.layers.BatchNormalization`, fused where it can be, and unfused.

Beside it the functions of `tf_keras.backend`, and `tf.compat.v1.layers.BatchNormalization`, the layer of TensorFlow 1.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import tensorflow as tf
import tf_keras

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

PROCESSES = "tf-keras"

#: Keras has our names for the variables of the layer, but for those of batch renormalization's deviations.
NAMES = {
    **{name: name for name in ("gamma", "beta", "moving_mean", "moving_variance", "renorm_mean")},
    "moving_deviation": "moving_stddev",
    "renorm_deviation": "renorm_stddev",
}


class Scheduled(tf_keras.layers.BatchNormalization):
    """Batch renormalization whose limits are variables, which Keras documents as scalar tensors."""

    def __init__(self, renorm_clipping: dict[str, float], **keywords: Any) -> None:
        limits = {name: tf.Variable(limit, trainable=False) for name, limit in renorm_clipping.items()}
        super().__init__(renorm_clipping=limits, **keywords)


class ScheduledV1(tf.compat.v1.layers.BatchNormalization):
    """The same of the layer of TensorFlow 1."""

    def __init__(self, renorm_clipping: dict[str, float], **keywords: Any) -> None:
        limits = {name: tf.Variable(limit, trainable=False) for name, limit in renorm_clipping.items()}
        super().__init__(renorm_clipping=limits, **keywords)


def supports(configuration: Configuration) -> str | None:
    half = configuration.dtype in {"float16", "bfloat16"}
    if configuration.parameter_dtype != ("float32" if half else configuration.dtype):
        return "the variables have the dtype of the layer, and are raised to float32 where that is a half precision"
    return None


def supports_function(configuration: Configuration) -> str | None:
    if len(configuration.feature_axes) != 1:
        return "`axis` is an integer, the axis that should be normalized"
    if configuration.rank == 4:
        return supports(configuration)
    if configuration.parameter_dtype != configuration.dtype:
        return "operations between two dtypes raise InvalidArgumentError"
    return None


def call(configuration: Configuration) -> Call:
    return Call(path="tf_keras.layers.BatchNormalization", keywords=keywords(configuration))


def call_unfused(configuration: Configuration) -> Call:
    return Call(path="tf_keras.layers.BatchNormalization", keywords={**keywords(configuration), "fused": False})


def call_v1(configuration: Configuration) -> Call:
    return Call(path="tensorflow.compat.v1.layers.BatchNormalization", keywords=keywords(configuration))


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


def call_renorm(layer: str, scheduled: str, configuration: Configuration) -> Call:
    options = configuration.options
    limits = {name: options[name] for name in ("rmin", "rmax", "dmax") if name in options}
    first = {name: each[0] if isinstance(each, tuple | list) else each for name, each in limits.items()}
    renorm = {"renorm": True, "renorm_clipping": first, "renorm_momentum": options["renorm_decay"]}
    return Call(path=layer if first == limits else scheduled, keywords={**keywords(configuration), **renorm})


def call_function(configuration: Configuration) -> Call:
    """The function of inference; training calls `normalize_batch_in_training` beside it."""
    return Call(
        path="tf_keras.backend.batch_normalization",
        keywords={"axis": configuration.feature_axes[0], "epsilon": configuration.epsilon},
        function=True,
    )


def prepare(step: Callable[..., Any], mode: str) -> Any:
    """The step itself, or a graph traced from it per signature, which XLA compiles in its mode."""
    return step if mode == "eager" else tf.function(step, jit_compile=mode == "xla")


#: The layers and functions that were compiled: equal calls share one, which traces each signature once.
COMPILED: dict[tuple[Any, Configuration, str, str], tuple[Any, Any]] = {}


def prepare_layer(layer: Any, mode: str) -> Any:
    return prepare(functools.partial(differentiate, layer), mode)


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    with tf.device(device):
        if mode == "eager":
            layer.build(configuration.shape)
            forward = prepare_layer(layer, mode)
        else:
            key = (type(layer), layer.fused), replace(configuration, memory="contiguous"), mode, device
            if key not in COMPILED:
                layer.build(configuration.shape)
                COMPILED[key] = layer, prepare_layer(layer, mode)
            layer, forward = COMPILED[key]
            layer.trainable = True
        for name, value in state.items():
            variable = getattr(layer, NAMES[name])
            # With several feature axes the variables keep the reduced ones, of size 1.
            variable.assign(value.reshape(variable.shape))
    return SimpleNamespace(
        layer=layer, configuration=configuration, mode=mode, device=device, forward=forward, gradients={}, trained=0
    )


def state(live: Any) -> Quantities:
    variables = {name: getattr(live.layer, attribute, None) for name, attribute in NAMES.items()}
    return {name: variable.numpy() for name, variable in variables.items() if variable is not None}


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    live.gradients = run(live, x, upstream, training=True)
    return {name: value.numpy() for name, value in live.gradients.items()}


def train_renorm(live: Any, x: Any, upstream: Any) -> Quantities:
    """Limits that are variables are set before each step; the last of a list stays."""
    for name, limits in live.configuration.options.items():
        if isinstance(limits, tuple | list):
            live.layer.renorm_clipping[name].assign(limits[min(live.trained, len(limits) - 1)])
    live.trained += 1
    return train(live, x, upstream)


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    return {name: value.numpy() for name, value in run(live, x, upstream, training=False).items()}


def run(live: Any, x: Any, upstream: Any, training: bool) -> Any:
    with tf.device(live.device):
        upstream = None if upstream is None else tf.constant(upstream)
        return live.forward(tf.constant(x), upstream, training)


def differentiate(layer: Any, x: Any, upstream: Any, training: bool) -> Any:
    """Output and gradients; those of gamma and beta while they are trainable."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = layer(x, training=training)
    if upstream is None:
        return {"output": output}
    learned = {name: getattr(layer, name) for name in ("gamma", "beta")} if layer.trainable else {}
    sources = {f"grad_{name}": variable for name, variable in learned.items() if variable is not None}
    gradients = tape.gradient(output, {"grad_input": x, **sources}, output_gradients=upstream)
    return {"output": output, **gradients}


def reload(live: Any) -> Any:
    configuration = live.configuration
    free = tuple(None if axis in configuration.reduction_axes else n for axis, n in enumerate(configuration.shape))
    model = tf_keras.Sequential([tf_keras.Input(batch_shape=free, dtype=configuration.dtype), live.layer])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        model.save(file)
        live.layer = tf_keras.models.load_model(file).layers[-1]
    live.forward = prepare_layer(live.layer, live.mode)
    return live


def reload_v1(live: Any) -> Any:
    checkpoint = tf.train.Checkpoint(layer=live.layer)
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint.write(str(Path(folder, "layer")))
        for variable in live.layer.variables:
            variable.assign(tf.fill(variable.shape, tf.cast(7, variable.dtype)))
        checkpoint.read(path).assert_consumed()
    return live


def freeze(live: Any) -> None:
    live.layer.trainable = False
    live.forward = prepare_layer(live.layer, live.mode)


def unfreeze(live: Any) -> None:
    live.layer.trainable = True
    live.forward = prepare_layer(live.layer, live.mode)


def sgd(live: Any, learning_rate: float) -> None:
    tf_keras.optimizers.SGD(learning_rate).apply_gradients(learned_pairs(live))


def sgd_v1(live: Any, learning_rate: float) -> None:
    tf.compat.v1.train.GradientDescentOptimizer(learning_rate).apply_gradients(learned_pairs(live))


def learned_pairs(live: Any) -> list[tuple[Any, Any]]:
    """The gradients of the preceding train step with their variables."""
    names = [name for name in ("gamma", "beta") if f"grad_{name}" in live.gradients]
    return [(live.gradients[f"grad_{name}"], getattr(live.layer, name)) for name in names]


def start_function(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    key = "function", replace(configuration, memory="contiguous"), mode, device
    spread = [1 if axis in configuration.reduction_axes else size for axis, size in enumerate(configuration.shape)]
    # `axis` places vectors where the rank is 4, and is ignored elsewhere: there they must broadcast by themselves.
    shape = [-1] if configuration.rank == 4 else spread
    if mode == "eager" or key not in COMPILED:
        train_step = functools.partial(normalize_batch, function, list(configuration.reduction_axes))
        COMPILED[key] = (
            prepare(functools.partial(differentiate_function, train_step), mode),
            prepare(functools.partial(differentiate_function, functools.partial(normalize, function, shape)), mode),
        )
    train_step, infer_step = COMPILED[key]
    with tf.device(device):
        tensors = {name: tf.constant(value) for name, value in state.items()}
    return SimpleNamespace(
        state=state, tensors=tensors, train_step=train_step, infer_step=infer_step, mode=mode, device=device
    )


def state_function(live: Any) -> Quantities:
    return dict(live.state)


def train_function(live: Any, x: Any, upstream: Any) -> Quantities:
    return run_function(live.train_step, live, x, upstream)


def infer_function(live: Any, x: Any, upstream: Any) -> Quantities:
    return run_function(live.infer_step, live, x, upstream)


def run_function(step: Any, live: Any, x: Any, upstream: Any) -> Quantities:
    with tf.device(live.device):
        upstream = None if upstream is None else tf.constant(upstream)
        results = step(tf.constant(x), upstream, live.tensors)
    return {name: value.numpy() for name, value in results.items()}


def normalize_batch(function: Any, axes: Any, x: Any, tensors: Any) -> Any:
    epsilon = function.keywords["epsilon"]
    gamma, beta = tensors.get("gamma"), tensors.get("beta")
    output, mean, variance = tf_keras.backend.normalize_batch_in_training(x, gamma, beta, axes, epsilon=epsilon)
    return {"output": output, "batch_mean": mean, "batch_variance": variance}


def normalize(function: Any, shape: Any, x: Any, tensors: Any) -> Any:
    shaped = {name: tf.reshape(value, shape) for name, value in tensors.items()}
    mean, variance = shaped["moving_mean"], shaped["moving_variance"]
    return {"output": function(x, mean, variance, shaped.get("beta"), shaped.get("gamma"))}


def differentiate_function(step: Any, x: Any, upstream: Any, tensors: Any) -> Any:
    sources = {"grad_input": x, **{f"grad_{name}": tensors[name] for name in ("gamma", "beta") if name in tensors}}
    with tf.GradientTape() as tape:
        tape.watch(sources)
        quantities = step(x, tensors)
    if upstream is None:
        return quantities
    return {**quantities, **tape.gradient(quantities["output"], sources, output_gradients=upstream)}


def put(array: Any, device: str) -> Any:
    with tf.device(device):
        return tf.constant(array)


def get(tensor: Any) -> Any:
    return tensor.numpy()


def wait(live: Any, results: Any) -> None:
    """A CPU computes at once."""
    if live.device == "gpu":
        tf.test.experimental.sync_devices()


def timed_infer(live: Any, x: Any, upstream: Any) -> Any:
    return live.forward(x, upstream, False)


def timed_train(live: Any, x: Any, upstream: Any) -> Any:
    return live.forward(x, upstream, True)


def timed_infer_function(live: Any, x: Any, upstream: Any) -> Any:
    return live.infer_step(x, upstream, live.tensors)


def timed_train_function(live: Any, x: Any, upstream: Any) -> Any:
    return live.train_step(x, upstream, live.tensors)


def compilations(live: Any) -> int:
    return 0 if live.mode == "eager" else int(live.forward.experimental_get_tracing_count())


def compilations_function(live: Any) -> int:
    steps = () if live.mode == "eager" else (live.train_step, live.infer_step)
    return sum(step.experimental_get_tracing_count() for step in steps)


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
CALLER_STATE = Declared(
    field="state",
    value="caller",
    source="documentation",
    where="tf_keras.backend.normalize_batch_in_training returns mean and variance; batch_normalization takes them",
)
MODES = ("eager", "compiled", "xla")
DEVICES = ("cpu", "gpu") if tf.config.list_physical_devices("GPU") else ("cpu",)
DTYPES = ("float64", "float32", "float16", "bfloat16")
LAYER: dict[str, Any] = {
    "op": "batch_norm",
    "modes": MODES,
    "devices": DEVICES,
    "dtypes": DTYPES,
    "supports": supports,
    "start": start,
    "state": state,
    "compilations": compilations,
}
TIMED: dict[str, Callable[..., Any]] = {
    "put": put,
    "get": get,
    "wait": wait,
    "infer": timed_infer,
    "train_forward": timed_train,
    "train": timed_train,
}
STEPS: dict[str, Callable[..., Any]] = {
    "train": train,
    "infer": infer,
    "reload": reload,
    "freeze": freeze,
    "unfreeze": unfreeze,
    "sgd": sgd,
}

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
        Implementation(
            name="tf_keras.layers.BatchNormalization",
            profile=(FROZEN, MOVING_CORRECTION),
            call=call,
            steps=STEPS,
            timed=TIMED,
            documentation="https://www.tensorflow.org/versions/r2.15/api_docs/python/tf/keras/layers/BatchNormalization",
            **LAYER,
        ),
        Implementation(
            name="tf_keras.layers.BatchNormalization+unfused",
            profile=(FROZEN,),
            call=call_unfused,
            steps=STEPS,
            timed=TIMED,
            documentation="https://www.tensorflow.org/versions/r2.15/api_docs/python/tf/keras/layers/BatchNormalization",
            **LAYER,
        ),
        Implementation(
            name="tf.compat.v1.layers.BatchNormalization",
            profile=(MOVING_CORRECTION,),
            call=call_v1,
            steps={**STEPS, "reload": reload_v1, "sgd": sgd_v1},
            timed=TIMED,
            documentation="https://www.tensorflow.org/versions/r2.15/api_docs/python/tf/compat/v1/layers/BatchNormalization",
            **LAYER,
        ),
        Implementation(
            name="tf_keras.layers.BatchNormalization+renorm",
            profile=(FROZEN,),
            call=functools.partial(call_renorm, "tf_keras.layers.BatchNormalization", "Scheduled"),
            steps={**STEPS, "train": train_renorm},
            documentation="https://www.tensorflow.org/versions/r2.15/api_docs/python/tf/compat/v1/layers/BatchNormalization",
            **{**LAYER, "op": "batch_renorm"},
        ),
        Implementation(
            name="tf.compat.v1.layers.BatchNormalization+renorm",
            profile=(),
            call=functools.partial(call_renorm, "tensorflow.compat.v1.layers.BatchNormalization", "ScheduledV1"),
            steps={**STEPS, "train": train_renorm, "reload": reload_v1, "sgd": sgd_v1},
            documentation="https://www.tensorflow.org/versions/r2.15/api_docs/python/tf/compat/v1/layers/BatchNormalization",
            **{**LAYER, "op": "batch_renorm"},
        ),
        Implementation(
            name="tf_keras.backend.batch_normalization",
            op="batch_norm",
            profile=(CALLER_STATE,),
            modes=MODES,
            devices=DEVICES,
            dtypes=DTYPES,
            supports=supports_function,
            call=call_function,
            start=start_function,
            state=state_function,
            steps={"train": train_function, "infer": infer_function},
            timed={
                **TIMED,
                "infer": timed_infer_function,
                "train_forward": timed_train_function,
                "train": timed_train_function,
            },
            compilations=compilations_function,
        ),
    ),
)
