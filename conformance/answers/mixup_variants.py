"""The data as a person may have read them, and every variant of the state at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.answers.explain_subject import Subject
from conformance.answers.mixup_choices import AxesChoice, Choice, EpsilonChoice, IgnoredChoice, MovedChoice
from conformance.answers.typed_numbers import Typed
from conformance.dialect import Dialect, PassName
from conformance.operations.expected import Expected
from conformance.operations.layout import flatten
from conformance.operations.moving import moved
from conformance.operations.situation import Situation
from conformance.precision import Precision, precision, storage_rounding, wide, working
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]

#: Of roundings, how many a whole number may be off that is taken at its word, and how many a moving value.
_WHOLE, _MOVED = 4, 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """The data and the state, with one choice of feature axes, flattened; and the numbers to be explained."""

    axes: AxesChoice
    configuration: Configuration
    x: Array
    state: Mapping[str, Array]
    asked: Mapping[str, Typed]
    #: What of the data or the state is otherwise than was said.
    taken: Choice


def scene_of(
    subject: Subject, axes: AxesChoice, start: Mapping[str, Array], x: Array, asked: Mapping[str, Typed]
) -> Scene | None:
    """Return the data flattened with those feature axes; None where the state or the numbers have another count."""
    case, operation = subject.case, subject.operation
    configuration = replace(case.configuration, shape=x.shape, feature_axes=axes.axes)
    count = configuration.feature_count
    state = {name: _spread(value, count) for name, value in start.items()}
    sized = {name: numbers for name, numbers in asked.items() if operation.quantities[name].shape != "input"}
    if any(value is None for value in state.values()) or any(one.values.size != count for one in sized.values()):
        return None
    needed = wide() if case.dtype == "float64" else np.float64
    flat = flatten(x, configuration) if axes.axes else x.reshape(-1, 1)
    return Scene(
        axes=axes,
        configuration=configuration,
        x=flat.astype(needed),
        state={name: value.astype(needed) for name, value in state.items() if value is not None},
        asked={name: _arranged(numbers, name in sized, x.shape, configuration) for name, numbers in asked.items()},
        taken=Choice(),
    )


def _spread(value: Array, count: int) -> Array | None:
    """Return one value a feature; None where the values are of other features."""
    flat = np.asarray(value, dtype=np.longdouble).reshape(-1)
    if flat.size == count:
        return flat
    return np.full(count, flat[0]) if flat.size and (flat == flat[0]).all() else None


def _arranged(numbers: Typed, by_feature: bool, shape: tuple[int, ...], configuration: Configuration) -> Typed:
    """Return the numbers flattened as the data are."""

    def laid(array: Array) -> Array:
        if by_feature:
            return array.reshape(-1)
        return flatten(array.reshape(shape), configuration) if configuration.feature_axes else array.reshape(-1, 1)

    return Typed(values=laid(numbers.values), slack=laid(numbers.slack), texts=numbers.texts)


class Variants:
    """Every variant of the state, side by side as if they were further features."""

    def __init__(
        self,
        subject: Subject,
        scene: Scene,
        dialect: Dialect,
        ignored: Sequence[IgnoredChoice],
        moves: Sequence[MovedChoice],
    ) -> None:
        self.subject, self.scene, self.ignored, self.moves = subject, scene, ignored, moves
        self.worked = working(subject.case.dtype)
        self.count = len(ignored) * len(moves)
        self.state = self._states(dialect)

    def choices(self, index: int) -> tuple[IgnoredChoice, MovedChoice]:
        """Return what the variant of that number takes."""
        return self.ignored[index // len(self.moves)], self.moves[index % len(self.moves)]

    def promising(self, off: Array) -> list[int]:
        """Return the variants that fit, or else the one that comes nearest."""
        fitting = [int(one) for one in np.flatnonzero(off <= 1)]
        return fitting or [int(off.argmin())]

    def judged(self, performs: PassName, epsilon: EpsilonChoice, dialect: Dialect) -> tuple[Array, Mapping[str, Array]]:
        """Return how far each variant is off, and what it gives: quantities of shape (…, variants, features)."""
        stored = self.subject.case.dtype
        off, gives = np.zeros(self.count), dict[str, Array]()
        results = {**self.performed(performs, epsilon, dialect), **self._moved()}
        for name, numbers in self.scene.asked.items():
            if name not in results:
                return np.full(self.count, np.inf), {}
            value, bound = (self._by_variant(array) for array in (results[name].value, results[name].bound))
            off = np.maximum(off, off_of(value, bound, numbers, stored, self.worked))
            gives[name] = value
        return off, gives

    def _by_variant(self, array: Array) -> Array:
        """Return an array of features as one of variants and their features."""
        return array.reshape(*array.shape[:-1], self.count, self.scene.configuration.feature_count)

    def _moved(self) -> dict[str, Expected]:
        """Return the moving values that each variant has come to; NaN, which fits nothing, where no step moved them."""
        moves = np.array([bool(move.trained) for move in self.moves] * len(self.ignored))
        came = np.repeat(moves, self.scene.configuration.feature_count)
        values = {
            name: np.where(came, self.state[name], np.nan)
            for name in self.subject.operation.named(self.scene.configuration, "state")
        }
        return {
            name: Expected(
                value=value,
                bound=_MOVED * self.worked.unit * np.abs(value),
                magnitude=np.abs(value),
                in_domain=np.ones(value.shape, dtype=bool),
            )
            for name, value in values.items()
        }

    def performed(self, performs: PassName, epsilon: EpsilonChoice, dialect: Dialect) -> Mapping[str, Expected]:
        """Return what the pass gives, the features of one variant after those of another."""
        operation, x = self.subject.operation, np.tile(self.scene.x, (1, self.count))
        configuration = replace(self.scene.configuration, shape=x.shape, feature_axes=(1,), epsilon=epsilon.value)
        situation = Situation(
            configuration=configuration,
            dialect=dialect,
            x=x,
            upstream=None,
            state=self.state,
            epsilon=epsilon.place,
            shape=x.shape,
        )
        with np.errstate(all="ignore"):
            return (operation.train if performs == "train" else operation.infer)(situation, self.worked)

    def _states(self, dialect: Dialect) -> dict[str, Array]:
        """Return the state of every variant, one after another: by what is ignored, then by how the moving values came."""
        batch = self._batch(dialect)
        states = {}
        for name, start in self.scene.state.items():
            came = [self._came(start, batch.get(name), move) for move in self.moves]
            neutral = [np.full_like(start, self.subject.operation.initial[name])] * len(came)
            states[name] = np.concatenate(
                [one for ignoring in self.ignored for one in (neutral if name in ignoring.ignored else came)]
            )
        return states

    def _came(self, start: Array, batch: Array | None, move: MovedChoice) -> Array:
        """Return what a value of the state has come to; what no batch moves stays."""
        kept = start.dtype.type(move.kept)
        return start if batch is None else moved(start, batch, (kept, 1 - kept))

    def _batch(self, dialect: Dialect) -> dict[str, Array]:
        """Return what the batch would put in the place of the moving values."""
        operation, scene = self.subject.operation, self.scene
        if not scene.x.size:
            return {}
        situation = Situation(
            configuration=replace(scene.configuration, shape=scene.x.shape, feature_axes=(1,), decay=0.0),
            dialect=dialect,
            x=scene.x,
            upstream=None,
            state=scene.state,
            shape=scene.x.shape,
        )
        with np.errstate(all="ignore"):
            results = operation.train(situation, self.worked)
        names = operation.named(scene.configuration, "state")
        return {name: results[name].value for name in names if name in results}


def off_of(value: Array, bound: Array, numbers: Typed, stored: str, worked: Precision) -> Array:
    """Return the largest error of each variant, in units of what the digits, the bound and the dtype leave open.

    `value` has shape (m, variants, features), or (variants, features) of a quantity of one value a feature.
    """
    with np.errstate(all="ignore"):
        observed, slack = (array[..., None, :] for array in (numbers.values, numbers.slack))
        rounding = storage_rounding(np.asarray(bound, np.float64), value, stored, worked)
        size = np.abs(value).astype(np.float64)
        at_its_word = np.minimum(rounding, _WHOLE * precision(stored).unit * size)
        allowed = np.where(slack > 0, rounding + slack * (1 + 1e-9), at_its_word)
        error = np.abs(value - observed).astype(np.float64)
        ratio = np.where(error == 0, 0.0, error / np.maximum(allowed, np.finfo(np.float64).tiny))
        both_lost = ~np.isfinite(value) & ~np.isfinite(observed)
    ratio = np.where(both_lost, 0.0, np.where(np.isnan(ratio), np.inf, ratio))
    return np.asarray(ratio.max(axis=tuple(axis for axis in range(value.ndim) if axis != value.ndim - 2), initial=0.0))
