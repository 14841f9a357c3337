"""Keras 3: `keras.layers.BatchNormalization` and a `Centering` layer, on the backend of the process."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

BACKEND = keras.backend.backend()
if BACKEND == "tensorflow":
    import tensorflow as tf
elif BACKEND == "torch":
    import torch
elif BACKEND == "jax":
    import jax
    import jaxlib

PROCESSES = "keras"

#: Keras has our names for the variables of the layer, but for those of batch renormalization's deviations.
NAMES = {
    **{name: name for name in ("gamma", "beta", "moving_mean", "moving_variance", "renorm_mean")},
    "moving_deviation": "moving_stddev",
    "renorm_deviation": "renorm_stddev",
}


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
        half = keras.backend.standardize_dtype(inputs.dtype) in ("float16", "bfloat16")
        x = keras.ops.cast(inputs, "float32") if half else inputs
        moving = keras.ops.cast(self.moving_mean, x.dtype)
        if not (training and self.trainable):
            shape = [1 if axis in self.axes else size for axis, size in enumerate(inputs.shape)]
            return keras.ops.cast(x - keras.ops.reshape(moving, shape), self.compute_dtype)
        mean = keras.ops.mean(x, self.axes, keepdims=True)
        moved = self.decay * moving + (1 - self.decay) * keras.ops.reshape(mean, moving.shape)
        if 0 not in inputs.shape:
            self.moving_mean.assign(moved)
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


def supports_renorm(configuration: Configuration) -> str | None:
    if any(isinstance(each, tuple | list) for each in configuration.options.values()):
        return "`renorm_clipping` maps to floats, which stay as the layer was made with them"
    return supports(configuration)


def call_renorm(configuration: Configuration) -> Call:
    options = configuration.options
    renorm = {
        "renorm": True,
        "renorm_clipping": {name: options[name] for name in ("rmin", "rmax", "dmax") if name in options},
        "renorm_momentum": options["renorm_decay"],
    }
    return Call(path="keras.layers.BatchNormalization", keywords={**call(configuration).keywords, **renorm})


def call_centering(configuration: Configuration) -> Call:
    return Call(
        path="Centering",
        keywords={
            "axes": configuration.reduction_axes,
            "decay": configuration.decay,
            "dtype": policy(configuration),
        },
    )


#: The layers that were compiled, with their steps: equal configurations share one, and compile a signature once.
COMPILED: dict[tuple[Configuration, str, str], tuple[Any, Any]] = {}


def prepare(layer: Any, mode: str) -> Any:
    """The step of the layer in the way of the backend: (x, upstream, training) -> quantities."""
    match BACKEND:
        case "tensorflow":
            step = functools.partial(differentiate_tensorflow, layer)
            return step if mode == "eager" else tf.function(step, jit_compile=mode == "xla")
        case "jax":
            return Stateless(layer, mode)
        case "torch":
            return functools.partial(differentiate_torch, layer)
        case _:
            return functools.partial(call_numpy, layer)


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    with keras.device(device):
        if mode == "eager":
            layer.build(configuration.shape)
            forward = prepare(layer, mode)
        else:
            key = replace(configuration, memory="contiguous"), mode, device
            if key not in COMPILED:
                layer.build(configuration.shape)
                COMPILED[key] = layer, prepare(layer, mode)
            layer, forward = COMPILED[key]
            layer.trainable = True
        for name, value in state.items():
            getattr(layer, NAMES[name]).assign(value)
    return SimpleNamespace(
        layer=layer,
        configuration=configuration,
        mode=mode,
        device=device,
        forward=forward,
        gradients={},
    )


def state(live: Any) -> Quantities:
    variables = {name: getattr(live.layer, attribute, None) for name, attribute in NAMES.items()}
    return {name: array(variable) for name, variable in variables.items() if variable is not None}


def tensor(value: Any) -> Any:
    """A tensor of the array's dtype, which some backends would else change."""
    return keras.ops.convert_to_tensor(value, dtype=value.dtype.name)


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
        upstream = None if upstream is None else tensor(upstream)
        return live.forward(tensor(x), upstream, training)


def differentiate_tensorflow(layer: Any, x: Any, upstream: Any, training: bool) -> Any:
    """Output and gradients; those of gamma and beta while they are trainable."""
    if upstream is None:
        return {"output": layer(x, training=training)}
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = layer(x, training=training)
    learned = {f"grad_{variable.name}": variable.value for variable in layer.trainable_variables}
    gradients = tape.gradient(output, {"grad_input": x, **learned}, output_gradients=upstream)
    return {"output": output, **gradients}


def differentiate_torch(layer: Any, x: Any, upstream: Any, training: bool) -> Any:
    if upstream is None:
        with torch.no_grad():
            return {"output": layer(x, training=training)}
    learned = {f"grad_{variable.name}": variable.value for variable in layer.trainable_variables}
    sources = {"grad_input": x.requires_grad_(), **learned}
    output = layer(x, training=training)
    gradients = torch.autograd.grad(output, list(sources.values()), upstream)
    return {"output": output, **dict(zip(sources, gradients, strict=True))}


def call_numpy(layer: Any, x: Any, upstream: Any, training: bool) -> Any:
    """NumPy differentiates nothing."""
    return {"output": layer(x, training=training)}


class Stateless:
    """A layer on JAX: a pure function of its variables by `stateless_call`, which assigns them afterwards."""

    def __init__(self, layer: Any, mode: str) -> None:
        self.layer = layer
        pure = functools.partial(differentiate_jax, layer)
        self.pure = pure if mode == "eager" else jax.jit(pure, static_argnames="training")

    def __call__(self, x: Any, upstream: Any, training: bool) -> Any:
        trainable = [variable.value for variable in self.layer.trainable_variables]
        others = [variable.value for variable in self.layer.non_trainable_variables]
        quantities, moved = self.pure(trainable, others, x, upstream, training=training)
        for variable, value in zip(self.layer.non_trainable_variables, moved, strict=True):
            variable.assign(value)
        return quantities


def differentiate_jax(layer: Any, trainable: Any, others: Any, x: Any, upstream: Any, training: bool) -> Any:
    def forward(trainable: Any, x: Any) -> Any:
        return layer.stateless_call(trainable, others, x, training=training)

    if upstream is None:
        output, moved = forward(trainable, x)
        return {"output": output}, moved
    output, pullback, moved = jax.vjp(forward, trainable, x, has_aux=True)
    gradients, grad_input = pullback(upstream)
    names = [f"grad_{variable.name}" for variable in layer.trainable_variables]
    return {"output": output, "grad_input": grad_input, **dict(zip(names, gradients, strict=True))}, moved


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


def put(value: Any, device: str) -> Any:
    with keras.device(device):
        return tensor(value)


def wait(live: Any, results: Any) -> None:
    match BACKEND:
        case "tensorflow" if live.device == "gpu":
            tf.test.experimental.sync_devices()
        case "torch" if live.device == "gpu":
            torch.cuda.synchronize()
        case "jax":
            jax.block_until_ready(results)
        case _:  # a CPU computes at once
            pass


def timed_infer(live: Any, x: Any, upstream: Any) -> Any:
    return live.forward(x, upstream, training=False)


def timed_train(live: Any, x: Any, upstream: Any) -> Any:
    return live.forward(x, upstream, training=True)


def compilations(live: Any) -> int:
    if live.mode == "eager":
        return 0
    return live.forward.pure._cache_size() if BACKEND == "jax" else live.forward.experimental_get_tracing_count()


def described() -> tuple[dict[str, str], dict[str, str], bool]:
    """Versions and settings of the backend, and whether it has a GPU."""
    found = {"backend": BACKEND, "floatx": keras.config.floatx()}
    match BACKEND:
        case "tensorflow":
            found |= {
                "threads within an op": str(tf.config.threading.get_intra_op_parallelism_threads() or "automatic"),
                "threads between ops": str(tf.config.threading.get_inter_op_parallelism_threads() or "automatic"),
                "oneDNN": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
                "deterministic ops": os.environ.get("TF_DETERMINISTIC_OPS", "default"),
                "TF32": str(tf.config.experimental.tensor_float_32_execution_enabled()),
                "XLA flags": os.environ.get("XLA_FLAGS", ""),
            }
            return {"tensorflow": tf.__version__}, found, bool(tf.config.list_physical_devices("GPU"))
        case "torch":
            found |= {
                "threads": str(torch.get_num_threads()),
                "deterministic algorithms": str(torch.are_deterministic_algorithms_enabled()),
                "CPU capability": torch.backends.cpu.get_cpu_capability(),
            }
            return {"torch": torch.__version__}, found, torch.cuda.is_available()
        case "jax":
            found |= {
                "x64": str(jax.config.jax_enable_x64),
                "platform": jax.default_backend(),
                "jit disabled": str(jax.config.jax_disable_jit),
                "XLA flags": os.environ.get("XLA_FLAGS", ""),
            }
            return {"jax": jax.__version__, "jaxlib": jaxlib.__version__}, found, jax.default_backend() == "gpu"
        case _:
            return {}, found, False


FROZEN = Declared(
    field="frozen_implies_inference",
    value=True,
    source="documentation",
    where="keras.layers.BatchNormalization: trainable = False means that the layer will be run in inference mode",
)
VERSIONS, SETTINGS, HAS_GPU = described()
#: Importing Keras performs TensorFlow's first operation, which starts its pools: that within an operation has no name,
#: and on a GPU others have none either.
POOL = {"tensorflow": None if HAS_GPU else "", "jax": "tf_XLAEigen"}.get(BACKEND)
DEVICES = ("cpu", "gpu") if HAS_GPU else ("cpu",)
#: Without x64, jax.numpy has no float64.
DTYPES = (() if SETTINGS.get("x64") == "False" else ("float64",)) + ("float32", "float16", "bfloat16")
#: torch.compile cannot trace the call of a Keras layer whole, and NumPy has no compiler.
MODES = {"tensorflow": ("eager", "compiled", "xla"), "jax": ("eager", "compiled")}.get(BACKEND, ("eager",))
LACKS = ("grad_input", "grad_gamma", "grad_beta") if BACKEND == "numpy" else ()
STEPS: dict[str, Callable[..., Any]] = {
    "train": train,
    "infer": infer,
    "reload": reload,
    "freeze": freeze,
    "unfreeze": unfreeze,
}
TIMED: dict[str, Callable[..., Any]] = {
    "put": put,
    "get": array,
    "wait": wait,
    "infer": timed_infer,
    "train_forward": timed_train,
    **({} if LACKS else {"train": timed_train}),
}

ADAPTER = Adapter(
    library="keras",
    versions={"keras": keras.__version__, **VERSIONS},
    settings=SETTINGS,
    pool=POOL,
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
            steps=STEPS if LACKS else {**STEPS, "sgd": sgd},
            lacks=LACKS,
            timed=TIMED,
            compilations=compilations,
            documentation="https://keras.io/api/layers/normalization_layers/batch_normalization/",
        ),
        Implementation(
            name=f"keras.layers.BatchNormalization+renorm+{BACKEND}",
            op="batch_renorm",
            profile=(FROZEN,),
            modes=MODES,
            devices=DEVICES,
            dtypes=DTYPES,
            supports=supports_renorm,
            call=call_renorm,
            start=start,
            state=state,
            steps=STEPS if LACKS else {**STEPS, "sgd": sgd},
            lacks=LACKS,
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
            lacks=LACKS,
            timed=TIMED,
            compilations=compilations,
        ),
    ),
)
