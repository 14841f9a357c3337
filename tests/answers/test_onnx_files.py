"""Layers of ONNX models."""

from __future__ import annotations

import numpy as np
import pytest

from conformance.answers.onnx_files import decoded
from conformance.answers.onnx_models import _tensor
from conformance.answers.protobuf import Field, message, text


def model(*names: str, attributes: tuple[Field, ...] = ()) -> bytes:
    """Return an ONNX model of one BatchNormalization, whose parameters are 1, 2, 3 and 4, by those names."""
    inputs = [text(1, name) for name in ("X", *names)]
    node = message(*inputs, text(2, "/stem/norm/Y"), text(3, "/stem/norm"), text(4, "BatchNormalization"), *attributes)
    tensors = [(5, _tensor(name, np.full(2, value, np.float32))) for value, name in enumerate(names, 1)]
    return message((1, 8), (7, message((1, node), *tensors)))


@pytest.mark.parametrize(
    ("names", "place"),
    [
        (("bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"), "bn1"),
        (("w", "b", "m", "v"), "stem/norm"),
    ],
)
def test_the_layers_of_an_onnx_model_are_found_by_its_nodes(names: tuple[str, ...], place: str) -> None:
    """Whatever the initializers are called: by what their names share, or else by the node."""
    arrays = decoded(model(*names)).arrays
    assert {name: array.tolist() for name, array in arrays.items()} == {
        f"{place}.scale": [1, 1],
        f"{place}.B": [2, 2],
        f"{place}.input_mean": [3, 3],
        f"{place}.input_var": [4, 4],
    }


def test_a_node_says_its_epsilon_and_momentum_or_has_those_of_the_standard() -> None:
    """In as few digits as tell the float32 that it holds."""
    names = ("bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var")
    epsilon = (5, message(text(1, "epsilon"), (2, 1e-3), (20, 1)))
    assert decoded(model(*names, attributes=(epsilon,))).settings["bn1"].arguments == {
        "epsilon": "0.001",
        "momentum": "0.9",
    }
