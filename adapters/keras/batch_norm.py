"""Keras 3: `keras.layers.BatchNormalization` and a `Centering` layer, on the backend of the process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras

from conformance.protocol import Call, Configuration
from conformance_adapters.keras._backend import BACKEND
from conformance_adapters.keras._native import (
    LAYER,
    STEPS,
    adapter,
    call_centering,
    call_layer,
    supports_layer,
    supports_policy,
    timed,
)

PROCESSES = "keras"


@keras.saving.register_keras_serializable(package="conformance")
class Centering(keras.layers.Layer):
    """Subtracts the batch mean in training and the moving mean in inference; untrainable, it infers."""

    def __init__(self, axes: tuple[int, ...], decay: float, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.axes, self.decay = tuple(axes), decay

    def build(self, input_shape: Any) -> None:
        features = [size for axis, size in enumerate(input_shape) if axis not in self.axes]
        self.moving_mean = self.add_weight(
            name="moving_mean", shape=features, initializer="zeros", trainable=False, autocast=False
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        kept = keras.backend.standardize_dtype(inputs.dtype) in ("float32", "float64")
        x = inputs if kept else keras.ops.cast(inputs, keras.backend.result_type(self.moving_mean.dtype, "float32"))
        moving = keras.ops.cast(self.moving_mean, x.dtype)
        if not (training and self.trainable):
            shape = [1 if axis in self.axes else size for axis, size in enumerate(inputs.shape)]
            return keras.ops.cast(x - keras.ops.reshape(moving, shape), self.compute_dtype)
        mean = keras.ops.mean(x, self.axes, keepdims=True)
        moved = self.decay * moving + (1 - self.decay) * keras.ops.reshape(mean, moving.shape)
        if 0 not in inputs.shape:
            self.moving_mean.assign(moved)
        return keras.ops.cast(x - mean, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axes": self.axes, "decay": self.decay}


def supports_renorm(configuration: Configuration) -> str | None:
    if any(isinstance(option, tuple | list) for option in configuration.options.values()):
        return "`renorm_clipping` maps to floats, which stay as the layer was made with them"
    return supports_layer(configuration)


def call_renorm(configuration: Configuration) -> Call:
    options = configuration.options
    return call_layer(
        configuration,
        renorm=True,
        renorm_clipping={name: options[name] for name in ("rmin", "rmax", "dmax") if name in options},
        renorm_momentum=options["renorm_decay"],
    )


def step(live: Any, x: Any, upstream: Any, training: bool) -> Any:
    return live.step(x, upstream, training=training)


TIMED = timed(step)

ADAPTER = adapter(
    replace(LAYER, timed=TIMED),
    replace(
        LAYER,
        name=f"keras.layers.BatchNormalization+renorm+{BACKEND}",
        op="batch_renorm",
        supports=supports_renorm,
        call=call_renorm,
    ),
    replace(
        LAYER,
        name=f"keras.Centering+{BACKEND}",
        op="centering",
        profile=(),
        supports=supports_policy,
        call=call_centering,
        steps=STEPS,
        timed=TIMED,
        documentation="",
    ),
)
