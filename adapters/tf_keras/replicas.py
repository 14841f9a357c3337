"""Legacy Keras under `tf.distribute.MirroredStrategy`: `BatchNormalization`, synchronized and not, and `Centering`."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import tensorflow as tf
import tf_keras

from conformance.protocol import Adapter, Call, Configuration, Declared, Quantities
from conformance_adapters.tensorflow._process import numerics, threads
from conformance_adapters.tensorflow._replicas import (
    CPUS,
    PASSES,
    VARIABLES,
    reload_replicas,
    start_replicas,
    state_replicas,
    supports_replicas,
)
from conformance_adapters.tf_keras._native import (
    FREEZING,
    FROZEN,
    LAYER,
    VERSIONS,
    call_layer,
    learned,
    loaded,
    pulled,
    supports_layer,
)

PROCESSES = "tf-keras-alone"


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
        inputs = tf.cast(inputs, self.compute_dtype)
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
    return supports_layer(configuration) or supports_replicas(configuration)


def supports_centering(configuration: Configuration) -> str | None:
    if configuration.parameter_dtype != configuration.dtype:
        return "the variable has the dtype of the input"
    return supports_replicas(configuration)


def call(configuration: Configuration, **further: Any) -> Call:
    return call_layer(configuration, axis=list(configuration.feature_axes), **further)


def call_centering(configuration: Configuration) -> Call:
    return Call(
        path="Centering",
        keywords={"axes": configuration.reduction_axes, "decay": configuration.decay, "dtype": configuration.dtype},
    )


def differentiate_replica(layer: Any, x: Any, upstream: Any, training: bool, mask: Any = None) -> Any:
    """Output and gradients on one replica, also of gamma and beta that are not trainable."""
    masked = {} if mask is None else {"mask": mask}
    return pulled(functools.partial(layer, training=training, **masked), x, upstream, learned(layer))


def state(live: Any) -> Quantities:
    variables = {name: getattr(live.layer, name, None) for name in VARIABLES}
    return state_replicas(live, {name: variable for name, variable in variables.items() if variable is not None})


#: Within a strategy, where replicas train and infer, each reads its own copy.
ON_READ = Declared(
    field="replica_moving",
    value="apart",
    source="documentation",
    where="tf.VariableSynchronization.ON_READ: the variable will be aggregated across devices when it is read",
)
SYNCHRONIZED = replace(
    LAYER,
    name="tf_keras.layers.BatchNormalization+synchronized",
    op="synchronized_batch_norm",
    profile=(FROZEN,),
    modes=("eager", "compiled"),
    devices=("cpu",),
    supports=supports,
    call=functools.partial(call, synchronized=True),
    start=functools.partial(start_replicas, differentiate=differentiate_replica),
    state=state,
    steps={**PASSES, **FREEZING, "reload": functools.partial(reload_replicas, loaded)},
)

ADAPTER = Adapter(
    library="tf_keras",
    versions=VERSIONS,
    settings={"logical CPUs": str(len(CPUS)), **threads(tf), "oneDNN": numerics(tf)["oneDNN"]},
    implementations=(
        SYNCHRONIZED,
        replace(
            SYNCHRONIZED, name="tf_keras.layers.BatchNormalization+replicated", op="replicated_batch_norm", call=call
        ),
        replace(
            SYNCHRONIZED,
            name="tf_keras.layers.BatchNormalization+mask+synchronized+replicas",
            op="masked_synchronized_batch_norm",
            modes=("eager",),
        ),
        replace(
            SYNCHRONIZED,
            name="tf_keras.Centering+replicated",
            op="replicated_centering",
            profile=(ON_READ,),
            supports=supports_centering,
            call=call_centering,
        ),
    ),
)
