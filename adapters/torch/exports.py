"""PyTorch's batch normalization on its way out: exported programs, folded into a convolution, prepared for quantization."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import torch
import torch.ao.quantization
from torch.nn.utils import fusion

from conformance.protocol import Adapter, Call, Configuration, Quantities
from conformance_adapters.torch._native import (
    DEVICES,
    DOCUMENTATION,
    LAYER,
    MOVING_CORRECTION,
    derived,
    differentiated,
    fill,
    infer_layer,
    passes,
    reload,
    settings,
    start_layer,
    started,
    stored,
    supports_layer,
)

PROCESSES = "torch"


def supports_qat(configuration: Configuration) -> str | None:
    if not (configuration.scale and configuration.center):
        return "the batch norm within has weight and bias always"
    return supports_layer(configuration)


def call_qat(configuration: Configuration) -> Call:
    """The layer without its `qconfig`, which is not data: one without fake quantization."""
    rank, features = configuration.rank, configuration.feature_count
    keywords = {"eps": configuration.epsilon, "momentum": 1 - configuration.decay, "bias": False}
    if rank == 2:
        path, sizes = "LinearBn1d", {"in_features": features, "out_features": features}
    else:
        path = f"ConvBn{rank - 2}d"
        sizes = {"in_channels": features, "out_channels": features, "kernel_size": 1, "groups": features}
    return Call(path=f"torch.ao.nn.intrinsic.qat.{path}", keywords={**sizes, **keywords}, function=True)


def start_exported(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    """One program for training and one for inference: `train()` and `eval()` of a program are not supported."""
    live = start_layer(layer, configuration, state, mode, device)
    x = torch.zeros(configuration.shape, dtype=getattr(torch, configuration.dtype), device=live.device)
    live.programs = {training: torch.export.export(layer.train(training), (x,)) for training in (True, False)}
    live.modules = modules(live.programs)
    return live


def modules(programs: Any) -> Any:
    """The programs as modules of the same tensors."""
    both = {training: program.module() for training, program in programs.items()}
    both[False].load_state_dict(both[True].state_dict(), assign=True)
    return both


def state_exported(live: Any) -> Quantities:
    return stored(live.modules[True].state_dict())


def step_exported(live: Any, x: Any, upstream: Any, training: bool) -> Quantities:
    module = live.modules[training]
    live.parameters = dict(module.named_parameters())
    return (differentiated if training else derived)(live, module, x, upstream)


def reload_exported(live: Any) -> Any:
    live.programs = {training: saved_and_loaded(program) for training, program in live.programs.items()}
    live.modules = modules(live.programs)
    return live


def saved_and_loaded(program: Any) -> Any:
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    return torch.export.load(file)


def identity(configuration: Configuration, device: str) -> Any:
    """A layer before the batch norm that changes nothing."""
    count = configuration.feature_count
    if configuration.rank == 2:
        layer = torch.nn.Linear(count, count, bias=False)
        torch.nn.init.eye_(layer.weight)
    else:
        layer = getattr(torch.nn, f"Conv{configuration.rank - 2}d")(count, count, 1, groups=count, bias=False)
        torch.nn.init.ones_(layer.weight)
    return layer.to(device=device, dtype=getattr(torch, configuration.dtype))


def start_folded(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    live = start_layer(layer, configuration, state, mode, device)
    fold = fusion.fuse_linear_bn_eval if configuration.rank == 2 else fusion.fuse_conv_bn_eval
    live.forward = fold(identity(configuration, live.device).eval(), layer.eval())
    return live


def start_qat(build: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    without = torch.ao.quantization.QConfig(activation=torch.nn.Identity, weight=torch.nn.Identity)
    layer = build(qconfig=without)
    fill(layer.bn, configuration, state, DEVICES[device])
    layer.weight = torch.nn.Parameter(identity(configuration, DEVICES[device]).weight)
    live = started(layer, dict(layer.bn.named_parameters()), mode, DEVICES[device])
    live.layer = layer
    return live


def state_qat(live: Any) -> Quantities:
    return stored(live.layer.bn.state_dict())


EXPORTED = replace(
    LAYER,
    name="torch.nn.BatchNorm+export",
    op="transformed_batch_norm",
    profile=(MOVING_CORRECTION,),
    modes=("eager",),
    start=start_exported,
    state=state_exported,
    steps={**LAYER.steps, **passes(step_exported), "reload": reload_exported},
    compilations=None,
    documentation=DOCUMENTATION + "export.html",
)

ADAPTER = Adapter(
    library="torch",
    versions={"torch": torch.__version__},
    settings=settings(),
    implementations=(
        EXPORTED,
        replace(
            EXPORTED,
            name="torch.ao.nn.intrinsic.qat.ConvBn",
            supports=supports_qat,
            call=call_qat,
            start=start_qat,
            state=state_qat,
            steps={**LAYER.steps, "reload": reload},
            documentation=DOCUMENTATION + "generated/torch.ao.nn.intrinsic.qat.ConvBn2d.html",
        ),
        replace(
            LAYER,
            name="torch.nn.BatchNorm+fuse_conv_bn_eval",
            profile=(),
            modes=("eager",),
            start=start_folded,
            steps={"infer": infer_layer},
            lacks=("grad_gamma", "grad_beta"),
            compilations=None,
            documentation=DOCUMENTATION + "generated/torch.nn.utils.fuse_conv_bn_eval.html",
        ),
    ),
)
