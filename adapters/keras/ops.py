"""Keras 3 in functions: `keras.ops.moments` followed by `keras.ops.batch_normalization`, on the backend of the process.

Beside them `keras.layers.Normalization`, which takes its statistics by `adapt` and has nothing to learn.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import keras

from conformance.protocol import Call, Configuration, Declared, Implementation, Quantities
from conformance_adapters.keras._backend import BACKEND, DTYPES, GRADIENTS, compiled, differentiate, differentiate_jax
from conformance_adapters.keras._native import DOCUMENTATION, LAYER, adapter, array, loaded, passes, tensor, timed
from conformance_adapters.tensorflow._process import once

PROCESSES = "keras"

#: How many samples a batch of a dataset has.
BATCH = 5


class Batches(keras.utils.PyDataset):
    """The samples of an array, some at a time."""

    def __init__(self, x: Any) -> None:
        super().__init__()
        self.x = x

    def __len__(self) -> int:
        return math.ceil(len(self.x) / BATCH)

    def __getitem__(self, index: int) -> Any:
        return self.x[index * BATCH : (index + 1) * BATCH]


#: What comes of parameters of another dtype than those of x.
TWO_DTYPES = (
    "TensorFlow refuses operations between two dtypes"
    if BACKEND == "tensorflow"
    else "of two dtypes the backend's own promotion would choose that of the result"
)
#: Our name -> the name of the layer's variable.
ADAPTED = {"moving_mean": "adapt_mean", "moving_variance": "adapt_variance"}


def supports(configuration: Configuration) -> str | None:
    if len(configuration.feature_axes) != 1:
        return "`axis` is an integer, the axis that should be normalized"
    if configuration.parameter_dtype != configuration.dtype:
        return f"keras.ops.moments returns the dtype of x, and {TWO_DTYPES}"
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
        path="keras.layers.Normalization", keywords={"axis": configuration.feature_axes, "dtype": configuration.dtype}
    )


def start(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    with keras.device(device):
        tensors = {name: tensor(value) for name, value in state.items()}
    parameters = {name: tensors[name] for name in ("gamma", "beta") if name in tensors}
    if BACKEND == "torch":
        for parameter in parameters.values():
            parameter.requires_grad_()
    forward = functools.partial(normalize, function, list(configuration.reduction_axes))
    step = functools.partial(differentiate_function if BACKEND != "jax" else differentiate_function_jax, forward)
    return SimpleNamespace(
        state=state,
        parameters=parameters,
        moving={name: tensors[name] for name in ("moving_mean", "moving_variance")},
        step=once(functools.partial(compiled, step, mode), normalize, configuration, mode, device),
        mode=mode,
        device=device,
    )


def normalize(function: Any, axes: Any, x: Any, parameters: Any, moving: Any) -> Any:
    """Normalizes with the moving values where they are given, else with the moments of x."""
    if moving:
        mean, variance, statistics = moving["moving_mean"], moving["moving_variance"], {}
    else:
        mean, variance = keras.ops.moments(x, axes)
        statistics = {"batch_mean": mean, "batch_variance": variance}
    output = function(x, mean, variance, offset=parameters.get("beta"), scale=parameters.get("gamma"))
    return output, statistics


def forward_function(forward: Any, parameters: Any, moving: Any, x: Any) -> Any:
    output, statistics = forward(x, parameters, moving)
    return {"output": output, **statistics}


def differentiate_function(forward: Any, x: Any, upstream: Any, parameters: Any, moving: Any) -> Any:
    named = {f"grad_{name}": value for name, value in parameters.items()}
    return differentiate(functools.partial(forward_function, forward, parameters, moving), x, upstream, named)


def differentiate_function_jax(forward: Any, x: Any, upstream: Any, parameters: Any, moving: Any) -> Any:
    normalized = functools.partial(forward, moving=moving)
    quantities, gradients, statistics = differentiate_jax(normalized, x, upstream, parameters)
    return {**quantities, **statistics, **{f"grad_{name}": value for name, value in dict(gradients).items()}}


def state(live: Any) -> Quantities:
    return dict(live.state)


def run(live: Any, x: Any, upstream: Any, training: bool) -> Quantities:
    with keras.device(live.device):
        results = step(live, tensor(x), tensor(upstream), training)
    return {name: array(value) for name, value in results.items()}


def step(live: Any, x: Any, upstream: Any, training: bool) -> Any:
    return live.step(x, upstream, live.parameters, {} if training else live.moving)


def supports_moments(configuration: Configuration) -> str | None:
    wide = "float64" if BACKEND == "numpy" else "float32"
    if configuration.dtype != wide:
        return f"no page says what integers become: {wide} is the backend's own"
    return None


def call_moments(configuration: Configuration) -> Call:
    return Call(path="keras.ops.moments", keywords={"axes": configuration.reduction_axes}, function=True)


def start_moments(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    return SimpleNamespace(function=function, device=device)


def no_state(live: Any) -> Quantities:
    return {}


def take_moments(live: Any, x: Any, upstream: Any) -> Quantities:
    with keras.device(live.device):
        mean, variance = live.function(keras.ops.convert_to_tensor(x))
        return {"batch_mean": array(mean), "batch_variance": array(variance)}


def start_normalization(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    with keras.device(device):
        layer.build(configuration.shape)
        for name, value in state.items():
            getattr(layer, ADAPTED[name]).assign(value)
        layer.finalize_state()
    return SimpleNamespace(layer=layer, configuration=configuration, device=device)


def state_normalization(live: Any) -> Quantities:
    return {ours: array(getattr(live.layer, theirs)) for ours, theirs in ADAPTED.items()}


def adapt(live: Any, x: Any, upstream: Any) -> Quantities:
    """Takes the statistics of x, and normalizes with them; they are constants, and nothing is differentiated."""
    with keras.device(live.device):
        live.layer.adapt(x)
    return apply(live, x, upstream)


def adapt_to_batches(live: Any, x: Any, upstream: Any) -> Quantities:
    """The same of a dataset, whose batches have statistics of their own that the layer merges."""
    with keras.device(live.device):
        live.layer.adapt(Batches(x))
    return apply(live, x, upstream)


def apply(live: Any, x: Any, upstream: Any) -> Quantities:
    with keras.device(live.device):
        return {"output": array(live.layer(tensor(x)))}


def reload(live: Any) -> Any:
    with keras.device(live.device):
        live.layer = loaded(live)
    return live


CALLER_STATE = Declared(
    field="state",
    value="caller",
    source="documentation",
    where="keras.ops.batch_normalization: mean and variance are arguments",
)

NORMALIZATION = Implementation(
    name=f"keras.layers.Normalization+{BACKEND}",
    op="batch_norm",
    profile=(),
    modes=("eager",),
    dtypes=DTYPES,
    supports=supports_normalization,
    call=call_normalization,
    start=start_normalization,
    state=state_normalization,
    steps={"train": adapt, "infer": apply, "reload": reload},
    lacks=GRADIENTS,
    documentation=DOCUMENTATION + "layers/preprocessing_layers/numerical/normalization/",
)
#: Other backends ask for TensorFlow there: `This requires the tensorflow module`.
DATASETS = (
    replace(
        NORMALIZATION,
        name=f"keras.layers.Normalization+PyDataset+{BACKEND}",
        steps={**NORMALIZATION.steps, "train": adapt_to_batches},
    ),
)

ADAPTER = adapter(
    replace(
        LAYER,
        name=f"keras.ops.batch_normalization+{BACKEND}",
        profile=(CALLER_STATE,),
        supports=supports,
        call=call,
        start=start,
        state=state,
        steps=passes(run),
        given=("gamma", "beta", "moving_mean", "moving_variance"),
        timed=timed(step),
        documentation=DOCUMENTATION + "ops/nn/",
    ),
    Implementation(
        name=f"keras.ops.moments+{BACKEND}",
        op="moments",
        profile=(),
        modes=("eager",),
        dtypes=("float32", "float64"),
        supports=supports_moments,
        call=call_moments,
        start=start_moments,
        state=no_state,
        steps={"infer": take_moments},
        documentation=DOCUMENTATION + "ops/nn/",
    ),
    NORMALIZATION,
    *(DATASETS if BACKEND == "tensorflow" else ()),
)
