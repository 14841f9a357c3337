"""MLX: `mlx.nn.BatchNorm`.

Eager alone: on the CPU `mx.compile` calls the C++ compiler for every kernel that it fuses, seconds for each case.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import mlx.core as mx
import mlx.nn  # noqa: F401 - the call names it by its path
import mlx.optimizers
import numpy as np

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

PROCESSES = "portable"

#: Our name -> MLX's name for the same array.
NAMES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
GRADIENTS = {"weight": "grad_gamma", "bias": "grad_beta"}


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
    if configuration.feature_axes != (configuration.rank - 1,) or not 2 <= configuration.rank <= 4:
        return "the input shape is specified as NC, NLC or NHWC"
    if configuration.scale != configuration.center:
        return "`affine` switches weight and bias together"
    if configuration.parameter_dtype != configuration.dtype:
        return "the layer has no dtype of its own: arrays of two dtypes promote, and the output has the wider"
    return None


def call(configuration: Configuration) -> Call:
    return Call(
        path="mlx.nn.BatchNorm",
        keywords={
            "num_features": configuration.feature_count,
            "eps": configuration.epsilon,
            "momentum": 1 - configuration.decay,
            "affine": configuration.scale,
        },
    )


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    mx.set_default_device(mx.Device(getattr(mx, device)))
    layer.set_dtype(getattr(mx, configuration.parameter_dtype))
    layer.update({NAMES[name]: tensor(value) for name, value in state.items()})
    return SimpleNamespace(layer=layer, device=device, gradients={})


def state(live: Any) -> Quantities:
    stored = live.layer.parameters()
    return {ours: array(stored[theirs]) for ours, theirs in NAMES.items() if theirs in stored}


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    live.layer.train()
    return step(live, x, upstream)


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    live.layer.eval()
    return step(live, x, upstream)


def step(live: Any, x: Any, upstream: Any) -> Quantities:
    if upstream is None:
        return {"output": array(live.layer(tensor(x)))}
    return differentiate(live, tensor(x), tensor(upstream))


def pulled(live: Any, x: Any, upstream: Any) -> Any:
    """By a loss whose gradient with respect to the output is the upstream one."""

    def loss(parameters: Any, x: Any) -> Any:
        live.layer.update(parameters)
        output = live.layer(x)
        return (output * upstream).sum(), output

    value_and_grad = mx.value_and_grad(loss, argnums=(0, 1))
    (_, output), (gradients, grad_input) = value_and_grad(live.layer.trainable_parameters(), x)
    if live.layer.training:
        live.gradients = gradients
    learned = {GRADIENTS[name]: gradient for name, gradient in gradients.items()}
    return {"output": output, "grad_input": grad_input, **learned}


def differentiate(live: Any, x: Any, upstream: Any) -> Quantities:
    quantities = pulled(live, x, upstream)
    mx.eval(quantities, live.layer.parameters())
    return {name: array(value) for name, value in quantities.items()}


def wait(live: Any, results: Any) -> None:
    """Computes what was only written down so far, the moving values among it."""
    mx.eval(results, live.layer.parameters())


def copy(live: Any, x: Any) -> Any:
    """A sum, which moves what a copy moves: of an array that nobody changes MLX makes none."""
    with mx.stream(getattr(mx, live.device)):
        return x + 0


def timed_infer(live: Any, x: Any, upstream: Any) -> Any:
    live.layer.eval()
    with mx.stream(getattr(mx, live.device)):
        return {"output": live.layer(x)}


def timed_train(live: Any, x: Any, upstream: Any) -> Any:
    live.layer.train()
    with mx.stream(getattr(mx, live.device)):
        return {"output": live.layer(x)} if upstream is None else pulled(live, x, upstream)


def reload(live: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "weights.safetensors"))
        live.layer.save_weights(file)
        live.layer.update({name: mx.full_like(value, 7) for name, value in live.layer.parameters().items()})
        live.layer.load_weights(file)
        mx.eval(live.layer.parameters())
    return live


def freeze(live: Any) -> None:
    live.layer.freeze()


def unfreeze(live: Any) -> None:
    live.layer.unfreeze()


def sgd(live: Any, learning_rate: float) -> None:
    mlx.optimizers.SGD(learning_rate).update(live.layer, live.gradients)


MOVING_CORRECTION = Declared(
    field="moving_correction",
    value=1,
    source="source code",
    where="mlx/nn/layers/normalization.py, BatchNorm.__call__: _, running_var = self._calc_stats(x, ddof=1)",
)
SINGLE_VALUE = Declared(
    field="single_value",
    value="error",
    source="source code",
    error="ValueError",
    where="mlx/nn/layers/normalization.py: BatchNorm training requires more than one value per channel",
)

TIMED: dict[str, Callable[..., Any]] = {
    "put": lambda array, device: tensor(array),
    "get": array,
    "wait": wait,
    "copy": copy,
}
LAYER = Implementation(
    name="mlx.nn.BatchNorm",
    op="batch_norm",
    profile=(MOVING_CORRECTION, SINGLE_VALUE),
    modes=("eager",),
    devices=("cpu", "gpu") if mx.is_available(mx.gpu) else ("cpu",),
    dtypes=("float64", "float32", "float16", "bfloat16"),
    supports=supports,
    call=call,
    start=start,
    state=state,
    timed={**TIMED, "infer": timed_infer, "train_forward": timed_train, "train": timed_train},
    steps={"train": train, "infer": infer, "reload": reload, "freeze": freeze, "unfreeze": unfreeze, "sgd": sgd},
    documentation="https://ml-explore.github.io/mlx/build/html/python/nn/_autosummary/mlx.nn.BatchNorm.html",
    names={ours: f"*.{theirs}" for ours, theirs in NAMES.items()},
)

ADAPTER = Adapter(
    library="mlx",
    versions={"mlx": mx.__version__},
    settings={"default device": str(mx.default_device())},
    implementations=(LAYER,),
)
