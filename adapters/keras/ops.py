"""Keras 3 in functions: `keras.ops.moments` followed by `keras.ops.batch_normalization`, on the backend of the process.

Beside them `keras.layers.Normalization`, which takes its statistics by `adapt` and has nothing to learn.
"""

from __future__ import annotations

import functools
import os
import tempfile
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

#: Our name -> the name of the layer's variable.
NAMES = {"moving_mean": "adapt_mean", "moving_variance": "adapt_variance"}


def supports(configuration: Configuration) -> str | None:
    if len(configuration.feature_axes) != 1:
        return "`axis` is an integer, the axis that should be normalized"
    if configuration.parameter_dtype != configuration.dtype:
        return "keras.ops.moments returns the dtype of x, and TensorFlow refuses operations between two dtypes"
    if BACKEND == "numpy" and configuration.dtype == "bfloat16":
        return "NumPy has no bfloat16 of its own: the root of one is a float32, and so is the result"
    return None


def supports_normalization(configuration: Configuration) -> str | None:
    if configuration.scale or configuration.center:
        return "the layer has neither scale nor offset"
    if configuration.epsilon:
        return "there is no epsilon: the divisor is the root of the variance, or keras.config.epsilon() if that is more"
    if configuration.decay:
        return "`adapt` replaces mean and variance by those of the data"
    if configuration.parameter_dtype != configuration.dtype:
        return "mean and variance have the dtype of the layer"
    return None


def call(configuration: Configuration) -> Call:
    return Call(
        path="keras.ops.batch_normalization",
        keywords={"axis": configuration.feature_axes[0], "epsilon": configuration.epsilon},
        function=True,
    )


def call_normalization(configuration: Configuration) -> Call:
    return Call(
        path="keras.layers.Normalization",
        keywords={"axis": configuration.feature_axes, "dtype": configuration.dtype},
    )


#: The steps that were compiled: equal configurations share them, and compile a signature once.
COMPILED: dict[tuple[Configuration, str, str], Any] = {}


def prepare(forward: Any, configuration: Configuration, mode: str, device: str) -> Any:
    """The functions with their gradients, compiled in the way of the backend."""
    key = replace(configuration, memory="contiguous"), mode, device
    match BACKEND:
        case "tensorflow":
            step = functools.partial(differentiate_tensorflow, forward)
            return step if mode == "eager" else COMPILED.setdefault(key, tf.function(step, jit_compile=mode == "xla"))
        case "jax":
            step = functools.partial(differentiate_jax, forward)
            return step if mode == "eager" else COMPILED.setdefault(key, jax.jit(step))
        case "torch":
            return functools.partial(differentiate_torch, forward)
        case _:
            return functools.partial(call_numpy, forward)


def start(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    forward = functools.partial(normalize, function, list(configuration.reduction_axes))
    with keras.device(device):
        tensors = {name: tensor(value) for name, value in state.items()}
    return SimpleNamespace(
        state=state,
        learned={name: tensors[name] for name in ("gamma", "beta") if name in tensors},
        moving={name: tensors[name] for name in ("moving_mean", "moving_variance")},
        step=prepare(forward, configuration, mode, device),
        mode=mode,
        device=device,
    )


def start_normalization(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    with keras.device(device):
        layer.build(configuration.shape)
        for name, value in state.items():
            getattr(layer, NAMES[name]).assign(value)
        layer.finalize_state()
    return SimpleNamespace(layer=layer, configuration=configuration, device=device)


def state(live: Any) -> Quantities:
    return dict(live.state)


def state_normalization(live: Any) -> Quantities:
    return {ours: array(getattr(live.layer, theirs)) for ours, theirs in NAMES.items()}


def tensor(value: Any) -> Any:
    """A tensor of the array's dtype, which some backends would else change."""
    return keras.ops.convert_to_tensor(value, dtype=value.dtype.name)


def array(value: Any) -> Any:
    return keras.ops.convert_to_numpy(value)


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    return run(live, x, upstream, {})


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    return run(live, x, upstream, live.moving)


def run(live: Any, x: Any, upstream: Any, moving: Any) -> Quantities:
    with keras.device(live.device):
        upstream = None if upstream is None else tensor(upstream)
        results = live.step(tensor(x), upstream, live.learned, moving)
    return {name: array(value) for name, value in results.items()}


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
    return live.step(x, upstream, live.learned, live.moving)


def timed_train(live: Any, x: Any, upstream: Any) -> Any:
    return live.step(x, upstream, live.learned, {})


def normalize(function: Any, axes: Any, x: Any, learned: Any, moving: Any) -> Any:
    """Normalizes with the moving values where they are given, else with the moments of x."""
    if moving:
        mean, variance, statistics = moving["moving_mean"], moving["moving_variance"], {}
    else:
        mean, variance = keras.ops.moments(x, axes)
        statistics = {"batch_mean": mean, "batch_variance": variance}
    output = function(x, mean, variance, offset=learned.get("beta"), scale=learned.get("gamma"))
    return output, statistics


def differentiate_tensorflow(forward: Any, x: Any, upstream: Any, learned: Any, moving: Any) -> Any:
    sources = {"grad_input": x, **{f"grad_{name}": value for name, value in learned.items()}}
    with tf.GradientTape() as tape:
        tape.watch(sources)
        output, statistics = forward(x, learned, moving)
    if upstream is None:
        return {"output": output, **statistics}
    return {"output": output, **statistics, **tape.gradient(output, sources, output_gradients=upstream)}


def differentiate_torch(forward: Any, x: Any, upstream: Any, learned: Any, moving: Any) -> Any:
    if upstream is None:
        with torch.no_grad():
            output, statistics = forward(x, learned, moving)
        return {"output": output, **statistics}
    learned = {name: value.detach().requires_grad_() for name, value in learned.items()}
    sources = {"grad_input": x.requires_grad_(), **{f"grad_{name}": value for name, value in learned.items()}}
    output, statistics = forward(x, learned, moving)
    gradients = torch.autograd.grad(output, list(sources.values()), upstream)
    return {"output": output, **statistics, **dict(zip(sources, gradients, strict=True))}


def differentiate_jax(forward: Any, x: Any, upstream: Any, learned: Any, moving: Any) -> Any:
    if upstream is None:
        output, statistics = forward(x, learned, moving)
        return {"output": output, **statistics}

    def of_sources(x: Any, learned: Any) -> Any:
        return forward(x, learned, moving)

    output, pullback, statistics = jax.vjp(of_sources, x, learned, has_aux=True)
    grad_input, gradients = pullback(upstream)
    named = {f"grad_{name}": value for name, value in gradients.items()}
    return {"output": output, "grad_input": grad_input, **statistics, **named}


def call_numpy(forward: Any, x: Any, upstream: Any, learned: Any, moving: Any) -> Any:
    """NumPy differentiates nothing."""
    output, statistics = forward(x, learned, moving)
    return {"output": output, **statistics}


def adapt(live: Any, x: Any, upstream: Any) -> Quantities:
    """Takes the statistics of x, and normalizes with them; they are constants, and nothing is differentiated."""
    with keras.device(live.device):
        live.layer.adapt(x)
        return {"output": array(live.layer(tensor(x)))}


def apply(live: Any, x: Any, upstream: Any) -> Quantities:
    with keras.device(live.device):
        return {"output": array(live.layer(tensor(x)))}


def reload(live: Any) -> Any:
    configuration = live.configuration
    free = tuple(None if axis in configuration.reduction_axes else n for axis, n in enumerate(configuration.shape))
    model = keras.Sequential([keras.Input(batch_shape=free, dtype=configuration.dtype), live.layer])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        model.save(file)
        live.layer = keras.saving.load_model(file).layers[-1]
    return live


def compilations(live: Any) -> int:
    if live.mode == "eager":
        return 0
    return live.step._cache_size() if BACKEND == "jax" else live.step.experimental_get_tracing_count()


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


CALLER_STATE = Declared(
    field="state",
    value="caller",
    source="documentation",
    where="keras.ops.batch_normalization: mean and variance are arguments",
)
VERSIONS, SETTINGS, HAS_GPU = described()
#: Importing Keras performs TensorFlow's first operation, which starts its pools: that within an operation has no name,
#: and on a GPU others have none either.
POOL = {"tensorflow": None if HAS_GPU else "", "jax": "tf_XLAEigen"}.get(BACKEND)
DEVICES = ("cpu", "gpu") if HAS_GPU else ("cpu",)
#: Without x64, jax.numpy has no float64.
DTYPES = (() if SETTINGS.get("x64") == "False" else ("float64",)) + ("float32", "float16", "bfloat16")
#: As the layers: what PyTorch compiles of a function is judged in its own rows, and NumPy has no compiler.
MODES = {"tensorflow": ("eager", "compiled", "xla"), "jax": ("eager", "compiled")}.get(BACKEND, ("eager",))
GRADIENTS = ("grad_input", "grad_gamma", "grad_beta")

ADAPTER = Adapter(
    library="keras",
    versions={"keras": keras.__version__, **VERSIONS},
    settings=SETTINGS,
    pool=POOL,
    implementations=(
        Implementation(
            name=f"keras.ops.batch_normalization+{BACKEND}",
            op="batch_norm",
            profile=(CALLER_STATE,),
            modes=MODES,
            devices=DEVICES,
            dtypes=DTYPES,
            supports=supports,
            call=call,
            start=start,
            state=state,
            steps={"train": train, "infer": infer},
            timed={
                "put": put,
                "get": array,
                "wait": wait,
                "infer": timed_infer,
                "train_forward": timed_train,
                **({} if BACKEND == "numpy" else {"train": timed_train}),
            },
            lacks=GRADIENTS if BACKEND == "numpy" else (),
            compilations=compilations,
            documentation="https://keras.io/api/ops/nn/",
        ),
        Implementation(
            name=f"keras.layers.Normalization+{BACKEND}",
            op="batch_norm",
            profile=(),
            modes=("eager",),
            devices=DEVICES,
            dtypes=DTYPES,
            supports=supports_normalization,
            call=call_normalization,
            start=start_normalization,
            state=state_normalization,
            steps={"train": adapt, "infer": apply, "reload": reload},
            lacks=GRADIENTS,
            documentation="https://keras.io/api/layers/preprocessing_layers/numerical/normalization/",
        ),
    ),
)
