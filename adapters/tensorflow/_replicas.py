"""A layer under `tf.distribute.MirroredStrategy`: its replicas are on logical devices of one CPU."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf

from conformance.protocol import Configuration, Quantities


def logical_cpus(count: int) -> list[str]:
    """The names of so many logical devices, made of the first CPU before TensorFlow begins."""
    first = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(first, [tf.config.LogicalDeviceConfiguration()] * count)
    return [f"CPU:{number}" for number in range(count)]


CPUS = logical_cpus(4)
#: The layers have our names; those of the state with a number are of the further replicas, which begin as the first.
VARIABLES = ("gamma", "beta", "moving_mean", "moving_variance")


def supports_replicas(configuration: Configuration) -> str | None:
    if len(configuration.options["shards"]) > len(CPUS):
        return f"the process has {len(CPUS)} logical devices"
    return None


def start_replicas(
    layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str, differentiate: Any
) -> Any:
    sizes = configuration.options["shards"]
    # Collectives, the default, refuse a second strategy of another size in one process.
    strategy = tf.distribute.MirroredStrategy(CPUS[: len(sizes)], cross_device_ops=tf.distribute.ReductionToOneDevice())
    with strategy.scope():
        layer.build(configuration.shape)
        for name in VARIABLES:
            if name in state:
                getattr(layer, name).assign(state[name])
    prepare = functools.partial(prepare_replicas, strategy, differentiate)
    return SimpleNamespace(
        layer=layer,
        configuration=configuration,
        strategy=strategy,
        sizes=sizes,
        mode=mode,
        prepare=prepare,
        step=prepare(layer, mode),
    )


def prepare_replicas(strategy: Any, differentiate: Any, layer: Any, mode: str) -> Any:
    step = functools.partial(run_on_each, strategy, differentiate, layer)
    return step if mode == "eager" else tf.function(step)


def run_on_each(
    strategy: Any, differentiate: Any, layer: Any, x: Any, upstream: Any, training: bool, *mask: Any
) -> Any:
    return strategy.run(differentiate, args=(layer, x, upstream, training, *mask))


def on_each(live: Any, value: Any) -> list[Any]:
    """The value on each replica."""
    return [replica.numpy() for replica in live.strategy.experimental_local_results(value)]


def state_replicas(live: Any, variables: Any) -> Quantities:
    """Gamma and beta, and the moving values on each replica."""
    quantities = {}
    for name, variable in variables.items():
        first, *others = on_each(live, variable)
        quantities[name] = first
        if name.startswith("moving"):
            quantities |= {f"{name}_{number}": value for number, value in enumerate(others, start=2)}
    return quantities


def shards(live: Any, array: Any) -> Any:
    """The array distributed over the replicas, in parts of the sizes asked for."""
    parts = np.split(array, np.cumsum(live.sizes)[:-1])
    return live.strategy.experimental_distribute_values_from_function(
        lambda context: tf.convert_to_tensor(parts[context.replica_id_in_sync_group])
    )


def run_replicas(live: Any, x: Any, upstream: Any, mask: Any = None, *, training: bool) -> Quantities:
    upstream, masks = (
        None if upstream is None else shards(live, upstream),
        () if mask is None else (shards(live, mask),),
    )
    tensors = live.step(shards(live, x), upstream, training, *masks)
    shaped = [name for name in ("output", "grad_input") if name in tensors]
    joined = {name: np.concatenate(on_each(live, tensors[name])) for name in shaped}
    learned = [name for name in tensors if name not in joined]
    return joined | {name: live.strategy.reduce("SUM", tensors[name], axis=None).numpy() for name in learned}


def reload_replicas(loaded: Any, live: Any) -> Any:
    """`loaded(live)` is the layer after it was saved."""
    with live.strategy.scope():
        live.layer = loaded(live)
    live.step = live.prepare(live.layer, live.mode)
    return live


PASSES = {
    "train": functools.partial(run_replicas, training=True),
    "infer": functools.partial(run_replicas, training=False),
}
