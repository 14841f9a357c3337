"""PyTorch: layer and RMS normalization, as layers, as functions, and as model code writes the second by hand."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import torch

from conformance.protocol import Call, Configuration, Quantities
from conformance_adapters.torch._native import (
    DEVICES,
    DOCUMENTATION,
    LAYER,
    adapter,
    cloned,
    derived,
    differentiated,
    mixes,
    reload,
    sgd,
    start_tensors,
    state_tensors,
)

PROCESSES = "torch"


class LlamaRMSNorm(torch.nn.Module):
    """Normalizes in float32, rounds to the dtype of the input, then multiplies, as Llama's model code does."""

    def __init__(self, hidden_size: int, eps: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(hidden_size))
        self.eps = eps

    def forward(self, x: Any) -> Any:
        wide = x.to(torch.float32)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


class GemmaRMSNorm(torch.nn.Module):
    """Normalizes and multiplies by one more than its weight in float32, then rounds, as Gemma's model code does."""

    def __init__(self, hidden_size: int, eps: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(hidden_size))
        self.eps = eps

    def forward(self, x: Any) -> Any:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return (wide * (1.0 + self.weight.float())).type_as(x)


class RootRMSNorm(torch.nn.Module):
    """Divides by the root plus epsilon, as the code beside the paper of RMS normalization does."""

    def __init__(self, hidden_size: int, eps: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(hidden_size))
        self.eps, self.size = eps, hidden_size

    def forward(self, x: Any) -> Any:
        root = x.norm(2, dim=-1, keepdim=True) * self.size ** (-1.0 / 2)
        return self.weight * (x / (root + self.eps))


def supports_trailing(configuration: Configuration) -> str | None:
    rank, count = configuration.rank, len(configuration.feature_axes)
    if configuration.feature_axes != tuple(range(rank - count, rank)):
        return "`normalized_shape` names the last dimensions"
    if not mixes(configuration):
        return "weight and bias have the dtype of the input, or float32 under half precision"
    return None


def supports_layer_norm(configuration: Configuration) -> str | None:
    if configuration.center and not configuration.scale:
        return "`elementwise_affine` switches weight and bias off together, and `bias` the bias alone"
    return supports_trailing(configuration)


def supports_rms_norm(configuration: Configuration) -> str | None:
    if configuration.center:
        return "there is a weight and no bias"
    if any(configuration.options.values()):
        return "the weight multiplies as it is, before the result is rounded, and eps is inside the root"
    return supports_trailing(configuration)


def supports_by_hand(configuration: Configuration, **written: Any) -> str | None:
    """What is written by hand has one place for each thing; where nothing is rounded twice, there is no order."""
    if configuration.feature_axes != (configuration.rank - 1,):
        return "the mean is taken over the last axis"
    if not configuration.scale or configuration.center:
        return "there is a weight and no bias"
    asked = {"cast": "after_gamma", "epsilon": "inside", "unit_offset": False, **configuration.options}
    has = {"cast": "after_gamma", "epsilon": "inside", "unit_offset": False, **written}
    half = configuration.dtype in ("float16", "bfloat16")
    if {**asked, "cast": ""} != {**has, "cast": ""} or (half and asked["cast"] != has["cast"]):
        return (
            f"written with epsilon {has['epsilon']} the root, rounded {has['cast']}, unit_offset={has['unit_offset']}"
        )
    if configuration.parameter_dtype != configuration.dtype:
        return "the weight has the dtype of the input"
    return None


def call_layer_norm(configuration: Configuration) -> Call:
    return Call(
        path="torch.nn.LayerNorm",
        keywords={
            "normalized_shape": configuration.features,
            "eps": configuration.epsilon,
            "elementwise_affine": configuration.scale,
            "bias": configuration.center,
        },
    )


def call_rms_norm(configuration: Configuration) -> Call:
    return Call(
        path="torch.nn.RMSNorm",
        keywords={
            "normalized_shape": configuration.features,
            "eps": configuration.epsilon,
            "elementwise_affine": configuration.scale,
        },
    )


def call_function(path: str, configuration: Configuration) -> Call:
    keywords = {"normalized_shape": configuration.features, "eps": configuration.epsilon}
    return Call(path=path, keywords=keywords, function=True)


def call_by_hand(name: str, configuration: Configuration) -> Call:
    return Call(path=name, keywords={"hidden_size": configuration.feature_count, "eps": configuration.epsilon})


def start_function(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    return start_tensors(function, cloned(state, DEVICES[device]), mode, DEVICES[device])


def step_function(live: Any, x: Any, upstream: Any) -> Quantities:
    return differentiated(live, functools.partial(live.forward, **live.tensors), x, upstream)


def infer_function(live: Any, x: Any, upstream: Any) -> Quantities:
    return derived(live, functools.partial(live.forward, **live.tensors), x, upstream)


LAYER_NORM = replace(
    LAYER,
    name="torch.nn.LayerNorm",
    op="layer_norm",
    profile=(),
    supports=supports_layer_norm,
    call=call_layer_norm,
    steps={**LAYER.steps, "reload": reload},
    documentation=DOCUMENTATION + "generated/torch.nn.LayerNorm.html",
    names={"gamma": "*.weight", "beta": "*.bias"},
)
LAYER_NORM_FUNCTION = replace(
    LAYER_NORM,
    name="torch.nn.functional.layer_norm",
    supports=supports_trailing,
    call=functools.partial(call_function, "torch.nn.functional.layer_norm"),
    start=start_function,
    state=state_tensors,
    steps={"train": step_function, "infer": infer_function, "sgd": sgd},
    given=("gamma", "beta"),
    documentation=DOCUMENTATION + "generated/torch.nn.functional.layer_norm.html",
    names={},
)
RMS_NORM = replace(
    LAYER_NORM,
    name="torch.nn.RMSNorm",
    op="rms_norm",
    supports=supports_rms_norm,
    call=call_rms_norm,
    documentation=DOCUMENTATION + "generated/torch.nn.RMSNorm.html",
    names={"gamma": "*.weight"},
)
BY_HAND = replace(
    RMS_NORM,
    name="torch.LlamaRMSNorm",
    dtypes=("float32", "float16", "bfloat16"),
    supports=functools.partial(supports_by_hand, cast="before_gamma"),
    call=functools.partial(call_by_hand, "LlamaRMSNorm"),
    documentation="",
)

ADAPTER = adapter(
    LAYER_NORM,
    LAYER_NORM_FUNCTION,
    RMS_NORM,
    replace(
        LAYER_NORM_FUNCTION,
        name="torch.nn.functional.rms_norm",
        op="rms_norm",
        supports=supports_rms_norm,
        call=functools.partial(call_function, "torch.nn.functional.rms_norm"),
        documentation=DOCUMENTATION + "generated/torch.nn.functional.rms_norm.html",
    ),
    BY_HAND,
    replace(
        BY_HAND,
        name="torch.GemmaRMSNorm",
        supports=functools.partial(supports_by_hand, unit_offset=True),
        call=functools.partial(call_by_hand, "GemmaRMSNorm"),
    ),
    replace(
        BY_HAND,
        name="torch.RootRMSNorm",
        dtypes=("float64", "float32"),
        supports=functools.partial(supports_by_hand, epsilon="outside"),
        call=functools.partial(call_by_hand, "RootRMSNorm"),
    ),
)
