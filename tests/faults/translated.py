"""A layer with a vocabulary of its own, for translations: `momentum` is the weight of the new value, axis 1 has the features."""

from __future__ import annotations

from typing import Any

import numpy as np

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

PROCESSES: list[dict[str, Any]] = [{"name": "translated", "group": None, "environment": {}}]


class Norm:
    def __init__(self, channels: int, eps: float, momentum: float, affine: bool, wrong: bool = False) -> None:
        self.channels, self.eps, self.momentum, self.affine, self.wrong = channels, eps, momentum, affine, wrong


def supports(configuration: Configuration) -> str | None:
    if configuration.feature_axes != (1,):
        return "channels are axis 1"
    if configuration.scale != configuration.center:
        return "affine switches both"
    return None


def call(configuration: Configuration) -> Call:
    return Call(
        path="Norm",
        keywords={
            "channels": configuration.feature_count,
            "eps": configuration.epsilon,
            "momentum": 1 - configuration.decay,
            "affine": configuration.scale,
        },
    )


def call_wrong(configuration: Configuration) -> Call:
    right = call(configuration)
    return Call(path="Norm", keywords={**right.keywords, "wrong": True})


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    layer.state = {name: value.copy() for name, value in state.items()}
    return layer


def state(live: Any) -> Quantities:
    return {name: value.copy() for name, value in live.state.items()}


def run(live: Any, x: Any, mean: Any, variance: Any) -> Quantities:
    shape = (1, -1) + (1,) * (x.ndim - 2)
    # The fault: epsilon outside the root.
    root = np.sqrt(variance) + np.float32(live.eps) if live.wrong else np.sqrt(variance + np.float32(live.eps))
    output = (x - mean.reshape(shape)) / root.reshape(shape)
    if live.affine:
        output = output * live.state["gamma"].reshape(shape) + live.state["beta"].reshape(shape)
    return {"output": output.astype(x.dtype)}


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    count = x.size // x.shape[1]
    mean, variance = x.mean(axes, dtype=np.float64), x.var(axes, dtype=np.float64)
    new = live.momentum
    moved = {"moving_mean": mean, "moving_variance": variance * count / (count - 1)}
    for name, value in moved.items():
        live.state[name] = ((1 - new) * live.state[name].astype(np.float64) + new * value).astype(np.float32)
    return run(live, x, mean.astype(np.float32), variance.astype(np.float32))


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    return run(live, x, live.state["moving_mean"], live.state["moving_variance"])


NAMES = {"gamma": "*.weight", "beta": "*.bias", "moving_mean": "*.running_mean", "moving_variance": "*.running_var"}
CORRECTED = Declared(field="moving_correction", value=1, source="documentation", where="a page of this library")
NORM: dict[str, Any] = {
    "op": "batch_norm",
    "profile": (CORRECTED,),
    "modes": ("eager",),
    "dtypes": ("float32",),
    "supports": supports,
    "start": start,
    "state": state,
    "steps": {"train": train, "infer": infer},
    "lacks": ("grad_input", "grad_gamma", "grad_beta"),
    "names": NAMES,
}
ADAPTER = Adapter(
    library="translated",
    versions={"translated": "1"},
    implementations=(
        Implementation(name="translated.Norm", call=call, **NORM),
        Implementation(name="translated.WrongNorm", call=call_wrong, **NORM),
    ),
)
