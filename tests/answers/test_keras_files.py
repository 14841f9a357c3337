"""Saved models of Keras: the layers by the names that the user sees, and nothing that lies outside the file."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from conformance.answers.keras_files import read_archive, read_hdf5
from conformance.answers.saved import Saved
from conformance.errors import UsageError

NORM: dict[str, Any] = {"momentum": 0.99, "epsilon": 1e-5, "center": True, "scale": True, "axis": -1}


def layer(kind: str, name: str, *, shape: tuple[int | None, ...] | None = None, **config: Any) -> dict[str, Any]:
    built = {} if shape is None else {"build_config": {"input_shape": list(shape)}}
    return {"class_name": kind, "config": {"name": name, **config}, **built}


#: Two normalizations beside one in a model within: Keras numbers the first two, and calls the third by its class.
MODEL = layer(
    "Functional",
    "model",
    layers=[
        layer("Conv2D", "stem"),
        layer("BatchNormalization", "stem_bn", shape=(None, 8, 8, 3), **NORM),
        layer(
            "Sequential",
            "inner",
            layers=[layer("SyncBatchNormalization", "bn", **{**NORM, "scale": False, "axis": [3]})],
        ),
        layer("BatchNormalization", "head_bn", shape=(None, 3), **{**NORM, "center": False}),
        layer("LayerNormalization", "other"),
    ],
)
NUMBERED: dict[str, list[list[float]]] = {
    "layers/conv2d": [[0.0, 0, 0]],
    "layers/batch_normalization": [[1.0, 1, 1], [2, 2, 2], [3, 3, 3], [4, 4, 4]],
    "layers/sequential/layers/sync_batch_normalization": [[5.0, 5], [6, 6], [7, 7]],
    "layers/batch_normalization_1": [[8.0, 8, 8], [9, 9, 9], [10, 10, 10]],
    "layers/layer_normalization": [[0.0, 0, 0], [0, 0, 0]],
}
#: The first value of each, by place and name.
FIRST = {
    "stem_bn/gamma": 1,
    "stem_bn/beta": 2,
    "stem_bn/moving_mean": 3,
    "stem_bn/moving_variance": 4,
    "inner/bn/beta": 5,
    "inner/bn/moving_mean": 6,
    "inner/bn/moving_variance": 7,
    "head_bn/gamma": 8,
    "head_bn/moving_mean": 9,
    "head_bn/moving_variance": 10,
}


def weights(layers: Mapping[str, list[list[float]]]) -> bytes:
    """Return a file of numbered values, as Keras 3 writes it."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for path, values in layers.items():
            for number, value in enumerate(values):
                file[f"{path}/vars/{number}"] = np.array(value, np.float32)
    return content.getvalue()


def archive(path: Path, config: object, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", json.dumps(config))
        file.writestr("model.weights.h5", content)
    return path


def firsts(saved: Saved) -> dict[str, float]:
    return {name: float(array[0]) for name, array in saved.arrays.items()}


def test_the_layers_of_a_model_have_the_names_that_the_user_sees(tmp_path: Path) -> None:
    """Its file numbers them by class; the configuration has the names, and which of gamma and beta there are."""
    saved = read_archive(archive(tmp_path / "x.keras", MODEL, weights(NUMBERED)))
    assert firsts(saved) == FIRST


def test_the_configuration_says_each_layer_s_arguments_and_rank(tmp_path: Path) -> None:
    """An axis counted from the end is one from the begin, where the file says of how many."""
    saved = read_archive(archive(tmp_path / "x.keras", MODEL, weights(NUMBERED)))
    stem = {"momentum": "0.99", "epsilon": "1e-05", "center": "True", "scale": "True", "axis": "3"}
    assert {place: dict(one.arguments) for place, one in saved.settings.items()} == {
        "stem_bn": stem,
        "inner/bn": {**stem, "scale": "False"},
        "head_bn": {**stem, "center": "False", "axis": "1"},
    }
    assert [one.rank for one in saved.settings.values()] == [4, None, 2]


def test_a_model_of_one_s_own_class_is_read_by_its_attributes(tmp_path: Path) -> None:
    """Its configuration lists no layers: four lists are a normalization, two are one by the name of its class alone."""
    layers = {
        "bn1": NUMBERED["layers/batch_normalization"],
        "blocks/batch_normalization_1": [[5.0], [6.0]],
        "dense": [[1.0], [2.0]],
    }
    saved = read_archive(archive(tmp_path / "x.keras", {"class_name": "Mine", "config": {}}, weights(layers)))
    assert firsts(saved) == {
        "blocks/batch_normalization_1/moving_mean": 5,
        "blocks/batch_normalization_1/moving_variance": 6,
        "bn1/gamma": 1,
        "bn1/beta": 2,
        "bn1/moving_mean": 3,
        "bn1/moving_variance": 4,
    }


def test_three_values_without_a_configuration_are_refused(tmp_path: Path) -> None:
    """One is gamma or beta, and nothing in the file says which."""
    (tmp_path / "x.h5").write_bytes(weights({"layers/batch_normalization": [[1.0], [2.0], [3.0]]}))
    with pytest.raises(ValueError, match=r"whether gamma or beta is missing is only in a \.keras file"):
        read_hdf5(tmp_path / "x.h5")


def test_the_older_format_names_its_values(tmp_path: Path) -> None:
    """By layer twice, with the model between or the way within it; of Keras 2 with a number behind."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(MODEL)
        for place in ("stem_bn/stem_bn", "head_bn/model/head_bn", "inner/inner/bn", "inner/bn2"):
            for name in ("gamma:0", "beta:0", "moving_mean:0", "moving_variance:0"):
                file[f"model_weights/{place}/{name}"] = np.ones(2, np.float32)
    saved = read_hdf5(tmp_path / "x.h5")
    assert {name.rpartition("/")[0] for name in saved.arrays} == {"stem_bn", "head_bn", "inner/bn", "inner/bn2"}
    assert saved.settings["stem_bn"].arguments["epsilon"] == "1e-05"
    assert len(saved.arrays) == 16


def hostile(path: Path, kind: str) -> None:
    """Write a file whose values lie elsewhere, or nowhere."""
    with h5py.File(path.with_name("secret.h5"), "w") as file:
        file["values"] = np.ones(3, np.float32)
    with h5py.File(path, "w") as file:
        group = file.create_group("bn")
        group["moving_mean"] = np.ones(3, np.float32)
        match kind:
            case "external":
                group["moving_variance"] = h5py.ExternalLink("secret.h5", "/values")
            case "soft":
                group["moving_variance"] = h5py.SoftLink("/bn/moving_mean")
            case "storage":
                group.create_dataset("moving_variance", (3,), "f4", external=[("secret.h5", 0, 12)])
            case "virtual":
                layout = h5py.VirtualLayout((3,), "f4")
                layout[:] = h5py.VirtualSource("secret.h5", "values", (3,))
                group.create_virtual_dataset("moving_variance", layout)
            case "unwritten":
                group.create_dataset("moving_variance", (10**13,), "f4", chunks=(1000,))
            case "zeros":
                group.create_dataset("moving_variance", data=np.zeros(10**7, np.float32), compression="gzip")
            case _:
                group["moving_variance"] = np.array([b"text"])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("external", "bn/moving_variance is a link to something else"),
        ("soft", "bn/moving_variance is a link to something else"),
        ("storage", "has its values in another file"),
        ("virtual", "has its values in another file"),
        ("unwritten", "10000000000000 values, and next to none are in the file"),
        ("zeros", "10000000 values, and next to none are in the file"),
        ("text", "no list of floating-point numbers"),
    ],
)
def test_what_is_not_in_the_file_is_not_read(kind: str, message: str, tmp_path: Path) -> None:
    """Nothing else on the disk, and no memory for what was never written."""
    hostile(tmp_path / "x.h5", kind)
    with pytest.raises(ValueError, match=message):
        read_hdf5(tmp_path / "x.h5")


def test_a_group_that_holds_itself_is_gone_through_once(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        group = file.create_group("bn")
        group["again"] = file["/"]
        group["moving_mean"] = group["moving_variance"] = np.ones(3, np.float32)
    assert list(read_hdf5(tmp_path / "x.h5").arrays) == ["bn/moving_mean", "bn/moving_variance"]


def test_a_layer_with_other_values_than_its_configuration_says_is_refused(tmp_path: Path) -> None:
    layers = {**NUMBERED, "layers/batch_normalization": [[1.0], [2.0]]}
    with pytest.raises(ValueError, match="has 2 values, and gamma, beta, moving_mean, moving_variance are expected"):
        read_archive(archive(tmp_path / "x.keras", MODEL, weights(layers)))


def test_without_h5py_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(UsageError, match=r"pip install 'batchnorm-conformance\[weights\]'"):
        read_hdf5(tmp_path / "x.h5")
