"""A small adapter, complete: batch normalization of rows of numbers, in plain Python."""

from __future__ import annotations

import json
import math
import platform
from array import array
from typing import Any

import numpy as np

from conformance.protocol import Adapter, Call, Configuration, Implementation, Quantities

PROCESSES: list[dict[str, Any]] = [{"name": "plain-python", "group": None, "environment": {}}]


# The library. A real adapter imports it instead.


class BatchNorm:
    """Normalizes rows of numbers column by column: computes in Python's floats, stores in arrays of `typecode`."""

    def __init__(self, size: int, *, rate: float, eps: float, affine: bool, typecode: str) -> None:
        self.rate, self.eps, self.typecode = rate, eps, typecode
        self.stored = {"means": array(typecode, [0.0] * size), "variances": array(typecode, [1.0] * size)}
        if affine:
            self.stored |= {"weights": array(typecode, [1.0] * size), "offsets": array(typecode, [0.0] * size)}
        self.normalized: list[list[float]] = []
        self.inverses: list[float] = []
        self.learning = False

    def forward(self, rows: list[Any], *, learning: bool) -> list[Any]:
        """Return the rows normalized: by themselves while learning, else by the stored means and variances."""
        self.learning, self.normalized, self.inverses = learning, [], []
        for index in range(len(self.stored["means"])):
            column = [row[index] for row in rows]
            mean, variance = self.stored["means"][index], self.stored["variances"][index]
            if learning:
                mean = math.fsum(column) / len(column)
                variance = math.fsum((value - mean) ** 2 for value in column) / len(column)
                self.move("means", index, mean)
                self.move("variances", index, variance)
            inverse = 1 / math.sqrt(variance + self.eps)
            self.normalized.append([(value - mean) * inverse for value in column])
            self.inverses.append(inverse)
        outputs = [
            [weight * value + offset for value in column]
            for weight, offset, column in zip(self.weights(), self.offsets(), self.normalized, strict=True)
        ]
        return self.rows(outputs)

    def backward(self, rows: list[Any]) -> tuple[list[Any], Any, Any]:
        """Return the gradients of input, weights and offsets, from that of the output of the last `forward`."""
        inputs, weights, offsets = [], [], []
        columns = zip(self.weights(), self.inverses, self.normalized, strict=True)
        for index, (weight, inverse, normalized) in enumerate(columns):
            column = [row[index] for row in rows]
            offsets.append(math.fsum(column))
            weights.append(math.fsum(each * value for each, value in zip(column, normalized, strict=True)))
            level, slope = (offsets[-1] / len(column), weights[-1] / len(column)) if self.learning else (0.0, 0.0)
            pairs = zip(column, normalized, strict=True)
            inputs.append([weight * inverse * (each - level - value * slope) for each, value in pairs])
        return self.rows(inputs), array(self.typecode, weights), array(self.typecode, offsets)

    def save(self) -> str:
        """Return the stored numbers as text."""
        return json.dumps({name: list(values) for name, values in self.stored.items()})

    def load(self, text: str) -> None:
        """Take the stored numbers from text."""
        self.stored = {name: array(self.typecode, values) for name, values in json.loads(text).items()}

    def move(self, name: str, index: int, batch: float) -> None:
        """Move a stored number towards the batch's."""
        self.stored[name][index] = (1 - self.rate) * self.stored[name][index] + self.rate * batch

    def weights(self) -> Any:
        """Return the weights, or ones."""
        return self.stored.get("weights", [1.0] * len(self.stored["means"]))

    def offsets(self) -> Any:
        """Return the offsets, or zeros."""
        return self.stored.get("offsets", [0.0] * len(self.stored["means"]))

    def rows(self, columns: list[list[float]]) -> list[Any]:
        """Return the columns as stored rows."""
        return [array(self.typecode, row) for row in zip(*columns, strict=True)]


# The translation.

#: Our name -> the library's name for the same numbers.
NAMES = {"gamma": "weights", "beta": "offsets", "moving_mean": "means", "moving_variance": "variances"}
TYPECODES = {"float32": "f", "float64": "d"}


def supports(configuration: Configuration) -> str | None:
    """Return why the library cannot say what the case asks; None where it can."""
    if configuration.feature_axes != (1,) or configuration.rank != 2:
        return "takes rows of numbers and normalizes the columns: inputs (N, C) with the features last"
    if configuration.parameter_dtype != configuration.dtype:
        return "`typecode` is that of the rows and of everything stored"
    if configuration.scale != configuration.center:
        return "`affine` switches weights and offsets together"
    return None


def call(configuration: Configuration) -> Call:
    """Return how a user writes it."""
    return Call(
        path="BatchNorm",
        keywords={
            "size": configuration.feature_count,
            "rate": 1 - configuration.decay,
            "eps": configuration.epsilon,
            "affine": configuration.scale,
            "typecode": TYPECODES[configuration.dtype],
        },
    )


def start(layer: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:  # noqa: ARG001
    """Put the state into the layer; there is one mode and one device, so that nothing else is to prepare."""
    for name, values in state.items():
        layer.stored[NAMES[name]] = array(layer.typecode, values.tolist())
    return layer


def state(layer: Any) -> Quantities:
    """Return what the layer stores."""
    return {ours: np.array(layer.stored[theirs]) for ours, theirs in NAMES.items() if theirs in layer.stored}


def train(layer: Any, x: Any, upstream: Any) -> Quantities:
    """Run forward while learning, and backward where a gradient is given."""
    output = {"output": np.array(layer.forward(x.tolist(), learning=True))}
    return output if upstream is None else {**output, **gradients(layer, upstream)}


def infer(layer: Any, x: Any, upstream: Any) -> Quantities:
    """Run forward by the stored numbers, and backward where a gradient is given."""
    output = {"output": np.array(layer.forward(x.tolist(), learning=False))}
    return output if upstream is None else {**output, **gradients(layer, upstream)}


def gradients(layer: Any, upstream: Any) -> Quantities:
    """Return the gradients of the input and of what the layer has."""
    grad_input, weights, offsets = layer.backward(upstream.tolist())
    learned = {"grad_gamma": np.array(weights), "grad_beta": np.array(offsets)}
    return {"grad_input": np.array(grad_input), **(learned if "weights" in layer.stored else {})}


def reload(layer: Any) -> Any:
    """Save as text, spoil what is there, and load."""
    text = layer.save()
    layer.stored = {}
    layer.load(text)
    return layer


ADAPTER = Adapter(
    library="plain_python",
    versions={"plain_python": "1.0", "python": platform.python_version()},
    settings={"float mantissa bits": str(np.finfo(float).nmant)},
    implementations=(
        Implementation(
            name="plain_python.BatchNorm",
            op="batch_norm",
            profile=(),
            modes=("eager",),
            dtypes=tuple(TYPECODES),
            supports=supports,
            call=call,
            start=start,
            state=state,
            steps={"train": train, "infer": infer, "reload": reload},
        ),
    ),
)
