"""PyTorch over two or more processes with gloo: `SyncBatchNorm`, and `BatchNorm` under `DistributedDataParallel`.

Each replica is a process forked from the worker, which lives as long as its pipe and never longer than the worker.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch._dynamo  # noqa: F401 - else every forked process imports it for itself
import torch.distributed

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

PROCESSES = [
    # One thread: a forked process has none of its parent's.
    {"name": "torch-replicas", "group": "torch", "environment": {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}}
]

#: Our name -> torch's name for the same tensor.
NAMES = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def supports(configuration: Configuration) -> str | None:
    if configuration.feature_axes != (1,):
        return "the features are axis 1 of the input"
    if not 2 <= configuration.rank <= 5:
        return "BatchNorm1d, 2d and 3d take inputs of rank 2 to 5"
    if configuration.scale != configuration.center:
        return "`affine` switches weight and bias together"
    if not configuration.scale:
        return "DistributedDataParallel refuses a module without parameters that require a gradient"
    if configuration.parameter_dtype != configuration.dtype or configuration.dtype == "bfloat16":
        return "here the module has the dtype of the input, as NumPy has it"
    return None


def call(configuration: Configuration) -> Call:
    dimensions = {2: 1, 3: 1, 4: 2, 5: 3}[configuration.rank]
    return Call(
        path=f"torch.nn.BatchNorm{dimensions}d",
        keywords={
            "num_features": configuration.feature_count,
            "eps": configuration.epsilon,
            "momentum": 1 - configuration.decay,
            "affine": configuration.scale,
        },
    )


def call_synchronized(configuration: Configuration) -> Call:
    return Call(path="torch.nn.SyncBatchNorm", keywords=call(configuration).keywords)


def start(broadcasts: bool, layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    layer.to(getattr(torch, configuration.parameter_dtype))
    named = {theirs: torch.from_numpy(state[ours]) for ours, theirs in NAMES.items() if ours in state}
    layer.load_state_dict({**layer.state_dict(), **named})
    sizes = configuration.options["shards"]
    # The store is a file, which needs no port; it may go once all have met.
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder, "store"))
        live = SimpleNamespace(sizes=sizes, pipes=[], state={})
        context = multiprocessing.get_context("fork")
        for rank in range(len(sizes)):
            ours, theirs = context.Pipe()
            arguments = (rank, len(sizes), layer, broadcasts, store, theirs, [*live.pipes, ours])
            context.Process(target=replica, args=arguments, daemon=True).start()
            theirs.close()
            live.pipes.append(ours)
        live.state = joined_state(ask(live, "meet", [()] * len(sizes)))
    return live


def replica(rank: int, size: int, layer: Any, broadcasts: bool, store: str, pipe: Any, others: Any) -> None:
    """One process: a layer wrapped once, and each pass it is asked for, until its pipe ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it dies with the worker
    for each in others:  # what the fork copied: an open copy would hide the end
        each.close()
    torch.set_num_threads(1)
    wrapped: Any = None
    while True:
        try:
            kind, arguments = pipe.recv()
        except EOFError:
            os._exit(0)
        try:
            if kind == "meet":
                meeting = torch.distributed.FileStore(store, size)
                torch.distributed.init_process_group("gloo", store=meeting, rank=rank, world_size=size)
                answer = held(layer)
            else:
                wrapped = distributed(layer, broadcasts) if wrapped is None else wrapped
                answer = differentiate(wrapped, layer, kind, *arguments)
            pipe.send((None, answer))
        except Exception as error:  # the worker raises it in the step  # noqa: BLE001
            pipe.send((error, None))


def distributed(layer: Any, broadcasts: bool) -> Any:
    return torch.nn.parallel.DistributedDataParallel(layer, forward_sync_buffers=broadcasts)


def held(layer: Any) -> Any:
    stored = layer.state_dict()
    return {ours: stored[theirs].numpy().copy() for ours, theirs in NAMES.items() if theirs in stored}


def differentiate(wrapped: Any, layer: Any, kind: str, x: Any, upstream: Any) -> Any:
    wrapped.train(kind == "train")
    wrapped.zero_grad()
    x = torch.from_numpy(x).requires_grad_()
    output = wrapped(x)
    quantities = {"output": output.detach().numpy()}
    if upstream is not None:
        output.backward(torch.from_numpy(upstream))
        quantities["grad_input"] = x.grad.numpy()
        for name, parameter in layer.named_parameters():
            quantities["grad_gamma" if name == "weight" else "grad_beta"] = parameter.grad.numpy()
    return quantities, held(layer)


def ask(live: Any, kind: str, arguments: Any) -> Any:
    """The answers of all replicas, which work at the same time; the first error of one is raised."""
    for pipe, each in zip(live.pipes, arguments, strict=True):
        pipe.send((kind, each))
    answers = [pipe.recv() for pipe in live.pipes]
    for error, _ in answers:
        if error is not None:
            raise error
    return [answer for _, answer in answers]


def joined_state(every: Any) -> Quantities:
    """Gamma and beta of the first replica, and the moving values of each."""
    numbered = itertools.chain.from_iterable(
        ((f"{name}_{number}", value) for name, value in each.items() if name.startswith("moving"))
        for number, each in enumerate(every[1:], start=2)
    )
    return {**every[0], **dict(numbered)}


def state(live: Any) -> Quantities:
    return dict(live.state)


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    return run(live, "train", x, upstream)


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    return run(live, "infer", x, upstream)


def run(live: Any, kind: str, x: Any, upstream: Any) -> Quantities:
    ends = np.cumsum(live.sizes)[:-1]
    parts = [[None] * len(live.sizes) if each is None else np.split(each, ends) for each in (x, upstream)]
    every = ask(live, kind, list(zip(*parts, strict=True)))
    live.state = joined_state([after for _, after in every])
    quantities = [each for each, _ in every]
    shaped = [name for name in ("output", "grad_input") if name in quantities[0]]
    # DistributedDataParallel leaves the same gradients of the parameters on every replica.
    return {**quantities[0], **{name: np.concatenate([each[name] for each in quantities]) for name in shaped}}


MOVING_CORRECTION = Declared(
    field="moving_correction",
    value=1,
    source="documentation",
    where="torch.nn.BatchNorm1d: the value stored in the moving average is calculated via the unbiased estimator",
)
SINGLE_VALUE = Declared(
    field="single_value",
    value="error",
    source="source code",
    error="ValueError",
    where="torch/nn/functional.py, _verify_batch_size: Expected more than 1 value per channel when training",
)
AVERAGED = Declared(
    field="replica_gradients",
    value="mean",
    source="documentation",
    where="torch.nn.parallel.DistributedDataParallel: the gradients between different nodes are averaged",
)
BROADCAST = Declared(
    field="replica_moving",
    value="first",
    source="documentation",
    where="torch.nn.parallel.DistributedDataParallel, forward_sync_buffers: broadcasting buffers at the beginning of forward",
)
DOCUMENTATION = "https://docs.pytorch.org/docs/stable/generated/torch.nn.parallel.DistributedDataParallel.html"


def implementation(
    name: str, op: str, call: Callable[[Configuration], Call], broadcasts: bool, profile: tuple[Declared, ...]
) -> Implementation:
    return Implementation(
        name=name,
        op=op,
        profile=profile,
        modes=("eager",),
        dtypes=("float64", "float32"),
        supports=supports,
        call=call,
        start=functools.partial(start, broadcasts),
        state=state,
        steps={"train": train, "infer": infer},
        documentation=DOCUMENTATION,
    )


PLAIN = (MOVING_CORRECTION, SINGLE_VALUE, AVERAGED)

ADAPTER = Adapter(
    library="torch",
    versions={"torch": torch.__version__},
    settings={
        "threads": str(torch.get_num_threads()),
        "backend of processes": "gloo",
        "CPU capability": torch.backends.cpu.get_cpu_capability(),
    },
    implementations=(
        implementation(
            "torch.nn.SyncBatchNorm+DistributedDataParallel", "synchronized_batch_norm", call_synchronized, True, PLAIN
        ),
        implementation(
            "torch.nn.BatchNorm+DistributedDataParallel", "replicated_batch_norm", call, True, (*PLAIN, BROADCAST)
        ),
        implementation(
            "torch.nn.BatchNorm+DistributedDataParallel+forward_sync_buffers_false",
            "replicated_batch_norm",
            call,
            False,
            PLAIN,
        ),
    ),
)
