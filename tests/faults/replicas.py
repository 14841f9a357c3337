"""Replicas that normalize a sharded batch in NumPy, healthy and with one fault each: what the suite must see.

Synchronized and replicated batch normalization and replicated centering, in the dtype of the input. Each fault
replaces one part of the healthy step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities

PROCESSES: list[dict[str, Any]] = [{"name": "faulty-replicas", "group": None, "environment": {}}]

SYNCHRONIZED, REPLICATED, CENTERING = "synchronized_batch_norm", "replicated_batch_norm", "replicated_centering"


@dataclass(frozen=True)
class Fault:
    """One fault of replicas, and what a diagnosis must say of it."""

    name: str
    op: str
    #: Text that the diagnosis of a failed cell must contain; empty where no hypothesis can be expected.
    diagnosis: str
    parts: dict[str, Callable[..., Any]] = field(default_factory=dict)


class Layer:
    """What a user would construct; `start` puts the rest into it."""

    def __init__(self, *, decay: float, epsilon: float) -> None:
        self.decay, self.epsilon = decay, epsilon


# The healthy parts: arrays of a shard are (m_k, C), all shards' in a list.


def sums(live: Any, parts: Any) -> Any:
    """The number of values and their mean, over all shards."""
    count = sum(len(each) for each in parts)
    return count, sum(each.sum(0) for each in parts) / count


def statistics(live: Any, parts: Any) -> Any:
    """Each shard's center and variance, those of the whole batch where they are synchronized."""
    if live.op != SYNCHRONIZED:
        return [(each.mean(0), each.var(0)) if len(each) else None for each in parts]
    count, center = live.part("sums", parts)
    spread = sum(np.square(each - center).sum(0) for each in parts) / count
    return [(center, spread)] * len(parts)


def entering(live: Any, found: Any) -> Any:
    """The statistics that enter each replica's moving values."""
    return found


def joined(live: Any, moving: Any) -> Any:
    """Every replica's moving values after the step."""
    if live.op != CENTERING:
        return moving
    mean = sum(each["moving_mean"] for each in moving) / len(moving)
    return [{"moving_mean": mean} for _ in moving]


def through(live: Any, parts: Any, pulls: Any, replica: int) -> Any:
    """Mean of the upstream gradient, and of its product with x̂, over the values that share statistics."""
    shared = range(len(parts)) if live.op == SYNCHRONIZED else [replica]
    count = sum(len(pulls[each]) for each in shared)
    level = sum(pulls[each].sum(0) for each in shared) / count
    slope = sum((pulls[each] * parts[each]).sum(0) for each in shared) / count
    return level, slope


def learned(live: Any, each: Any) -> Any:
    """The gradient of a shared parameter from each replica's."""
    return sum(each)


def inferring(live: Any, replica: int) -> Any:
    return live.moving[replica]


def saved(live: Any) -> Any:
    return [dict(each) for each in live.moving]


HEALTHY = {
    function.__name__: function for function in (sums, statistics, entering, joined, through, learned, inferring, saved)
}


def start(fault: Fault, layer: Layer, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    sizes = configuration.options["shards"]
    own = [name for name in ("moving_mean", "moving_variance") if name in state]
    live = SimpleNamespace(
        op=configuration.op,
        layer=layer,
        configuration=configuration,
        sizes=sizes,
        shared={name: state[name] for name in ("gamma", "beta") if name in state},
        moving=[{name: state[name] for name in own} for _ in sizes],
    )
    live.part = lambda name, *arguments: {**HEALTHY, **fault.parts}[name](live, *arguments)
    return live


def state(live: Any) -> Quantities:
    found = dict(live.shared)
    for number, each in enumerate(live.moving, start=1):
        found |= {name if number == 1 else f"{name}_{number}": value for name, value in each.items()}
    return found


def shards(live: Any, array: Any) -> Any:
    axes, ends = live.configuration.feature_axes, np.cumsum(live.sizes)[:-1]
    parts = np.split(np.moveaxis(array, axes, (-1,)), ends)
    return [each.reshape(-1, array.shape[axes[0]]) for each in parts]


def together(live: Any, parts: Any, like: Any) -> Any:
    axis = live.configuration.feature_axes[0]
    kept = [size for place, size in enumerate(like.shape) if place != axis]
    return np.moveaxis(np.concatenate(parts).reshape(*kept, like.shape[axis]), -1, axis)


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    parts = shards(live, x)
    found = live.part("statistics", parts)
    quantities = normalized(live, x, parts, upstream, found, training=True)
    a = x.dtype.type(live.layer.decay)
    moved = []
    for each, batch in zip(live.moving, live.part("entering", found), strict=True):
        names = zip(("moving_mean", "moving_variance"), batch or (), strict=False)
        entered = {name: a * each[name] + (1 - a) * value for name, value in names if name in each}
        moved.append({**each, **entered})
    live.moving = live.part("joined", moved)
    return quantities


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    held = [live.part("inferring", replica) for replica in range(len(live.sizes))]
    found = [(each["moving_mean"], each.get("moving_variance")) for each in held]
    return normalized(live, x, shards(live, x), upstream, found, training=False)


def normalized(live: Any, x: Any, parts: Any, upstream: Any, found: Any, training: bool) -> Quantities:
    """Output and gradients of every shard, by the center and the variance found for it."""
    t = x.dtype.type
    # An empty shard has no statistics, and no use for any.
    known = next(each for each in found if each is not None)
    found = [each or known for each in found]
    centering = live.op == CENTERING
    roots = [t(1) if centering else 1 / np.sqrt(spread + t(live.layer.epsilon)) for _, spread in found]
    hats = [(part - center) * root for part, (center, _), root in zip(parts, found, roots, strict=True)]
    gamma, beta = live.shared.get("gamma", t(1)), live.shared.get("beta", t(0))
    quantities = {"output": together(live, [gamma * each + beta for each in hats], x)}
    if upstream is None:
        return quantities
    pulls = shards(live, upstream)
    inputs = []
    for replica, (hat, pull, root) in enumerate(zip(hats, pulls, roots, strict=True)):
        level, slope = (t(0), t(0))
        if training and len(pull):
            level, slope = live.part("through", hats, pulls, replica)
        inputs.append(gamma * root * (pull - level - (t(0) if centering else hat * slope)))
    quantities["grad_input"] = together(live, inputs, x)
    if "gamma" in live.shared:
        each = [(pull * hat).sum(0) for pull, hat in zip(pulls, hats, strict=True)]
        quantities["grad_gamma"] = live.part("learned", each)
    if "beta" in live.shared:
        quantities["grad_beta"] = live.part("learned", [pull.sum(0) for pull in pulls])
    return quantities


def reload(live: Any) -> Any:
    live.moving = live.part("saved")
    return live


# The faults.


def mean_of_means(live: Any, parts: Any) -> Any:
    full = [each for each in parts if len(each)]
    return sum(len(each) for each in parts), sum(each.mean(0) for each in full) / len(full)


def one_size(live: Any, parts: Any) -> Any:
    full = [each for each in parts if len(each)]
    center = sum(each.mean(0) for each in full) / len(full)
    spread = sum(np.square(each - center).mean(0) for each in full) / len(full)
    return [(center, spread)] * len(parts)


def without_spread(live: Any, parts: Any) -> Any:
    count, center = sums(live, parts)
    spread = sum(len(each) * each.var(0) for each in parts if len(each)) / count
    return [(center, spread)] * len(parts)


def through_one_size(live: Any, hats: Any, pulls: Any, replica: int) -> Any:
    count = len(pulls[replica]) * len([each for each in pulls if len(each)])
    slope = sum((pull * hat).sum(0) for pull, hat in zip(pulls, hats, strict=True))
    return sum(each.sum(0) for each in pulls) / count, slope / count


def through_all(live: Any, hats: Any, pulls: Any, replica: int) -> Any:
    count = sum(len(each) for each in pulls)
    slope = sum((pull * hat).sum(0) for pull, hat in zip(pulls, hats, strict=True))
    return sum(each.sum(0) for each in pulls) / count, slope / count


def through_without_spread(live: Any, hats: Any, pulls: Any, replica: int) -> Any:
    """The variance follows x about the shard's own mean."""
    level, slope = through_all(live, hats, pulls, replica)
    return level - hats[replica].mean(0) * slope, slope


def through_own(live: Any, hats: Any, pulls: Any, replica: int) -> Any:
    return pulls[replica].mean(0), (pulls[replica] * hats[replica]).mean(0)


def own(live: Any, parts: Any) -> Any:
    return [(each.mean(0), each.var(0)) if len(each) else None for each in parts]


def whole(live: Any, parts: Any) -> Any:
    every = np.concatenate(parts)
    return [(every.mean(0), every.var(0))] * len(parts)


def local_through(live: Any, hats: Any, pulls: Any, replica: int) -> Any:
    count = sum(len(each) for each in pulls)
    return pulls[replica].sum(0) / count, (pulls[replica] * hats[replica]).sum(0) / count


def counted_again(live: Any, hats: Any, pulls: Any, replica: int) -> Any:
    return tuple(len(pulls) * each for each in through(live, hats, pulls, replica))


def none_through(live: Any, hats: Any, pulls: Any, replica: int) -> Any:
    return tuple(0 * each for each in through(live, hats, pulls, replica))


def averaged(live: Any, each: Any) -> Any:
    return sum(each) / each[0].dtype.type(len(each))


def first_updated(live: Any, moving: Any) -> Any:
    return [moving[0], *live.moving[1:]]


def mean_joined(live: Any, moving: Any) -> Any:
    return [{name: sum(each[name] for each in moving) / len(moving) for name in moving[0]}] * len(moving)


def last_joined(live: Any, moving: Any) -> Any:
    return [moving[-1]] * len(moving)


def first_joined(live: Any, moving: Any) -> Any:
    return [moving[0]] * len(moving)


def nothing_averaged(live: Any, moving: Any) -> Any:
    """The mean of a shard without values, 0/0, in its replica's moving values."""
    return [
        each if size else {name: np.full_like(value, np.nan) for name, value in each.items()}
        for size, each in zip(live.sizes, moving, strict=True)
    ]


def added(live: Any, moving: Any) -> Any:
    return [{name: sum(each[name] for each in moving) for name in moving[0]}] * len(moving)


def by_size(live: Any, moving: Any) -> Any:
    total = sum(live.sizes)
    weighed = [
        {name: size * value / total for name, value in each.items()}
        for size, each in zip(live.sizes, moving, strict=True)
    ]
    return added(
        live, [{name: value.astype(moving[0][name].dtype) for name, value in each.items()} for each in weighed]
    )


def apart(live: Any, moving: Any) -> Any:
    return moving


def first_saved(live: Any) -> Any:
    return [dict(live.moving[0]) for _ in live.moving]


def one_pass(live: Any, parts: Any) -> Any:
    count, center = sums(live, parts)
    spread = sum(np.square(each).sum(0) for each in parts) / count - np.square(center)
    return [(center, spread)] * len(parts)


FAULTS = (
    Fault("own", SYNCHRONIZED, "each replica normalizes by its own shard", {"statistics": own, "through": through_own}),
    Fault(
        "one_size",
        SYNCHRONIZED,
        "shards averaged as if they had one size",
        {"statistics": one_size, "through": through_one_size},
    ),
    Fault(
        "without_spread",
        SYNCHRONIZED,
        "without the spread of their means",
        {"statistics": without_spread, "through": through_without_spread},
    ),
    Fault("mean_of_means", SYNCHRONIZED, "", {"sums": mean_of_means}),
    Fault("local_through", SYNCHRONIZED, "gradients do not pass to other replicas", {"through": local_through}),
    Fault("counted_again", SYNCHRONIZED, "counted once per replica", {"through": counted_again}),
    Fault("none_through", SYNCHRONIZED, "no gradients through the statistics", {"through": none_through}),
    Fault("averaged", SYNCHRONIZED, "averaged over the replicas", {"learned": averaged}),
    Fault("first_updated", SYNCHRONIZED, "first replica alone updated", {"joined": first_updated}),
    Fault("one_pass", SYNCHRONIZED, "one-pass variance", {"statistics": one_pass}),
    Fault("whole", REPLICATED, "statistics of the whole batch", {"statistics": whole, "through": through_all}),
    Fault("averaged_gradients", REPLICATED, "averaged over the replicas", {"learned": averaged}),
    Fault("mean_joined", REPLICATED, "moving values averaged over the replicas", {"joined": mean_joined}),
    Fault("first_joined", REPLICATED, "every replica takes the first one's moving values", {"joined": first_joined}),
    Fault("last_joined", REPLICATED, "every replica takes the last one's moving values", {"joined": last_joined}),
    Fault("first_saved", REPLICATED, "", {"saved": first_saved}),
    Fault("nothing_averaged", REPLICATED, "an empty batch is averaged", {"joined": nothing_averaged}),
    Fault("added", CENTERING, "moving values added over the replicas", {"joined": added}),
    Fault("by_size", CENTERING, "moving values of the whole batch's statistics", {"joined": by_size}),
    Fault("apart", CENTERING, "replicas keep their moving values apart", {"joined": apart}),
)
NOTHING = tuple(Fault("nothing", op, "") for op in (SYNCHRONIZED, REPLICATED, CENTERING))


def supports(configuration: Configuration) -> str | None:
    return None if len(configuration.feature_axes) == 1 else "one feature axis"


def call(configuration: Configuration) -> Call:
    return Call(path="Layer", keywords={"decay": configuration.decay, "epsilon": configuration.epsilon})


ADAPTER = Adapter(
    library="faulty",
    versions={},
    implementations=tuple(
        Implementation(
            name=f"faulty.{fault.op}.{fault.name}",
            op=fault.op,
            profile=(),
            modes=("eager",),
            dtypes=("float64", "float32"),
            supports=supports,
            call=call,
            start=functools.partial(start, fault),
            state=state,
            steps={"train": train, "infer": infer, "reload": reload},
        )
        for fault in (*NOTHING, *FAULTS)
    ),
)
