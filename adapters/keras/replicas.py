"""Keras 3 under `tf.distribute.MirroredStrategy`: `BatchNormalization`, synchronized and not, and a `Centering` layer."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import keras

from conformance.protocol import Adapter, Configuration, Quantities
from conformance_adapters.keras._backend import differentiate, settings, versions
from conformance_adapters.keras._native import (
    FREEZING,
    LAYER,
    call_centering,
    call_layer,
    differentiate_layer,
    learned,
    loaded,
    supports_layer,
    supports_policy,
)
from conformance_adapters.tensorflow._replicas import (
    CPUS,
    PASSES,
    VARIABLES,
    reload_replicas,
    start_replicas,
    state_replicas,
    supports_replicas,
)

PROCESSES = "keras-replicas"


@keras.saving.register_keras_serializable(package="conformance")
class Centering(keras.layers.Layer):
    """Subtracts the replica's batch mean in training, and the moving mean in inference; replicas average theirs."""

    def __init__(self, axes: tuple[int, ...], decay: float, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.axes, self.decay = tuple(axes), decay

    def build(self, input_shape: Any) -> None:
        features = [size for axis, size in enumerate(input_shape) if axis not in self.axes]
        self.moving_mean = self.add_weight(
            name="moving_mean", shape=features, initializer="zeros", trainable=False, aggregation="mean"
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        shape = [1 if axis in self.axes else size for axis, size in enumerate(inputs.shape)]
        if not (training and self.trainable):
            return inputs - keras.ops.reshape(self.moving_mean, shape)
        if 0 in inputs.shape:
            # A replica that does not assign leaves the others waiting.
            self.moving_mean.assign(self.moving_mean)
            return inputs
        mean = keras.ops.mean(inputs, self.axes, keepdims=True)
        batch = keras.ops.reshape(mean, self.moving_mean.shape)
        self.moving_mean.assign(self.decay * self.moving_mean + (1 - self.decay) * batch)
        return inputs - mean

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axes": self.axes, "decay": self.decay}


def supports(configuration: Configuration) -> str | None:
    return supports_replicas(configuration) or supports_layer(configuration)


def supports_centering(configuration: Configuration) -> str | None:
    return supports_replicas(configuration) or supports_policy(configuration)


def forward_masked(layer: Any, training: bool, mask: Any, x: Any) -> Any:
    return {"output": layer(x, training=training, mask=mask)}


def differentiate_masked(layer: Any, x: Any, upstream: Any, training: bool, mask: Any = None) -> Any:
    return differentiate(functools.partial(forward_masked, layer, training, mask), x, upstream, learned(layer))


def state(live: Any) -> Quantities:
    variables = {name: getattr(live.layer, name, None) for name in VARIABLES}
    return state_replicas(live, {name: variable.value for name, variable in variables.items() if variable is not None})


SYNCHRONIZED = replace(
    LAYER,
    name="keras.layers.BatchNormalization+synchronized+tensorflow",
    op="synchronized_batch_norm",
    modes=("eager", "compiled"),
    supports=supports,
    call=functools.partial(call_layer, synchronized=True),
    start=functools.partial(start_replicas, differentiate=differentiate_layer),
    state=state,
    steps={**PASSES, **FREEZING, "reload": functools.partial(reload_replicas, loaded)},
)
SHOWN = ("threads within an op", "threads between ops", "oneDNN")

ADAPTER = Adapter(
    library="keras",
    versions=versions(),
    settings={
        "backend": "tensorflow",
        "logical CPUs": str(len(CPUS)),
        **{name: value for name, value in settings().items() if name in SHOWN},
    },
    implementations=(
        SYNCHRONIZED,
        replace(
            SYNCHRONIZED,
            name="keras.layers.BatchNormalization+replicated+tensorflow",
            op="replicated_batch_norm",
            call=call_layer,
        ),
        replace(
            SYNCHRONIZED,
            name="keras.layers.BatchNormalization+mask+synchronized+tensorflow",
            op="masked_synchronized_batch_norm",
            modes=("eager",),
            start=functools.partial(start_replicas, differentiate=differentiate_masked),
        ),
        replace(
            SYNCHRONIZED,
            name="keras.Centering+replicated+tensorflow",
            op="replicated_centering",
            profile=(),
            supports=supports_centering,
            call=call_centering,
        ),
    ),
)
