"""Paddle: `paddle.nn.LayerNorm`, `GroupNorm`, and `InstanceNorm1D/2D/3D` by rank."""

from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import paddle

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities

PROCESSES = "paddle"

#: Our name -> the name of the tensor.
NAMES = {"gamma": "weight", "beta": "bias"}
#: The same of instance normalization.
INSTANCE_NAMES = {"gamma": "scale", "beta": "bias"}
PLACES = {"cpu": "cpu", "gpu": "gpu:0"}


def supports(configuration: Configuration) -> str | None:
    rank, count = configuration.rank, len(configuration.feature_axes)
    if configuration.feature_axes != tuple(range(rank - count, rank)):
        return "`normalized_shape` names the last dimensions"
    if configuration.parameter_dtype != configuration.dtype:
        return "weight and bias have the dtype of the input"
    return None


def supports_layer(configuration: Configuration) -> str | None:
    if len(configuration.feature_axes) > 1 and (configuration.scale or configuration.center):
        return "weight and bias are flat, of the product of `normalized_shape`"
    if configuration.epsilon > 1e-3:
        return "epsilon should be between 0.0 and 0.001"
    return supports(configuration)


def supports_group(configuration: Configuration) -> str | None:
    if configuration.feature_axes != (1,) or configuration.parameter_dtype != configuration.dtype:
        return "the channels are axis 1, and weight and bias have the dtype of the input"
    return None


def supports_instance(configuration: Configuration) -> str | None:
    if not 3 <= configuration.rank <= 5:
        return "InstanceNorm1D, 2D and 3D take inputs of rank 3 to 5"
    if configuration.scale != configuration.center:
        return "weight_attr and bias_attr must be set to False at the same time"
    if configuration.options.get("tracked"):
        return "there are no moving values"
    return supports_group(configuration)


def call_group(configuration: Configuration) -> Call:
    keywords = {"num_groups": configuration.options["groups"], "num_channels": configuration.feature_count}
    return Call(path="paddle.nn.GroupNorm", keywords={**keywords, **learning(configuration)})


def call_instance(configuration: Configuration) -> Call:
    keywords = {"num_features": configuration.feature_count, **learning(configuration)}
    return Call(path=f"paddle.nn.InstanceNorm{configuration.rank - 2}D", keywords=keywords)


def learning(configuration: Configuration) -> dict[str, Any]:
    return {
        "epsilon": configuration.epsilon,
        "weight_attr": None if configuration.scale else False,
        "bias_attr": None if configuration.center else False,
    }


def call(configuration: Configuration) -> Call:
    return Call(
        path="paddle.nn.LayerNorm",
        keywords={"normalized_shape": list(configuration.features), **learning(configuration)},
    )


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    paddle.device.set_device(PLACES[device])
    layer.to(device=PLACES[device], dtype=configuration.dtype)
    names = INSTANCE_NAMES if configuration.op == "instance_norm" else NAMES
    layer.set_state_dict({names[name]: paddle.to_tensor(value) for name, value in state.items()})
    return SimpleNamespace(layer=layer, forward=layer, names=names, tensors=dict(layer.named_parameters()))


def state(live: Any) -> Quantities:
    return {ours: live.tensors[theirs].numpy() for ours, theirs in live.names.items() if theirs in live.tensors}


def step(live: Any, x: Any, upstream: Any) -> Quantities:
    if upstream is None:
        with paddle.no_grad():
            return {"output": live.forward(paddle.to_tensor(x)).numpy()}
    x = paddle.to_tensor(x, stop_gradient=False)
    for parameter in live.tensors.values():
        parameter.clear_gradient()
    output = live.forward(x)
    output.backward(paddle.to_tensor(upstream))
    tensors = {"grad_input": x, **learned(live)}
    return with_gradients(output, {name: tensor.grad for name, tensor in tensors.items()})


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    """By paddle.grad, which leaves the parameters the gradients of training for a gradient step."""
    if upstream is None:
        return step(live, x, upstream)
    x = paddle.to_tensor(x, stop_gradient=False)
    output, tensors = live.forward(x), {"grad_input": x, **learned(live)}
    gradients = paddle.grad([output], list(tensors.values()), [paddle.to_tensor(upstream)], allow_unused=True)
    return with_gradients(output, dict(zip(tensors, gradients, strict=True)))


def learned(live: Any) -> dict[str, Any]:
    """The parameters by the names of their gradients."""
    return {f"grad_{ours}": live.tensors[theirs] for ours, theirs in live.names.items() if theirs in live.tensors}


def with_gradients(output: Any, gradients: Any) -> Quantities:
    gradients = {name: gradient.numpy() for name, gradient in gradients.items() if gradient is not None}
    return {"output": output.numpy(), **gradients}


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
    supports=supports_layer,
    call=call,
    start=start,
    state=state,
    steps={"train": step, "infer": infer, "reload": reload, "sgd": sgd},
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
            name="paddle.nn.GroupNorm",
            op="group_norm",
            supports=supports_group,
            call=call_group,
            documentation=DOCUMENTATION + "GroupNorm_en.html",
        ),
        replace(
            LAYER,
            name="paddle.nn.InstanceNorm",
            op="instance_norm",
            supports=supports_instance,
            call=call_instance,
            documentation=DOCUMENTATION + "InstanceNorm2D_en.html",
            names={ours: f"*.{theirs}" for ours, theirs in INSTANCE_NAMES.items()},
        ),
    ),
)
