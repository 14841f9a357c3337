"""The batch normalization layers among named arrays: found by one library's names, and given another's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from conformance.answers.saved import Saved, Settings
from conformance.errors import UsageError

Array = np.ndarray[Any, np.dtype[Any]]

#: What every layer keeps: without both, gamma and beta alone may be any other layer's.
_MOVING = ("moving_mean", "moving_variance")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerWeights:
    """One batch normalization layer of a file."""

    #: Its place in the file: `backbone.bn1`; empty where it is the file's only one.
    place: str
    #: By our names, one value per feature.
    state: Mapping[str, Array]
    settings: Settings = field(default_factory=Settings)

    @property
    def features(self) -> int:
        """How many there are."""
        return next((array.size for array in self.state.values()), 0)


def layers_in(saved: Saved, names: Mapping[str, str], path: Path) -> list[LayerWeights]:
    """Return the batch normalization layers of a file, by the names that a library gives their state.

    Raises `UsageError` where there are none, or where the values of one do not belong together.
    """
    by_place: dict[str, dict[str, Array]] = {}
    for ours, pattern in names.items():
        matching = _pattern(pattern)
        for name, array in saved.arrays.items():
            place = matching.fullmatch(name)
            if place:
                by_place.setdefault(place["place"] or "", {})[ours] = array
    layers = [
        LayerWeights(place=place, state=_checked(place, state, path), settings=saved.settings.get(place, Settings()))
        for place, state in by_place.items()
        if all(name in state for name in _MOVING)
    ]
    if not layers:
        wanted = " and ".join(names.get(name, name) for name in _MOVING)
        raise UsageError(f"{path}: holds no {wanted}; it has {', '.join(list(saved.arrays)[:6]) or 'nothing'}")
    return layers


def _pattern(pattern: str) -> re.Pattern[str]:
    """Return what matches a name of the file: the layer's place stands for the star, and may be nothing."""
    before, _, after = pattern.partition("*")
    separator = re.escape(after[:1])
    return re.compile(f"{re.escape(before)}(?:(?P<place>.+){separator})?{re.escape(after[1:])}")


def _checked(place: str, state: Mapping[str, Array], path: Path) -> dict[str, Array]:
    sizes = {name: array.size for name, array in state.items()}
    if len(set(sizes.values())) != 1:
        raise UsageError(
            f"{path}: {place or 'its layer'}: sizes differ: {', '.join(f'{n} {s}' for n, s in sizes.items())}"
        )
    return {name: array.reshape(-1) for name, array in state.items()}


def renamed(
    layer: LayerWeights, names: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]], neutral: Mapping[str, float]
) -> dict[str, Array]:
    """Return a layer's arrays by another library's names.

    `shapes` has the native shape of each with -1 for the features. What the other library's layer has and the file lacks
    gets the value in `neutral`.
    """
    model = layer.state["moving_mean"]
    filled = {**{name: np.full(model.shape, value, model.dtype) for name, value in neutral.items()}, **layer.state}
    return {
        _named(names[ours], layer.place): array.reshape(shapes.get(ours, (-1,)))
        for ours, array in filled.items()
        if ours in names
    }


def _named(pattern: str, place: str) -> str:
    before, _, after = pattern.partition("*")
    if not place:
        return before + after[1:]
    separator = after[:1]
    return before + re.sub(r"[./]", lambda _: separator, place) + after
