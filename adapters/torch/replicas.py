"""PyTorch over two or more processes with gloo: `SyncBatchNorm`, and `BatchNorm` under `DistributedDataParallel`.

Each replica is a process forked from the worker, which lives as long as its pipe and never longer than the worker.
"""

from __future__ import annotations

import ctypes
import functools
import multiprocessing
import os
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch._dynamo  # noqa: F401 - else every forked process imports it for itself
import torch.distributed

from conformance.protocol import Adapter, Call, Configuration, Declared, Quantities
from conformance_adapters.torch._native import (
    DOCUMENTATION,
    LAYER,
    call_layer,
    fill,
    passes,
    pulled,
    stored,
    supports_layer,
    tensor,
)

PROCESSES = "torch-replicas"


def supports(configuration: Configuration) -> str | None:
    if reason := supports_layer(configuration):
        return reason
    if not configuration.scale:
        return "DistributedDataParallel refuses a module without parameters that require a gradient"
    if configuration.parameter_dtype != configuration.dtype or configuration.dtype == "bfloat16":
        return "here the module has the dtype of the input, as NumPy has it"
    return None


def call_synchronized(configuration: Configuration) -> Call:
    return Call(path="torch.nn.SyncBatchNorm", keywords=call_layer(configuration).keywords)


def start(broadcasts: bool, layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    fill(layer, configuration, state, "cpu")
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
    for copy in others:  # of the fork: an open copy would hide the end
        copy.close()
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
                answer = stored(layer.state_dict())
            else:
                if wrapped is None:
                    wrapped = torch.nn.parallel.DistributedDataParallel(layer, forward_sync_buffers=broadcasts)
                answer = differentiate(wrapped, layer, kind, *arguments)
            pipe.send((None, answer))
        except Exception as error:  # the worker raises it in the step  # noqa: BLE001
            pipe.send((error, None))


def differentiate(wrapped: Any, layer: Any, kind: str, x: Any, upstream: Any) -> Any:
    wrapped.train(kind == "train")
    wrapped.zero_grad()
    x = tensor(x).requires_grad_()
    return pulled(wrapped(x), upstream, x, dict(layer.named_parameters())), stored(layer.state_dict())


def ask(live: Any, kind: str, arguments: Any) -> Any:
    """The answers of all replicas, which work at the same time; the first error of one is raised."""
    for pipe, of_one in zip(live.pipes, arguments, strict=True):
        pipe.send((kind, of_one))
    answers = [pipe.recv() for pipe in live.pipes]
    for error, _ in answers:
        if error is not None:
            raise error
    return [answer for _, answer in answers]


def joined_state(states: Any) -> Quantities:
    """Gamma and beta of the first replica, and the moving values of each."""
    joined = dict(states[0])
    for number, further in enumerate(states[1:], start=2):
        joined |= {f"{name}_{number}": value for name, value in further.items() if name.startswith("moving")}
    return joined


def state(live: Any) -> Quantities:
    return dict(live.state)


def step(live: Any, x: Any, upstream: Any, training: bool) -> Quantities:
    ends = np.cumsum(live.sizes)[:-1]
    upstreams = [None] * len(live.sizes) if upstream is None else np.split(upstream, ends)
    answers = ask(live, "train" if training else "infer", zip(np.split(x, ends), upstreams, strict=True))
    live.state = joined_state([state for _, state in answers])
    first = answers[0][0]
    shaped = [name for name in ("output", "grad_input") if name in first]
    joined = {name: np.concatenate([quantities[name] for quantities, _ in answers]) for name in shaped}
    # DistributedDataParallel leaves the same gradients of the parameters on every replica.
    return {**first, **joined}


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

PLAIN = (*LAYER.profile, AVERAGED)
REPLICATED = replace(
    LAYER,
    name="torch.nn.BatchNorm+DistributedDataParallel",
    op="replicated_batch_norm",
    profile=(*PLAIN, BROADCAST),
    modes=("eager",),
    devices=("cpu",),
    dtypes=("float64", "float32"),
    supports=supports,
    start=functools.partial(start, True),
    state=state,
    steps=passes(step),
    compilations=None,
    documentation=DOCUMENTATION + "generated/torch.nn.parallel.DistributedDataParallel.html",
)

ADAPTER = Adapter(
    library="torch",
    versions={"torch": torch.__version__},
    settings={
        "threads": str(torch.get_num_threads()),
        "backend of processes": "gloo",
        "CPU capability": torch.backends.cpu.get_cpu_capability(),
    },
    implementations=(
        replace(
            REPLICATED,
            name="torch.nn.SyncBatchNorm+DistributedDataParallel",
            op="synchronized_batch_norm",
            profile=PLAIN,
            call=call_synchronized,
        ),
        REPLICATED,
        replace(
            REPLICATED,
            name="torch.nn.BatchNorm+DistributedDataParallel+forward_sync_buffers_false",
            profile=PLAIN,
            start=functools.partial(start, False),
        ),
    ),
)
