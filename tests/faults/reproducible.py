"""A small layer of NumPy, right in `layer.Right` and wrong in a way of its own in every other implementation."""

from __future__ import annotations

import functools
import os
import time
from types import SimpleNamespace
from typing import Any

import numpy as np

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

PROCESSES: list[dict[str, Any]] = [{"name": "reproducible", "group": None, "environment": {"LAYER_SCALE": "1"}}]

SCALE = float(os.environ["LAYER_SCALE"])


class Layer:
    def __init__(self, *, decay: float, epsilon: float, axes: tuple[int, ...]) -> None:
        self.decay, self.epsilon, self.axes = decay, epsilon, axes


def call(configuration: Configuration) -> Call:
    return Call(
        path="Layer",
        keywords={
            "decay": configuration.decay,
            "epsilon": configuration.epsilon,
            "axes": configuration.reduction_axes,
        },
    )


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    assert isinstance(layer.axes, tuple)
    if mode == "compiled":
        raise RuntimeError("there is no compiler")
    return SimpleNamespace(layer=layer, state=dict(state), double=np.float64)


def state(live: Any) -> Quantities:
    return dict(live.state)


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    layer, old = live.layer, live.state
    wide, g = x.astype(live.double), upstream.astype(live.double)
    mean, variance = wide.mean(layer.axes), wide.var(layer.axes)
    inverse = SCALE / np.sqrt(variance + layer.epsilon)
    normalized = (wide - mean) * inverse
    for name, batch in (("moving_mean", mean), ("moving_variance", variance)):
        moved = layer.decay * old[name].astype(live.double) + (1 - layer.decay) * batch
        live.state = {**live.state, name: moved.astype(x.dtype)}
    beta, gamma = g.sum(layer.axes), (g * normalized).sum(layer.axes)
    count = x.size // mean.size
    found = {
        "output": normalized * old["gamma"] + old["beta"],
        "grad_input": old["gamma"] * inverse * (g - beta / count - normalized * (gamma / count)),
        "grad_gamma": gamma,
        "grad_beta": beta,
    }
    return {name: value.astype(x.dtype) for name, value in found.items()}


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    if upstream is not None:
        raise NotImplementedError("no gradients in inference")
    wide = x.astype(live.double)
    normalized = (wide - live.state["moving_mean"]) / np.sqrt(live.state["moving_variance"] + live.layer.epsilon)
    return {"output": (normalized * live.state["gamma"] + live.state["beta"]).astype(x.dtype)}


def train_shifted(shift: float, live: Any, x: Any, upstream: Any) -> Quantities:
    given = train(live, x, upstream)
    return {**given, "output": given["output"] + np.float32(shift)}


def train_wide(live: Any, x: Any, upstream: Any) -> Quantities:
    given = train(live, x, upstream)
    return {**given, "grad_gamma": given["grad_gamma"].astype(np.float64)}


def train_flat(live: Any, x: Any, upstream: Any) -> Quantities:
    given = train(live, x, upstream)
    return {**given, "output": given["output"].reshape(-1)}


def train_silent(live: Any, x: Any, upstream: Any) -> Quantities:
    given = train(live, x, upstream)
    del given["grad_beta"]
    return given


def train_overwriting(live: Any, x: Any, upstream: Any) -> Quantities:
    given = train(live, x, upstream)
    x += 1
    return given


def train_refusing(live: Any, x: Any, upstream: Any) -> Quantities:
    if x.shape[0] == 1:
        raise ValueError("expected more than one value")
    return train(live, x, upstream)


def train_refusing_late(live: Any, x: Any, upstream: Any) -> Quantities:
    live.state["gamma"] = live.state["gamma"] + 1
    raise ValueError("never trains")


def train_not_finite(live: Any, x: Any, upstream: Any) -> Quantities:
    given = train(live, x, upstream)
    given["output"][0, 0] = np.nan
    return given


def train_aborting(live: Any, x: Any, upstream: Any) -> None:
    os.abort()


def train_hanging(live: Any, x: Any, upstream: Any) -> None:
    time.sleep(3600)


def train_elsewhere(live: Any, x: Any, upstream: Any) -> Quantities:
    """Gives other numbers in a script than in a worker, which no script may hide."""
    given = train(live, x, upstream)
    return {**given, "output": given["output"] * np.float32(1 if __name__ == "__main__" else 1 + 2**-23)}


def infer_drifting(live: Any, x: Any, upstream: Any) -> Quantities:
    live.drift = getattr(live, "drift", 0) + 1
    given = infer(live, x, upstream)
    return {"output": np.nextafter(given["output"], np.float32(live.drift % 2))}


def start_forgetting(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    return start(layer, configuration, {name: value * 0 for name, value in state.items()}, mode, device)


REFUSAL = Declared(field="single_value", value="error", source="documentation", error="ValueError", where="a page")


def made(name: str, **parts: Any) -> Implementation:
    steps = {"train": parts.pop("train", train), "infer": parts.pop("infer", infer)}
    return Implementation(
        **{
            "name": f"layer.{name}",
            "op": "batch_norm",
            "profile": (),
            "modes": ("eager",),
            "dtypes": ("float32",),
            "supports": lambda configuration: None,
            "call": call,
            "start": start,
            "state": state,
            "steps": steps,
            "given": ("gamma", "beta", "moving_mean", "moving_variance"),
            **parts,
        }
    )


ADAPTER = Adapter(
    library="layer",
    versions={"layer": "1.0"},
    implementations=(
        made("Right", modes=("eager", "compiled")),
        made("Shifted", train=functools.partial(train_shifted, 0.5)),
        made("Wide", train=train_wide),
        made("Flat", train=train_flat),
        made("Silent", train=train_silent),
        made("Overwriting", train=train_overwriting),
        made("Refusing", train=train_refusing, profile=(REFUSAL,)),
        made("RefusingLate", train=train_refusing_late),
        made("NotFinite", train=train_not_finite),
        made("Aborting", train=train_aborting),
        made("Hanging", train=train_hanging),
        made("Elsewhere", train=train_elsewhere),
        made("Drifting", infer=infer_drifting),
        made("Forgetting", start=start_forgetting),
        made("Closed", train=lambda live, x, upstream: train(live, x, upstream)),
    ),
)
