"""Keras's saved models and weights: HDF5, and the archive `.keras` around it, with what the configuration says of each layer.

Only data sets of one axis that belong to a batch normalization are read. Links to other files, and data sets whose values
lie in other files, are refused. The configuration is read as JSON: no class that it names is looked up.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.answers.archives import opened
from conformance.answers.saved import Saved, Settings
from conformance.errors import UsageError
from conformance.runfile.compression import RATIO

if TYPE_CHECKING:
    import h5py

Array = np.ndarray[Any, np.dtype[Any]]

_STATE = ("gamma", "beta", "moving_mean", "moving_variance")
_LAYERS = ("BatchNormalization", "SyncBatchNormalization")
#: What the folder of a layer is called in which its values have numbers, and what a class is called in the way to it.
_NUMBERED, _OF_ITS_CLASS = "vars", re.compile(r"(sync_)?batch_normalization(_\d+)?")
#: What values may take that are next to nothing in the file: a small file may say that a list of zeros is long.
_UNWRITTEN = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A batch normalization of a model's configuration."""

    #: The names that the user sees, of the models around it and its own: `backbone/bn1`.
    place: str
    #: The way to its values in a file of numbered ones: `layers/functional/layers/batch_normalization_1`.
    path: str
    config: Mapping[str, Any]
    rank: int | None


def read_archive(path: Path) -> Saved:
    """Return what a `.keras` file holds. Raises `UsageError`, `ValueError`, and what a broken archive raises."""
    with opened(path) as archive:
        config = json.loads(archive.read("config.json"))
        return _read(io.BytesIO(archive.read("model.weights.h5")), config)


def read_hdf5(path: Path) -> Saved:
    """Return what an `.h5` file holds: of weights alone, or of a whole model. Raises `UsageError`, `ValueError`, `OSError`."""
    return _read(path, None)


def _read(source: Path | io.BytesIO, config: Any) -> Saved:
    with _h5py().File(source, "r") as file:
        held = file.attrs.get("model_config")
        layers = list(_layers(config if held is None else json.loads(held), "", ""))
        arrays = dict(_arrays(file, {layer.path: layer for layer in layers}))
    return Saved(arrays=arrays, settings={layer.place: _settings(layer) for layer in layers})


def _h5py() -> Any:
    try:
        import h5py  # noqa: PLC0415 - of the extra `weights`
    except ModuleNotFoundError as error:
        raise UsageError("needs h5py: pip install 'batchnorm-conformance[weights]'") from error
    return h5py


# What the configuration says.


def _layers(model: Any, place: str, path: str) -> Iterator[Layer]:
    """Yield the batch normalizations of a model and of the models in it, numbered by class as Keras does."""
    match model:
        case {"config": {"layers": [*layers]}}:
            pass
        case _:
            return
    numbers: Counter[str] = Counter()
    for layer in layers:
        match layer:
            case {"class_name": str(kind), "config": {"name": str(name)}}:
                number = numbers[kind]
                numbers[kind] += 1
                its_path = f"{path}layers/{_snake_case(kind)}{f'_{number}' if number else ''}"
                if kind in _LAYERS:
                    yield Layer(place=place + name, path=its_path, config=layer["config"], rank=_rank(layer))
                yield from _layers(layer, f"{place}{name}/", f"{its_path}/")
            case _:
                pass


def _snake_case(name: str) -> str:
    """Return the name of a class as Keras writes it in the way to its values: `conv2d`, `batch_normalization`."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


def _rank(layer: Mapping[str, Any]) -> int | None:
    match layer.get("build_config"):
        case {"input_shape": [*sizes]}:
            return len(sizes)
        case _:
            return None


def _settings(layer: Layer) -> Settings:
    """Return a layer's own arguments as a user writes them."""
    arguments = {
        name: layer.config[name] for name in ("momentum", "epsilon", "center", "scale") if name in layer.config
    }
    match layer.config.get("axis"):
        case int(axis) | [int(axis)] if layer.rank or axis >= 0:
            arguments["axis"] = axis % layer.rank if layer.rank else axis
        case [_, _, *_] as axes:
            arguments["axis"] = axes
        case _:
            pass
    return Settings(arguments={name: repr(value) for name, value in arguments.items()}, rank=layer.rank)


# What the file holds.


def _arrays(file: h5py.File, by_path: Mapping[str, Layer]) -> Iterator[tuple[str, Array]]:
    """Yield the values of the batch normalizations by place and name: `backbone/bn1/gamma`."""
    for path, group in _groups(file):
        *above, last = path.split("/")
        if last == _NUMBERED:
            yield from _numbered("/".join(above), group, by_path)
            continue
        named = {name.partition(":")[0]: name for name in group}
        if not {"moving_mean", "moving_variance"} <= named.keys():
            continue
        # `model_weights/bn1/bn1/gamma` of a layer, `…/bn1/sequential/bn1/gamma`, `…/backbone/backbone/bn1/gamma` in a model.
        parts = path.removeprefix("model_weights/").split("/")
        place = "/".join(parts[len(parts) - 1 - parts[::-1].index(parts[0]) :])
        yield from ((f"{place}/{ours}", _values(group, name)) for ours, name in named.items() if ours in _STATE)


def _groups(file: h5py.File) -> Iterator[tuple[str, h5py.Group]]:
    """Yield every group of the file, each once, with the way to it. Raises `ValueError` at a link out of it."""
    h5py = _h5py()
    seen: set[int] = set()
    waiting = [("", file["/"])]
    while waiting:
        path, group = waiting.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            continue
        seen.add(address)
        ways = {name: f"{path}/{name}" if path else name for name in group}
        for name, way in ways.items():
            if type(group.get(name, getlink=True)) is not h5py.HardLink:
                raise ValueError(f"{way} is a link to something else, which is not followed")
        yield path, group
        inner = [(way, group[name]) for name, way in ways.items() if group.get(name, getclass=True) is h5py.Group]
        waiting.extend(reversed(inner))


def _numbered(path: str, group: h5py.Group, by_path: Mapping[str, Layer]) -> Iterator[tuple[str, Array]]:
    """Yield the values of a layer that are numbered: gamma and beta where it has them, then both moving ones."""
    layer = by_path.get(path)
    count = len(group)
    flat = [name for name in group if len(getattr(group[name], "shape", ())) == 1]
    if layer is not None:
        has = {"gamma": layer.config.get("scale", True), "beta": layer.config.get("center", True)}
        names = [name for name in _STATE if has.get(name, True)]
    elif count == 4 and len(flat) == count and len({group[name].shape for name in flat}) == 1:
        names = list(_STATE)
    elif _OF_ITS_CLASS.fullmatch(path.rpartition("/")[2]) and count == 2:
        names = list(_STATE[2:])
    elif _OF_ITS_CLASS.fullmatch(path.rpartition("/")[2]) and count == 3:
        raise ValueError(
            f"{path} has three values: whether gamma or beta is missing is only in a .keras file of the model"
        )
    else:
        return
    if sorted(group) != [str(number) for number in range(len(names))]:
        raise ValueError(f"{path} has {count} values, and {', '.join(names)} are expected")
    place = path if layer is None else layer.place
    yield from ((f"{place}/{name}", _values(group, str(number))) for number, name in enumerate(names))


def _values(group: h5py.Group, name: str) -> Array:
    values, h5py = group[name], _h5py()
    if not isinstance(values, h5py.Dataset) or values.dtype.kind != "f" or len(values.shape) != 1:
        raise ValueError(f"{group.name}/{name} is no list of floating-point numbers")
    if values.external or values.is_virtual:
        raise ValueError(f"{group.name}/{name} has its values in another file, which is not opened")
    if values.nbytes > _UNWRITTEN + RATIO * values.id.get_storage_size():
        raise ValueError(f"{group.name}/{name} is said to have {values.size} values, and next to none are in the file")
    return np.asarray(values[()])
