"""Keras 3's masks: `keras.layers.BatchNormalization` called with `mask`, on the backend of the process."""

from __future__ import annotations

import functools
import os
from dataclasses import replace
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

#: Keras has our names for the variables of the layer.
NAMES = ("gamma", "beta", "moving_mean", "moving_variance")


def supports(configuration: Configuration) -> str | None:
    if len(configuration.feature_axes) != 1:
        return "`axis` is an integer, the axis that should be normalized"
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


#: The layers that were compiled, with their steps: equal configurations share one, and compile a signature once.
COMPILED: dict[tuple[Configuration, str, str], tuple[Any, Any]] = {}


def prepare(layer: Any, mode: str) -> Any:
    """The step of the layer in the way of the backend: (x, upstream, mask, training) -> quantities."""
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
            getattr(layer, name).assign(value)
    return SimpleNamespace(layer=layer, mode=mode, device=device, forward=forward)


def state(live: Any) -> Quantities:
    return {name: array(getattr(live.layer, name)) for name in NAMES if getattr(live.layer, name, None) is not None}


def tensor(value: Any) -> Any:
    """A tensor of the array's dtype, which some backends would else change."""
    return None if value is None else keras.ops.convert_to_tensor(value, dtype=value.dtype.name)


def array(value: Any) -> Any:
    return keras.ops.convert_to_numpy(value)


def train(live: Any, x: Any, upstream: Any, mask: Any = None) -> Quantities:
    """The mask as it is: the layer asks for one dimension less than the inputs."""
    return run(live, x, upstream, mask, training=True)


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    return run(live, x, upstream, None, training=False)


def run(live: Any, x: Any, upstream: Any, mask: Any, training: bool) -> Quantities:
    with keras.device(live.device):
        quantities = live.forward(tensor(x), tensor(upstream), tensor(mask), training)
    return {name: array(value) for name, value in quantities.items()}


def differentiate_tensorflow(layer: Any, x: Any, upstream: Any, mask: Any, training: bool) -> Any:
    """Output and gradients; those of gamma and beta while they are trainable."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = layer(x, training=training, mask=mask)
    if upstream is None:
        return {"output": output}
    learned = {f"grad_{variable.name}": variable.value for variable in layer.trainable_variables}
    gradients = tape.gradient(output, {"grad_input": x, **learned}, output_gradients=upstream)
    return {"output": output, **gradients}


def differentiate_torch(layer: Any, x: Any, upstream: Any, mask: Any, training: bool) -> Any:
    if upstream is None:
        with torch.no_grad():
            return {"output": layer(x, training=training, mask=mask)}
    learned = {f"grad_{variable.name}": variable.value for variable in layer.trainable_variables}
    sources = {"grad_input": x.requires_grad_(), **learned}
    output = layer(x, training=training, mask=mask)
    gradients = torch.autograd.grad(output, list(sources.values()), upstream)
    return {"output": output, **dict(zip(sources, gradients, strict=True))}


def call_numpy(layer: Any, x: Any, upstream: Any, mask: Any, training: bool) -> Any:
    """NumPy differentiates nothing."""
    return {"output": layer(x, training=training, mask=mask)}


class Stateless:
    """A layer on JAX: a pure function of its variables by `stateless_call`, which assigns them afterwards."""

    def __init__(self, layer: Any, mode: str) -> None:
        self.layer = layer
        pure = functools.partial(differentiate_jax, layer)
        self.pure = pure if mode == "eager" else jax.jit(pure, static_argnames="training")

    def __call__(self, x: Any, upstream: Any, mask: Any, training: bool) -> Any:
        trainable = [variable.value for variable in self.layer.trainable_variables]
        others = [variable.value for variable in self.layer.non_trainable_variables]
        quantities, moved = self.pure(trainable, others, x, upstream, mask, training=training)
        for variable, value in zip(self.layer.non_trainable_variables, moved, strict=True):
            variable.assign(value)
        return quantities


def differentiate_jax(layer: Any, trainable: Any, others: Any, x: Any, upstream: Any, mask: Any, training: bool) -> Any:
    def forward(trainable: Any, x: Any) -> Any:
        return layer.stateless_call(trainable, others, x, training=training, mask=mask)

    if upstream is None:
        output, moved = forward(trainable, x)
        return {"output": output}, moved
    output, pullback, moved = jax.vjp(forward, trainable, x, has_aux=True)
    gradients, grad_input = pullback(upstream)
    names = [f"grad_{variable.name}" for variable in layer.trainable_variables]
    return {"output": output, "grad_input": grad_input, **dict(zip(names, gradients, strict=True))}, moved


def freeze(live: Any) -> None:
    live.layer.trainable = False
    # Keras documents that a changed `trainable` takes effect on compiling again.
    live.forward = prepare(live.layer, live.mode)


def unfreeze(live: Any) -> None:
    live.layer.trainable = True
    live.forward = prepare(live.layer, live.mode)


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

ADAPTER = Adapter(
    library="keras",
    versions={"keras": keras.__version__, **VERSIONS},
    settings=SETTINGS,
    # Importing Keras performs TensorFlow's first operation, which starts its pools: that within an operation has no
    # name, and on a GPU others have none either.
    pool={"tensorflow": None if HAS_GPU else "", "jax": "tf_XLAEigen"}.get(BACKEND),
    implementations=(
        Implementation(
            name=f"keras.layers.BatchNormalization+mask+{BACKEND}",
            op="masked_batch_norm",
            profile=(FROZEN,),
            # torch.compile cannot trace the call of a Keras layer whole, and NumPy has no compiler.
            modes={"tensorflow": ("eager", "compiled", "xla"), "jax": ("eager", "compiled")}.get(BACKEND, ("eager",)),
            devices=("cpu", "gpu") if HAS_GPU else ("cpu",),
            # Without x64, jax.numpy has no float64.
            dtypes=(() if SETTINGS.get("x64") == "False" else ("float64",)) + ("float32", "float16", "bfloat16"),
            supports=supports,
            call=call,
            start=start,
            state=state,
            steps={"train": train, "infer": infer, "freeze": freeze, "unfreeze": unfreeze},
            lacks=("grad_input", "grad_gamma", "grad_beta") if BACKEND == "numpy" else (),
            compilations=compilations,
            documentation="https://keras.io/api/layers/normalization_layers/batch_normalization/",
        ),
    ),
)
