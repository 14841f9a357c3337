"""PyTorch: group and instance normalization, as layers and as functions."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

from conformance.protocol import Call, Configuration, Declared, Quantities
from conformance_adapters.torch._native import (
    DEVICES,
    DOCUMENTATION,
    LAYER,
    NAMES,
    adapter,
    cloned,
    derived,
    differentiated,
    mixes,
    passes,
    reload,
    sgd,
    start_tensors,
    state_tensors,
)

PROCESSES = "torch"


def supports(configuration: Configuration) -> str | None:
    if configuration.feature_axes != (1,):
        return "the channels are axis 1 of the input"
    if configuration.scale != configuration.center:
        return "`affine` switches weight and bias together"
    if not mixes(configuration):
        return "weight and bias have the dtype of the input, or float32 under half precision"
    return None


def supports_function(configuration: Configuration) -> str | None:
    if configuration.feature_axes != (1,):
        return "the channels are axis 1 of the input"
    if not mixes(configuration):
        return "weight and bias have the dtype of the input, or float32 under half precision"
    return None


def supports_instance(configuration: Configuration) -> str | None:
    if not 3 <= configuration.rank <= 5:
        return "InstanceNorm1d, 2d and 3d take inputs of rank 3 to 5"
    return supports(configuration)


def supports_instance_function(configuration: Configuration) -> str | None:
    if configuration.rank < 3:
        return "the input has at least one axis of positions"
    return supports_function(configuration)


def call_group(configuration: Configuration) -> Call:
    return Call(
        path="torch.nn.GroupNorm",
        keywords={
            "num_groups": configuration.options["groups"],
            "num_channels": configuration.feature_count,
            "eps": configuration.epsilon,
            "affine": configuration.scale,
        },
    )


def call_instance(configuration: Configuration) -> Call:
    return Call(
        path=f"torch.nn.InstanceNorm{configuration.rank - 2}d",
        keywords={
            "num_features": configuration.feature_count,
            "eps": configuration.epsilon,
            "momentum": 1 - configuration.decay,
            "affine": configuration.scale,
            "track_running_stats": configuration.options.get("tracked", False),
        },
    )


def call_group_function(configuration: Configuration) -> Call:
    keywords = {"num_groups": configuration.options["groups"], "eps": configuration.epsilon}
    return Call(path="torch.nn.functional.group_norm", keywords=keywords, function=True)


def call_instance_function(configuration: Configuration) -> Call:
    keywords = {"eps": configuration.epsilon, "momentum": 1 - configuration.decay}
    return Call(path="torch.nn.functional.instance_norm", keywords=keywords, function=True)


def start_function(function: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    return start_tensors(function, cloned(state, DEVICES[device]), mode, DEVICES[device])


def step_group(live: Any, x: Any, upstream: Any) -> Quantities:
    return differentiated(live, functools.partial(live.forward, **live.tensors), x, upstream)


def infer_group(live: Any, x: Any, upstream: Any) -> Quantities:
    return derived(live, functools.partial(live.forward, **live.tensors), x, upstream)


def step_instance(live: Any, x: Any, upstream: Any, training: bool) -> Quantities:
    """Without moving values the statistics are the input's in inference too."""
    own = training or "running_mean" not in live.tensors
    forward = functools.partial(live.forward, use_input_stats=own, **live.tensors)
    return (differentiated if training else derived)(live, forward, x, upstream)


#: Of the variance that enters the moving one, no page says which it is.
INSTANCE_CORRECTION = Declared(
    field="moving_correction",
    value=1,
    source="source code",
    where="aten/src/ATen/native/Normalization.cpp, instance_norm: by batch_norm of each sample's channels, whose is unbiased",
)
AFFINE = {"gamma": "*.weight", "beta": "*.bias"}
GROUP = replace(
    LAYER,
    name="torch.nn.GroupNorm",
    op="group_norm",
    profile=(),
    supports=supports,
    call=call_group,
    steps={**LAYER.steps, "reload": reload},
    documentation=DOCUMENTATION + "generated/torch.nn.GroupNorm.html",
    names=AFFINE,
)
INSTANCE = replace(
    GROUP,
    name="torch.nn.InstanceNorm",
    op="instance_norm",
    profile=(INSTANCE_CORRECTION,),
    supports=supports_instance,
    call=call_instance,
    documentation=DOCUMENTATION + "generated/torch.nn.InstanceNorm2d.html",
    names={ours: f"*.{theirs}" for ours, theirs in NAMES.items()},
)
FUNCTION: dict[str, Any] = {"start": start_function, "state": state_tensors, "given": tuple(NAMES), "names": {}}

ADAPTER = adapter(
    GROUP,
    replace(
        GROUP,
        name="torch.nn.functional.group_norm",
        supports=supports_function,
        call=call_group_function,
        steps={"train": step_group, "infer": infer_group, "sgd": sgd},
        documentation=DOCUMENTATION + "generated/torch.nn.functional.group_norm.html",
        **FUNCTION,
    ),
    INSTANCE,
    replace(
        INSTANCE,
        name="torch.nn.functional.instance_norm",
        supports=supports_instance_function,
        call=call_instance_function,
        steps={**passes(step_instance), "sgd": sgd},
        documentation=DOCUMENTATION + "generated/torch.nn.functional.instance_norm.html",
        **FUNCTION,
    ),
)
