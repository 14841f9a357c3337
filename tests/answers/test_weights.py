"""Saved weights: the layers of a file are found by one library's names and written by another's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conformance.answers import weights
from conformance.answers.saved import Saved, Settings
from conformance.answers.weights import LayerWeights, layers_in
from conformance.errors import UsageError

TORCH = {"gamma": "*.weight", "beta": "*.bias", "moving_mean": "*.running_mean", "moving_variance": "*.running_var"}
LINEN = {
    "gamma": "params/*/scale",
    "beta": "params/*/bias",
    "moving_mean": "batch_stats/*/mean",
    "moving_variance": "batch_stats/*/var",
}
FILE = Path("model.safetensors")
ARRAYS = {
    "conv.weight": np.zeros((3, 1, 2, 2), np.float32),
    "stem.bn.weight": np.array([1, 2, 3], np.float32),
    "stem.bn.bias": np.array([4, 5, 6], np.float32),
    "stem.bn.running_mean": np.array([7, 8, 9], np.float32),
    "stem.bn.running_var": np.array([1, 4, 9], np.float32),
    "stem.bn.num_batches_tracked": np.array(12),
    "head.running_mean": np.array([0.5], np.float32),
    "head.running_var": np.array([2.0], np.float32),
}
MODEL = Saved(arrays=ARRAYS, settings={"head": Settings(arguments={"eps": "0.5"})})


def renamed(
    layers: list[LayerWeights],
    names: dict[str, str],
    shapes: dict[str, tuple[int, ...]],
    neutral: dict[str, float],
) -> dict[str, np.ndarray]:
    """Return the arrays of all layers by another library's names."""
    return {name: array for layer in layers for name, array in weights.renamed(layer, names, shapes, neutral).items()}


def test_every_layer_of_a_model_is_found_and_nothing_else() -> None:
    """A convolution's weight is no gamma."""
    layers = layers_in(MODEL, TORCH, FILE)
    assert [(layer.place, sorted(layer.state)) for layer in layers] == [
        ("stem.bn", ["beta", "gamma", "moving_mean", "moving_variance"]),
        ("head", ["moving_mean", "moving_variance"]),
    ]
    assert [(layer.features, dict(layer.settings.arguments)) for layer in layers] == [(3, {}), (1, {"eps": "0.5"})]


def test_a_file_of_one_layer_needs_no_place() -> None:
    """As a layer's own `state_dict` has it."""
    alone = {name.removeprefix("stem.bn."): array for name, array in ARRAYS.items() if name.startswith("stem.bn.")}
    (layer,) = layers_in(Saved(arrays=alone), TORCH, FILE)
    assert layer.place == ""
    assert layer.state["gamma"].tolist() == [1, 2, 3]


def test_names_shapes_and_missing_values_are_the_targets() -> None:
    """A place with dots becomes one with slashes; a layer without gamma gets ones."""
    layers = layers_in(MODEL, TORCH, FILE)
    arrays = renamed(layers, LINEN, {"moving_mean": (1, 1, -1)}, {"gamma": 1.0})
    assert arrays["batch_stats/stem/bn/mean"].shape == (1, 1, 3)
    assert arrays["params/stem/bn/bias"].tolist() == [4, 5, 6]
    assert arrays["params/head/scale"].tolist() == [1]
    assert "params/head/bias" not in arrays


def test_there_and_back_is_the_same() -> None:
    """No value is lost between two libraries."""
    there = renamed(layers_in(MODEL, TORCH, FILE), LINEN, {}, {})
    back = renamed(layers_in(Saved(arrays=there), LINEN, FILE), TORCH, {}, {})
    assert back.keys() == ARRAYS.keys() - {"conv.weight", "stem.bn.num_batches_tracked"}
    assert all(back[name].tobytes() == ARRAYS[name].tobytes() for name in back)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"conv.weight": np.zeros(3)}, r"holds no \*\.running_mean and \*\.running_var; it has conv\.weight"),
        ({"a.running_mean": np.zeros(3), "a.running_var": np.zeros(4)}, "a: sizes differ"),
    ],
)
def test_a_file_without_layers_is_one_line(arrays: dict[str, np.ndarray], message: str) -> None:
    """It says what was looked for and what is there."""
    with pytest.raises(UsageError, match=message):
        layers_in(Saved(arrays=arrays), TORCH, FILE)
