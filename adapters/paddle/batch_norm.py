"""Paddle: `paddle.nn.BatchNorm1D/2D/3D` by rank, and `paddle.nn.functional.batch_norm`."""

from __future__ import annotations

import functools
import io
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import paddle

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

PROCESSES = "paddle"

#: Our name -> the layer's name for the same tensor, and the function's.
NAMES = {"gamma": "weight", "beta": "bias", "moving_mean": "_mean", "moving_variance": "_variance"}
ARGUMENTS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
GRADIENTS = {"weight": "grad_gamma", "bias": "grad_beta"}
#: By rank, the formats with the features at axis 1 and at the last axis.
FORMATS = {2: ("NC", "NC"), 3: ("NCL", "NLC"), 4: ("NCHW", "NHWC"), 5: ("NCDHW", "NDHWC")}
PLACES = {"cpu": "cpu", "gpu": "gpu:0"}


def supports(configuration: Configuration) -> str | None:
    if configuration.rank not in FORMATS or configuration.feature_axes not in {(1,), (configuration.rank - 1,)}:
        return "`data_format` may be NC, NCL, NCHW, NCDHW, NLC, NHWC or NDHWC"
    if configuration.parameter_dtype != configuration.dtype:
        return "the data type of x should be float32 or float64, and the kernel has weight, bias and statistics of it"
    return None


def call(configuration: Configuration) -> Call:
    dimensions = {2: 1, 3: 1, 4: 2, 5: 3}[configuration.rank]
    first, last = FORMATS[configuration.rank]
    return Call(
        path=f"paddle.nn.BatchNorm{dimensions}D",
        keywords={
            "num_features": configuration.feature_count,
            "momentum": configuration.decay,
            "epsilon": configuration.epsilon,
            "weight_attr": None if configuration.scale else False,
            "bias_attr": None if configuration.center else False,
            "data_format": first if configuration.feature_axes == (1,) else last,
        },
    )


def call_global(configuration: Configuration) -> Call:
    trained = call(configuration)
    return replace(trained, keywords={**trained.keywords, "use_global_stats": True})


def call_function(configuration: Configuration) -> Call:
    keywords = {name: call(configuration).keywords[name] for name in ("momentum", "epsilon", "data_format")}
    return Call(path="paddle.nn.functional.batch_norm", keywords=keywords, function=True)


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    paddle.device.set_device(PLACES[device])
    layer.to(device=PLACES[device], dtype=configuration.dtype)
    layer.set_state_dict({NAMES[name]: paddle.to_tensor(value) for name, value in state.items()})
    learned = {GRADIENTS[name]: parameter for name, parameter in layer.named_parameters() if name in GRADIENTS}
    return SimpleNamespace(
        # As a graph, one is traced per signature.
        layer=layer if mode == "eager" else paddle.jit.to_static(layer, full_graph=True),
        mode=mode,
        learned=learned,
        place=PLACES[device],
    )


def start_function(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    paddle.device.set_device(PLACES[device])
    tensors = {ARGUMENTS[name]: paddle.to_tensor(value) for name, value in state.items()}
    learned = {GRADIENTS[name]: tensors[name] for name in GRADIENTS if name in tensors}
    for parameter in learned.values():
        parameter.stop_gradient = False
    return SimpleNamespace(function=function, tensors=tensors, learned=learned, place=PLACES[device])


def state(live: Any) -> Quantities:
    stored = live.layer.state_dict()
    return {ours: stored[theirs].numpy() for ours, theirs in NAMES.items() if theirs in stored}


def state_function(live: Any) -> Quantities:
    return {ours: live.tensors[theirs].numpy() for ours, theirs in ARGUMENTS.items() if theirs in live.tensors}


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    live.layer.train()
    return differentiate(live, live.layer, x, upstream)


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    live.layer.eval()
    return derive(live, live.layer, x, upstream)


def step_function(live: Any, x: Any, upstream: Any, training: bool) -> Quantities:
    forward = functools.partial(live.function, training=training, **live.tensors)
    return (differentiate if training else derive)(live, forward, x, upstream)


def differentiate(live: Any, forward: Any, x: Any, upstream: Any) -> Quantities:
    if upstream is None:
        with paddle.no_grad():
            return {"output": forward(paddle.to_tensor(x)).numpy()}
    x = paddle.to_tensor(x, stop_gradient=False)
    learned = {name: parameter for name, parameter in live.learned.items() if not parameter.stop_gradient}
    for parameter in learned.values():
        parameter.clear_gradient()
    output = forward(x)
    output.backward(paddle.to_tensor(upstream))
    gradients = {name: tensor.grad for name, tensor in {"grad_input": x, **learned}.items()}
    given = {name: gradient.numpy() for name, gradient in gradients.items() if gradient is not None}
    return {"output": output.numpy(), **given}


def derive(live: Any, forward: Any, x: Any, upstream: Any) -> Quantities:
    """The gradients of an inference: the parameters keep those of training, which the optimizer takes."""
    if upstream is None:
        with paddle.no_grad():
            return {"output": forward(paddle.to_tensor(x)).numpy()}
    x = paddle.to_tensor(x, stop_gradient=False)
    learned = {name: parameter for name, parameter in live.learned.items() if not parameter.stop_gradient}
    sources, output = {"grad_input": x, **learned}, forward(x)
    pulls = paddle.grad([output], list(sources.values()), [paddle.to_tensor(upstream)], allow_unused=True)
    given = {name: pull.numpy() for name, pull in zip(sources, pulls, strict=True) if pull is not None}
    return {"output": output.numpy(), **given}


def put(array: Any, device: str) -> Any:
    paddle.device.set_device(PLACES[device])
    return paddle.to_tensor(array)


def wait(live: Any, results: Any) -> None:
    """A CPU computes at once."""
    if live.place != "cpu":
        paddle.device.synchronize(live.place)


def clock(live: Any) -> float:
    """Seconds, when the device has computed all that it was given."""
    wait(live, None)
    return time.perf_counter()


def copy(live: Any, x: Any) -> Any:
    return x.clone()


def timed_infer(live: Any, x: Any, upstream: Any) -> Any:
    paddle.device.set_device(live.place)
    live.layer.eval()
    with paddle.no_grad():
        return {"output": live.layer(x)}


def timed_train(live: Any, x: Any, upstream: Any) -> Any:
    paddle.device.set_device(live.place)
    live.layer.train()
    return timed_gradients(live, live.layer, x, upstream)


def timed_infer_function(live: Any, x: Any, upstream: Any) -> Any:
    paddle.device.set_device(live.place)
    with paddle.no_grad():
        return {"output": live.function(x, training=False, **live.tensors)}


def timed_train_function(live: Any, x: Any, upstream: Any) -> Any:
    paddle.device.set_device(live.place)
    return timed_gradients(live, functools.partial(live.function, training=True, **live.tensors), x, upstream)


def timed_gradients(live: Any, forward: Any, x: Any, upstream: Any) -> Any:
    if upstream is None:
        return {"output": forward(x)}
    x = x.detach()
    x.stop_gradient = False
    output = forward(x)
    gradients = paddle.grad([output], [x, *live.learned.values()], [upstream])
    return {"output": output, **dict(zip(("grad_input", *live.learned), gradients, strict=True))}


def reload(live: Any) -> Any:
    file = io.BytesIO()
    paddle.save(live.layer.state_dict(), file)
    file.seek(0)
    with paddle.no_grad():
        for tensor in live.layer.state_dict().values():
            tensor.fill_(7)  # a reload that loads nothing must show
    live.layer.set_state_dict(paddle.load(file))
    return live


def switch(trainable: bool, live: Any) -> None:
    for parameter in live.learned.values():
        parameter.trainable = trainable


def sgd(live: Any, learning_rate: float) -> None:
    paddle.optimizer.SGD(learning_rate, list(live.learned.values())).step()


def compilations(live: Any) -> int:
    return len(live.layer.forward.program_cache) if live.mode == "compiled" else 0


SINGLE_VALUE = Declared(
    field="single_value",
    value="identity",
    source="source code",
    where="paddle/phi/kernels/cpu/batch_norm_kernel.cc: Only 1 element in normalization dimension, we skip the batch norm",
)
GLOBAL = (
    Declared(
        field="normalizes_with",
        value="moving_before",
        source="documentation",
        where="paddle.nn.BatchNorm2D: use_global_stats: Whether to use global mean and variance",
    ),
    Declared(
        field="update",
        value="none",
        source="documentation",
        where="paddle.nn.BatchNorm2D: use_global_stats: if True, use the global statistics, as in the test phase",
    ),
)
DOCUMENTATION = "https://www.paddlepaddle.org.cn/documentation/docs/en/api/paddle/nn/"

TIMED = {"put": put, "get": paddle.Tensor.numpy, "wait": wait, "clock": clock, "copy": copy}
LAYER = Implementation(
    name="paddle.nn.BatchNorm",
    op="batch_norm",
    profile=(SINGLE_VALUE,),
    modes=("eager", "compiled"),
    devices=("cpu", "gpu") if paddle.device.is_compiled_with_cuda() else ("cpu",),
    # On the CPU the kernel is registered for these two alone: support following DataTypes: float64, float32.
    dtypes=("float64", "float32"),
    supports=supports,
    call=call,
    start=start,
    state=state,
    steps={
        "train": train,
        "infer": infer,
        "reload": reload,
        "freeze": functools.partial(switch, False),
        "unfreeze": functools.partial(switch, True),
        "sgd": sgd,
    },
    timed={**TIMED, "infer": timed_infer, "train_forward": timed_train, "train": timed_train},
    compilations=compilations,
    documentation=DOCUMENTATION + "BatchNorm2D_en.html",
    names={ours: f"*.{theirs}" for ours, theirs in NAMES.items()},
)
FUNCTION = replace(
    LAYER,
    name="paddle.nn.functional.batch_norm",
    modes=("eager",),
    call=call_function,
    start=start_function,
    state=state_function,
    steps={
        "train": functools.partial(step_function, training=True),
        "infer": functools.partial(step_function, training=False),
        "sgd": sgd,
    },
    given=tuple(ARGUMENTS),
    timed={
        **TIMED,
        "infer": timed_infer_function,
        "train_forward": timed_train_function,
        "train": timed_train_function,
    },
    compilations=None,
    documentation=DOCUMENTATION + "functional/batch_norm_en.html",
)

ADAPTER = Adapter(
    library="paddlepaddle",
    versions={"paddlepaddle": paddle.__version__},
    settings={
        "oneDNN": str(paddle.get_flags("FLAGS_use_mkldnn")["FLAGS_use_mkldnn"]),
        # A build without CUDA has no such flag, and raises.
        **(
            {"cuDNN deterministic": str(paddle.get_flags("FLAGS_cudnn_deterministic")["FLAGS_cudnn_deterministic"])}
            if paddle.device.is_compiled_with_cuda()
            else {}
        ),
        "threads within an op": str(paddle.get_flags("FLAGS_paddle_num_threads")["FLAGS_paddle_num_threads"]),
    },
    implementations=(
        LAYER,
        replace(
            LAYER,
            name="paddle.nn.BatchNorm+use_global_stats",
            op="transformed_batch_norm",
            profile=GLOBAL,
            modes=("eager",),
            call=call_global,
            timed={},
            compilations=None,
        ),
        FUNCTION,
    ),
)
