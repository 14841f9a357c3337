"""Implementations to be timed, each with one fault that no clock shows by itself."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import numpy as np

from conformance.protocol import Adapter, Call, Implementation

PROCESSES: list[dict[str, Any]] = [{"name": "timed", "group": None, "environment": {}}]


class Layer:
    def __init__(self, axes: Any, epsilon: Any) -> None:
        self.axes, self.epsilon = axes, epsilon


def start(layer: Any, configuration: Any, state: Any, mode: Any, device: Any) -> Any:
    return SimpleNamespace(layer=layer, state=dict(state), decay=np.float32(configuration.decay), kept=None)


def normalized(live: Any, x: Any, training: Any) -> Any:
    axes = live.layer.axes
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    s = {name: value.reshape(shape) for name, value in live.state.items()}
    mean, variance = s["moving_mean"], s["moving_variance"]
    if training:
        mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        for name, batch in (("moving_mean", mean), ("moving_variance", variance)):
            live.state[name] = live.decay * live.state[name] + (1 - live.decay) * batch.reshape(-1)
    inverse = 1 / np.sqrt(variance + np.float32(live.layer.epsilon))
    return (x - mean) * inverse, inverse, s


def infer(live: Any, x: Any, upstream: Any) -> Any:
    hat, _, s = normalized(live, x, False)
    return {"output": s["gamma"] * hat + s["beta"]}


def train(live: Any, x: Any, upstream: Any) -> Any:
    hat, inverse, s = normalized(live, x, True)
    output = s["gamma"] * hat + s["beta"]
    if upstream is None:
        return {"output": output}
    axes, count = live.layer.axes, x.size // live.state["gamma"].size
    beta, gamma = upstream.sum(axes, keepdims=True), (upstream * hat).sum(axes, keepdims=True)
    grad = s["gamma"] * inverse * (upstream - beta / count - hat * (gamma / count))
    return {"output": output, "grad_input": grad, "grad_gamma": gamma.reshape(-1), "grad_beta": beta.reshape(-1)}


def dropping(live: Any, x: Any, upstream: Any) -> Any:
    results = train(live, x, upstream)
    results.pop("grad_input", None)
    return results


class Later:
    """Computes when it is read, the first time."""

    def __init__(self, function: Any) -> None:
        self.function, self.value = function, None

    def read(self) -> Any:
        if self.value is None:
            self.value = self.function()
        return self.value


def lazy(live: Any, x: Any, upstream: Any) -> Any:
    return {"output": Later(lambda: infer(live, x, None)["output"])}


def stale(live: Any, x: Any, upstream: Any) -> Any:
    live.kept = live.kept or infer(live, x, None)
    return live.kept


def raising(live: Any, x: Any, upstream: Any) -> Any:
    raise ValueError("not today")


def dying(live: Any, x: Any, upstream: Any) -> Any:
    os._exit(3)


def get(value: Any) -> Any:
    return np.array(value.read() if isinstance(value, Later) else value)


def call(configuration: Any) -> Any:
    keywords = {"axes": configuration.reduction_axes, "epsilon": configuration.epsilon}
    return Call(path="Layer", keywords=keywords)


def implementation(name: Any, devices: Any = ("cpu",), **passes: Any) -> Any:
    tools: dict[str, Any] = {"put": lambda array, device: array, "get": get, "wait": lambda live, results: None}
    return Implementation(
        name=f"timed.{name}",
        op="batch_norm",
        profile=(),
        modes=("eager",),
        devices=devices,
        dtypes=("float32",),
        supports=lambda configuration: None,
        call=call,
        start=start,
        state=lambda live: dict(live.state),
        steps={"train": train, "infer": infer},
        timed={**tools, **passes} if passes else {},
    )


ADAPTER = Adapter(
    library="timed",
    versions={},
    implementations=(
        implementation("healthy", infer=infer, train_forward=train, train=train),
        implementation("dropping", train=dropping),
        implementation("lazy", infer=lazy),
        implementation("stale", infer=stale),
        implementation("raising", infer=raising),
        implementation("dying", infer=dying),
        implementation("untimed"),
        implementation("device", devices=("gpu",), infer=infer, copy=lambda live, x: x.copy()),
        implementation("uncopied", devices=("gpu",), infer=infer),
    ),
)
