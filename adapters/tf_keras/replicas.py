"""Legacy Keras under `tf.distribute.MirroredStrategy`: `BatchNormalization`, synchronized and not, and `Centering`."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

PROCESSES = "tf-keras-alone"

#: Keras has our names for the variables of the layer.
NAMES = ("gamma", "beta", "moving_mean", "moving_variance")


def logical_cpus(count: int) -> list[str]:
    """The names of so many logical devices, made of the first CPU before TensorFlow begins."""
    first = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(first, [tf.config.LogicalDeviceConfiguration()] * count)
    return [f"CPU:{number}" for number in range(count)]


CPUS = logical_cpus(4)


@tf_keras.saving.register_keras_serializable(package="conformance")
class Centering(tf_keras.layers.Layer):
    """Subtracts the replica's batch mean in training, and the moving mean in inference; reading it averages it."""

    def __init__(self, axes: tuple[int, ...], decay: float, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.axes, self.decay = tuple(axes), decay

    def build(self, input_shape: Any) -> None:
        self.moving_mean = self.add_weight(
            name="moving_mean",
            shape=[size for axis, size in enumerate(input_shape) if axis not in self.axes],
            initializer="zeros",
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN,
        )
        super().build(input_shape)

    def call(self, inputs: Any, training: bool = False) -> Any:
        shape = [1 if axis in self.axes else size for axis, size in enumerate(inputs.shape)]
        if not (training and self.trainable):
            return inputs - tf.reshape(self.moving_mean, shape)
        if 0 in inputs.shape:
            return inputs
        mean = tf.reduce_mean(inputs, self.axes, keepdims=True)
        batch = tf.reshape(mean, self.moving_mean.shape)
        self.moving_mean.assign(self.decay * self.moving_mean + (1 - self.decay) * batch)
        return inputs - mean

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axes": self.axes, "decay": self.decay}


def supports(configuration: Configuration) -> str | None:
    half = configuration.dtype in ("float16", "bfloat16")
    if configuration.parameter_dtype != ("float32" if half else configuration.dtype):
        return "the variables have the dtype of the layer, and are raised to float32 where that is a half precision"
    return supports_strategy(configuration)


def supports_centering(configuration: Configuration) -> str | None:
    if configuration.parameter_dtype != configuration.dtype:
        return "the variable has the dtype of the input"
    return supports_strategy(configuration)


def supports_strategy(configuration: Configuration) -> str | None:
    if len(configuration.options["shards"]) > len(CPUS):
        return f"the process has {len(CPUS)} logical devices"
    return None


def call(configuration: Configuration) -> Call:
    return Call(
        path="tf_keras.layers.BatchNormalization",
        keywords={
            "axis": list(configuration.feature_axes),
            "momentum": configuration.decay,
            "epsilon": configuration.epsilon,
            "center": configuration.center,
            "scale": configuration.scale,
            "dtype": configuration.dtype,
        },
    )


def call_synchronized(configuration: Configuration) -> Call:
    plain = call(configuration)
    return Call(path=plain.path, keywords={**plain.keywords, "synchronized": True})


def call_centering(configuration: Configuration) -> Call:
    return Call(
        path="Centering",
        keywords={
            "axes": configuration.reduction_axes,
            "decay": configuration.decay,
            "dtype": configuration.dtype,
        },
    )


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    sizes = configuration.options["shards"]
    # Collectives, the default, refuse a second strategy of another size in one process.
    strategy = tf.distribute.MirroredStrategy(CPUS[: len(sizes)], cross_device_ops=tf.distribute.ReductionToOneDevice())
    with strategy.scope():
        layer.build(configuration.shape)
        for name in NAMES:
            if name in state:
                getattr(layer, name).assign(state[name])
    live = SimpleNamespace(layer=layer, configuration=configuration, strategy=strategy, sizes=sizes, mode=mode)
    live.step = prepare(live)
    return live


def prepare(live: Any) -> Any:
    step = functools.partial(distributed, live.strategy, live.layer)
    return step if live.mode == "eager" else tf.function(step, jit_compile=live.mode == "xla")


def local(live: Any, value: Any) -> list[Any]:
    """The value on each replica."""
    return [each.numpy() for each in live.strategy.experimental_local_results(value)]


def state(live: Any) -> Quantities:
    """Gamma and beta, and the moving values on each replica."""
    found = {}
    for name in NAMES:
        if getattr(live.layer, name, None) is not None:
            every = local(live, getattr(live.layer, name))
            found[name] = every[0]
            if name.startswith("moving"):
                found |= {f"{name}_{number}": each for number, each in enumerate(every[1:], start=2)}
    return found


def shards(live: Any, array: Any) -> Any:
    """The array distributed over the replicas, in parts of the sizes asked for."""
    parts = np.split(array, np.cumsum(live.sizes)[:-1])
    return live.strategy.experimental_distribute_values_from_function(
        lambda context: tf.convert_to_tensor(parts[context.replica_id_in_sync_group])
    )


def train(live: Any, x: Any, upstream: Any) -> Quantities:
    return run(live, x, upstream, training=True)


def infer(live: Any, x: Any, upstream: Any) -> Quantities:
    return run(live, x, upstream, training=False)


def run(live: Any, x: Any, upstream: Any, training: bool) -> Quantities:
    upstream = None if upstream is None else shards(live, upstream)
    found = live.step(shards(live, x), upstream, training)
    given = {name: np.concatenate(local(live, found[name])) for name in ("output", "grad_input") if name in found}
    learned = [name for name in found if name not in given]
    return given | {name: live.strategy.reduce("SUM", found[name], axis=None).numpy() for name in learned}


def distributed(strategy: Any, layer: Any, x: Any, upstream: Any, training: bool) -> Any:
    return strategy.run(differentiate, args=(layer, x, upstream, training))


def differentiate(layer: Any, x: Any, upstream: Any, training: bool) -> Any:
    """Output and gradients on one replica."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = layer(x, training=training)
    if upstream is None:
        return {"output": output}
    learned = {f"grad_{name}": getattr(layer, name) for name in ("gamma", "beta") if hasattr(layer, name)}
    learned = {name: variable for name, variable in learned.items() if variable is not None}
    gradients = tape.gradient(output, {"grad_input": x, **learned}, output_gradients=upstream)
    return {"output": output, **gradients}


def reload(live: Any) -> Any:
    configuration = live.configuration
    free = tuple(None if axis in configuration.reduction_axes else n for axis, n in enumerate(configuration.shape))
    model = tf_keras.Sequential([tf_keras.Input(batch_shape=free, dtype=configuration.dtype), live.layer])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        model.save(file)
        with live.strategy.scope():
            live.layer = tf_keras.models.load_model(file).layers[-1]
    live.step = prepare(live)
    return live


def freeze(live: Any) -> None:
    live.layer.trainable = False
    live.step = prepare(live)


def unfreeze(live: Any) -> None:
    live.layer.trainable = True
    live.step = prepare(live)


def compilations(live: Any) -> int:
    return 0 if live.mode == "eager" else live.step.experimental_get_tracing_count()


STEPS: dict[str, Callable[..., Any]] = {
    "train": train,
    "infer": infer,
    "reload": reload,
    "freeze": freeze,
    "unfreeze": unfreeze,
}


#: Within a strategy, where replicas train and infer, each reads its own copy.
ON_READ = Declared(
    field="replica_moving",
    value="apart",
    source="documentation",
    where="tf.VariableSynchronization.ON_READ: the variable will be aggregated across devices when it is read",
)


def implementation(
    name: str, op: str, call: Callable[[Configuration], Call], profile: tuple[Declared, ...] = ()
) -> Implementation:
    return Implementation(
        name=name,
        op=op,
        profile=profile,
        modes=("eager", "compiled"),
        dtypes=("float64", "float32", "float16", "bfloat16"),
        supports=supports_centering if op == "replicated_centering" else supports,
        call=call,
        start=start,
        state=state,
        steps=STEPS,
        compilations=compilations,
        documentation="https://www.tensorflow.org/versions/r2.15/api_docs/python/tf/keras/layers/BatchNormalization",
    )


ADAPTER = Adapter(
    library="tf_keras",
    versions={"tf_keras": tf_keras.__version__, "tensorflow": tf.__version__},
    settings={
        "logical CPUs": str(len(CPUS)),
        "threads within an op": str(tf.config.threading.get_intra_op_parallelism_threads() or "automatic"),
        "threads between ops": str(tf.config.threading.get_inter_op_parallelism_threads() or "automatic"),
        "oneDNN": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
    },
    implementations=(
        implementation("tf_keras.layers.BatchNormalization+synchronized", "synchronized_batch_norm", call_synchronized),
        implementation("tf_keras.layers.BatchNormalization+replicated", "replicated_batch_norm", call),
        implementation("tf_keras.Centering+replicated", "replicated_centering", call_centering, (ON_READ,)),
    ),
)
