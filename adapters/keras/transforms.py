"""Keras 3's batch normalization computed again in the backward pass, and on TensorFlow and PyTorch as a stateless call."""

from __future__ import annotations

import functools
import os
from types import SimpleNamespace
from typing import Any

import keras

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities

BACKEND = keras.backend.backend()
if BACKEND == "tensorflow":
    import tensorflow as tf
elif BACKEND == "torch":
    import torch
else:
    import jax
    import jaxlib

PROCESSES = "keras-alone"

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


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str, way: str) -> Any:
    with keras.device(device):
        if way == "RematScope":
            # A layer takes the scope it is made in.
            with keras.RematScope(mode="full"):
                layer = type(layer).from_config(layer.get_config())
        layer.build(configuration.shape)
        for name, value in state.items():
            getattr(layer, name).assign(value)
    differentiate = {"tensorflow": differentiate_tensorflow, "torch": differentiate_torch, "jax": differentiate_jax}
    step = functools.partial(differentiate[BACKEND], layer, way)
    compiled = mode != "eager"
    return SimpleNamespace(
        layer=layer,
        step=tf.function(step, jit_compile=mode == "xla") if compiled else step,
        mode=mode,
        device=device,
        gradients={},
    )


def state(live: Any) -> Quantities:
    stored = {name: getattr(live.layer, name, None) for name in NAMES}
    return {name: array(variable) for name, variable in stored.items() if variable is not None}


def array(value: Any) -> Any:
    return keras.ops.convert_to_numpy(value)


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    live.gradients = run(live, x, upstream, training=True)
    return {name: array(value) for name, value in live.gradients.items()}


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    return {name: array(value) for name, value in run(live, x, upstream, training=False).items()}


def run(live: Any, x: Any, upstream: Any, training: bool) -> Any:
    with keras.device(live.device):
        x = keras.ops.convert_to_tensor(x, dtype=x.dtype.name)
        pull = None if upstream is None else keras.ops.convert_to_tensor(upstream, dtype=upstream.dtype.name)
        quantities, moved = live.step(x, pull, training)
        # A call that keeps its state has moved them itself, once or in each of its passes.
        for variable, value in zip(live.layer.non_trainable_variables if moved else (), moved, strict=True):
            variable.assign(value)
        return quantities


def called(layer: Any, way: str, x: Any, training: bool) -> Any:
    """The output, and of a stateless call the values of the variables that are not trained."""
    match way:
        case "stateless_call":
            trainable, others = ([each.value for each in of] for of in variables(layer))
            return layer.stateless_call(trainable, others, x, training=training)
        case "remat":
            return keras.remat(lambda x: layer(x, training=training))(x), ()
        case _:
            return layer(x, training=training), ()


def variables(layer: Any) -> Any:
    return layer.trainable_variables, layer.non_trainable_variables


def differentiate_tensorflow(layer: Any, way: str, x: Any, upstream: Any, training: bool) -> Any:
    learned = {f"grad_{each.name}": each.value for each in layer.trainable_variables}
    with tf.GradientTape() as tape:
        tape.watch(x)
        output, moved = called(layer, way, x, training)
    if upstream is None:
        return {"output": output}, moved
    gradients = tape.gradient(output, {"grad_input": x, **learned}, output_gradients=upstream)
    return {"output": output, **gradients}, moved


def differentiate_torch(layer: Any, way: str, x: Any, upstream: Any, training: bool) -> Any:
    learned = {f"grad_{each.name}": each.value for each in layer.trainable_variables}
    sources = {"grad_input": x.requires_grad_(), **learned}
    output, moved = called(layer, way, x, training)
    if upstream is None:
        return {"output": output}, moved
    gradients = torch.autograd.grad(output, list(sources.values()), upstream)
    return {"output": output, **dict(zip(sources, gradients, strict=True))}, moved


def differentiate_jax(layer: Any, way: str, x: Any, upstream: Any, training: bool) -> Any:
    """A pure function of the layer's variables, as Keras differentiates on JAX."""

    def forward(trainable: Any, x: Any) -> Any:
        return layer.stateless_call(trainable, others, x, training=training)

    trainable, others = ([each.value for each in of] for of in variables(layer))
    call = keras.remat(forward) if way == "remat" else forward
    if upstream is None:
        output, moved = call(trainable, x)
        return {"output": output}, moved
    output, pullback, moved = jax.vjp(call, trainable, x, has_aux=True)
    gradients, grad_input = pullback(upstream)
    names = [f"grad_{variable.name}" for variable in layer.trainable_variables]
    return {"output": output, "grad_input": grad_input, **dict(zip(names, gradients, strict=True))}, moved


def sgd(live: Any, learning_rate: float) -> None:
    names = [f"grad_{variable.name}" for variable in live.layer.trainable_variables]
    gradients = [live.gradients[name] for name in names]
    keras.optimizers.SGD(learning_rate).apply(gradients, live.layer.trainable_variables)


def compilations(live: Any) -> int:
    return 0 if live.mode == "eager" else int(live.step.experimental_get_tracing_count())


VERSIONS = {
    "tensorflow": lambda: {"tensorflow": tf.__version__},
    "torch": lambda: {"torch": torch.__version__},
    "jax": lambda: {"jax": jax.__version__, "jaxlib": jaxlib.__version__},
}


def settings() -> dict[str, str]:
    match BACKEND:
        case "torch":
            return {"threads": str(torch.get_num_threads())}
        case "jax":
            return {"x64": str(jax.config.jax_enable_x64)}
        case _:
            return {}


SETTINGS = settings()


def implementation(way: str, page: str) -> Implementation:
    """A row: the layer called in one way."""
    return Implementation(
        name=f"keras.layers.BatchNormalization+{way}+{BACKEND}",
        op="transformed_batch_norm",
        profile=(),
        modes=("eager", "compiled", "xla") if BACKEND == "tensorflow" else ("eager",),
        # Without x64, jax.numpy has no float64.
        dtypes=(() if SETTINGS.get("x64") == "False" else ("float64",)) + ("float32", "float16", "bfloat16"),
        supports=supports,
        call=call,
        start=functools.partial(start, way=way),
        state=state,
        steps={"train": train, "infer": infer, "sgd": sgd},
        compilations=compilations,
        documentation="https://keras.io/api/" + page,
    )


# On JAX the ordinary rows are stateless calls already.
STATELESS = () if BACKEND == "jax" else (implementation("stateless_call", "layers/base_layer/"),)
#: Importing Keras performs TensorFlow's first operation, which starts its pools.
POOL = {"tensorflow": "", "jax": "tf_XLAEigen"}.get(BACKEND)

ADAPTER = Adapter(
    library="keras",
    versions={"keras": keras.__version__, **VERSIONS[BACKEND]()},
    settings={
        "backend": BACKEND,
        "floatx": keras.config.floatx(),
        "image data format": keras.config.image_data_format(),
        **SETTINGS,
        "oneDNN": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "XLA flags": os.environ.get("XLA_FLAGS", ""),
    },
    pool=POOL,
    implementations=(implementation("remat", "utils/remat/"), implementation("RematScope", "utils/remat/"), *STATELESS),
)
