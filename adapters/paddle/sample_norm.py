"""Paddle: `paddle.nn.LayerNorm`, and `paddle.nn.functional.rms_norm`."""

from __future__ import annotations

import functools
import io
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import paddle

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities

PROCESSES = "paddle"

#: Our name -> the name of the tensor.
NAMES = {"gamma": "weight", "beta": "bias"}
PLACES = {"cpu": "cpu", "gpu": "gpu:0"}


def supports(configuration: Configuration) -> str | None:
    rank, count = configuration.rank, len(configuration.feature_axes)
    if configuration.feature_axes != tuple(range(rank - count, rank)):
        return "`normalized_shape` names the last dimensions"
    if configuration.parameter_dtype != configuration.dtype:
        return "weight and bias have the dtype of the input"
    return None


def supports_rms(configuration: Configuration) -> str | None:
    if configuration.center:
        return "there is a weight and no bias"
    if any(configuration.options.values()):
        return "the weight multiplies as it is, and eps is inside the root"
    return supports(configuration)


def call(configuration: Configuration) -> Call:
    return Call(
        path="paddle.nn.LayerNorm",
        keywords={
            "normalized_shape": list(configuration.features),
            "epsilon": configuration.epsilon,
            "weight_attr": None if configuration.scale else False,
            "bias_attr": None if configuration.center else False,
        },
    )


def call_rms(configuration: Configuration) -> Call:
    keywords = {"normalized_shape": list(configuration.features), "eps": configuration.epsilon}
    return Call(path="paddle.nn.functional.rms_norm", keywords=keywords, function=True)


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    paddle.device.set_device(PLACES[device])
    layer.to(device=PLACES[device], dtype=configuration.dtype)
    layer.set_state_dict({NAMES[name]: paddle.to_tensor(value) for name, value in state.items()})
    return SimpleNamespace(layer=layer, forward=layer, tensors=dict(layer.named_parameters()))


def start_function(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    paddle.device.set_device(PLACES[device])
    tensors = {NAMES[name]: paddle.to_tensor(value, stop_gradient=False) for name, value in state.items()}
    return SimpleNamespace(forward=functools.partial(function, **tensors), tensors=tensors)


def state(live: Any) -> Quantities:
    return {ours: live.tensors[theirs].numpy() for ours, theirs in NAMES.items() if theirs in live.tensors}


def step(live: Any, x: Any, upstream: Any) -> Quantities:
    if upstream is None:
        with paddle.no_grad():
            return {"output": live.forward(paddle.to_tensor(x)).numpy()}
    x = paddle.to_tensor(x, stop_gradient=False)
    for parameter in live.tensors.values():
        parameter.clear_gradient()
    output = live.forward(x)
    output.backward(paddle.to_tensor(upstream))
    learned = {f"grad_{ours}": live.tensors[theirs] for ours, theirs in NAMES.items() if theirs in live.tensors}
    gradients = {name: tensor.grad for name, tensor in {"grad_input": x, **learned}.items()}
    given = {name: gradient.numpy() for name, gradient in gradients.items() if gradient is not None}
    return {"output": output.numpy(), **given}


def reload(live: Any) -> Any:
    file = io.BytesIO()
    paddle.save(live.layer.state_dict(), file)
    file.seek(0)
    with paddle.no_grad():
        for tensor in live.layer.state_dict().values():
            tensor.fill_(7)  # a reload that loads nothing must show
    live.layer.set_state_dict(paddle.load(file))
    return live


def sgd(live: Any, learning_rate: float) -> None:
    paddle.optimizer.SGD(learning_rate, list(live.tensors.values())).step()


DOCUMENTATION = "https://www.paddlepaddle.org.cn/documentation/docs/en/api/paddle/nn/"
LAYER = Implementation(
    name="paddle.nn.LayerNorm",
    op="layer_norm",
    profile=(),
    modes=("eager",),
    devices=("cpu", "gpu") if paddle.device.is_compiled_with_cuda() else ("cpu",),
    # On the CPU the kernel is registered for these two alone.
    dtypes=("float64", "float32"),
    supports=supports,
    call=call,
    start=start,
    state=state,
    steps={"train": step, "infer": step, "reload": reload, "sgd": sgd},
    documentation=DOCUMENTATION + "LayerNorm_en.html",
    names={ours: f"*.{theirs}" for ours, theirs in NAMES.items()},
)

ADAPTER = Adapter(
    library="paddlepaddle",
    versions={"paddlepaddle": paddle.__version__},
    settings={
        "oneDNN": str(paddle.get_flags("FLAGS_use_mkldnn")["FLAGS_use_mkldnn"]),
        "threads within an op": str(paddle.get_flags("FLAGS_paddle_num_threads")["FLAGS_paddle_num_threads"]),
    },
    implementations=(
        LAYER,
        replace(
            LAYER,
            name="paddle.nn.functional.rms_norm",
            op="rms_norm",
            supports=supports_rms,
            call=call_rms,
            start=start_function,
            steps={"train": step, "infer": step, "sgd": sgd},
            documentation=DOCUMENTATION + "functional/rms_norm_en.html",
            names={},
        ),
    ),
)
