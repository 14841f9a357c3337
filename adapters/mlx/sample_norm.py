"""MLX: `mlx.nn.LayerNorm`, `RMSNorm`, `GroupNorm` in both of its ways, and `InstanceNorm`, eager alone."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import mlx.core as mx
import mlx.nn  # noqa: F401 - the call names it by its path
import mlx.optimizers
import numpy as np

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities

PROCESSES = "portable"

#: Our name -> MLX's name for the same array.
NAMES = {"gamma": "weight", "beta": "bias"}


def tensor(array: Any) -> Any:
    """An array of MLX in the same dtype, which float64 needs to be told."""
    dtype = "bool_" if array.dtype == bool else array.dtype.name
    return mx.array(array, dtype=getattr(mx, dtype))


def array(value: Any) -> Any:
    """A NumPy array; the buffer protocol has no bfloat16."""
    if value.dtype == mx.bfloat16:
        return np.array(value.view(mx.uint16)).view(ml_dtypes.bfloat16)
    return np.array(value)


def supports(configuration: Configuration) -> str | None:
    if configuration.feature_axes != (configuration.rank - 1,):
        return "`dims` is the size of the last axis"
    if configuration.epsilon <= 0:
        return "'eps' must be positive"
    if configuration.parameter_dtype != configuration.dtype:
        return "the layer has no dtype of its own: arrays of two dtypes promote, and the output has the wider"
    return None


def supports_layer(configuration: Configuration) -> str | None:
    if configuration.center and not configuration.scale:
        return "`affine` switches weight and bias off together, and `bias` the bias alone"
    return supports(configuration)


def supports_rms(configuration: Configuration) -> str | None:
    if configuration.center or not configuration.scale:
        return "there is always a weight, and never a bias"
    if any(configuration.options.values()):
        return "the weight multiplies as it is, and eps is inside the root"
    return supports(configuration)


def supports_channels(configuration: Configuration) -> str | None:
    if configuration.scale != configuration.center or configuration.options.get("tracked"):
        return "`affine` switches weight and bias together, and there are no moving values"
    if configuration.op == "instance_norm" and configuration.rank < 3:
        return "InstanceNorm expects inputs with at least 3 dimensions"
    return supports(configuration)


def call_group(configuration: Configuration, *, pytorch_compatible: bool) -> Call:
    return Call(
        path="mlx.nn.GroupNorm",
        keywords={
            "num_groups": configuration.options["groups"],
            "pytorch_compatible": pytorch_compatible,
            **call_instance(configuration).keywords,
        },
    )


def call_instance(configuration: Configuration) -> Call:
    keywords = {**call_rms(configuration).keywords, "affine": configuration.scale}
    return Call(path="mlx.nn.InstanceNorm", keywords=keywords)


def call_rms(configuration: Configuration) -> Call:
    keywords = {"dims": configuration.feature_count, "eps": configuration.epsilon}
    return Call(path="mlx.nn.RMSNorm", keywords=keywords)


def call_layer(configuration: Configuration) -> Call:
    keywords = {"affine": configuration.scale, "bias": configuration.center}
    return Call(path="mlx.nn.LayerNorm", keywords={**call_rms(configuration).keywords, **keywords})


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    mx.set_default_device(mx.Device(getattr(mx, device)))
    layer.set_dtype(getattr(mx, configuration.parameter_dtype))
    layer.update({NAMES[name]: tensor(value) for name, value in state.items()})
    return SimpleNamespace(layer=layer, gradients={})


def state(live: Any) -> Quantities:
    stored = live.layer.parameters()
    return {ours: array(stored[theirs]) for ours, theirs in NAMES.items() if theirs in stored}


def step(live: Any, x: Any, upstream: Any) -> Quantities:
    if upstream is None:
        return {"output": array(live.layer(tensor(x)))}
    quantities = pulled(live, tensor(x), tensor(upstream))
    mx.eval(quantities)
    return {name: array(value) for name, value in quantities.items()}


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    """A gradient step takes the gradients of training."""
    learned = live.gradients
    quantities = step(live, x, upstream)
    live.gradients = learned
    return quantities


def pulled(live: Any, x: Any, upstream: Any) -> Any:
    """By a loss whose gradient with respect to the output is the upstream one."""

    def loss(parameters: Any, x: Any) -> Any:
        live.layer.update(parameters)
        output = live.layer(x)
        return (output * upstream).sum(), output

    value_and_grad = mx.value_and_grad(loss, argnums=(0, 1))
    (_, output), (live.gradients, grad_input) = value_and_grad(live.layer.trainable_parameters(), x)
    learned = {f"grad_{ours}": live.gradients[theirs] for ours, theirs in NAMES.items() if theirs in live.gradients}
    return {"output": output, "grad_input": grad_input, **learned}


def reload(live: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "weights.safetensors"))
        live.layer.save_weights(file)
        live.layer.update({name: mx.full_like(value, 7) for name, value in live.layer.parameters().items()})
        live.layer.load_weights(file)
        mx.eval(live.layer.parameters())
    return live


def sgd(live: Any, learning_rate: float) -> None:
    mlx.optimizers.SGD(learning_rate).update(live.layer, live.gradients)


PAGE = "https://ml-explore.github.io/mlx/build/html/python/nn/_autosummary/mlx.nn."
LAYER = Implementation(
    name="mlx.nn.LayerNorm",
    op="layer_norm",
    profile=(),
    modes=("eager",),
    devices=("cpu", "gpu") if mx.is_available(mx.gpu) else ("cpu",),
    dtypes=("float64", "float32", "float16", "bfloat16"),
    supports=supports_layer,
    call=call_layer,
    start=start,
    state=state,
    steps={"train": step, "infer": infer, "reload": reload, "sgd": sgd},
    documentation=PAGE + "LayerNorm.html",
    names={"gamma": "*.weight", "beta": "*.bias"},
)
GROUP = replace(
    LAYER,
    name="mlx.nn.GroupNorm",
    op="group_norm",
    supports=supports_channels,
    call=functools.partial(call_group, pytorch_compatible=False),
    documentation=PAGE + "GroupNorm.html",
)

ADAPTER = Adapter(
    library="mlx",
    versions={"mlx": mx.__version__},
    settings={"default device": str(mx.default_device())},
    implementations=(
        LAYER,
        replace(
            LAYER,
            name="mlx.nn.RMSNorm",
            op="rms_norm",
            supports=supports_rms,
            call=call_rms,
            documentation=PAGE + "RMSNorm.html",
            names={"gamma": "*.weight"},
        ),
        GROUP,
        replace(
            GROUP,
            name="mlx.nn.GroupNorm+pytorch_compatible",
            call=functools.partial(call_group, pytorch_compatible=True),
        ),
        replace(
            GROUP,
            name="mlx.nn.InstanceNorm",
            op="instance_norm",
            call=call_instance,
            documentation=PAGE + "InstanceNorm.html",
        ),
    ),
)
