"""Recipes for arrays, and the arrays they make: the same bits on every platform and NumPy version.

Random recipes take the raw 64-bit integers of the Philox generator, whose stream NumPy guarantees
(NEP 19; Salmon et al. 2011), and use integer arithmetic, exact scaling by powers of two, and single IEEE
operations in float64. No `Generator` method and no function of libm is called: those may change.
"""

from __future__ import annotations

import csv
import functools
import math
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from conformance.precision import rounded
from conformance.spec.locations import spec_folder

Array = np.ndarray[Any, np.dtype[Any]]
Float64 = np.ndarray[Any, np.dtype[np.float64]]
DtypeName = Literal["float64", "float32", "float16", "bfloat16"]
_Seed = Annotated[int, Field(ge=0, lt=2**63, description="Key of the random stream.")]


_Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Recipe(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LiteralRecipe(_Recipe):
    """The values themselves, nested like the array."""

    kind: Literal["literal"]
    values: Any = Field(description="Nested lists of numbers, of the array's shape.")
    dtype: DtypeName | None = Field(None, description="The dtype in which the source held them: rounded to it first.")


class Constant(_Recipe):
    """One value everywhere."""

    kind: Literal["constant"]
    value: float


class Normal(_Recipe):
    """mean + std·z, z a sum of twelve 16-bit integers, centred, over 2^16: variance 1, |z| <= 6."""

    kind: Literal["normal"]
    seed: _Seed
    mean: _Finite = 0.0
    std: _Finite = 1.0
    feature_shift: _Finite = Field(0.0, description="Added c times to feature c.")
    feature_octaves: int = Field(
        0, ge=-2000, le=2000, description="Feature c is multiplied by 2^(c·feature_octaves) first."
    )


class Uniform(_Recipe):
    """low + (high - low)·k/2^24, k a 24-bit integer."""

    kind: Literal["uniform"]
    seed: _Seed
    low: _Finite = 0.0
    high: _Finite = 1.0
    feature_shift: _Finite = Field(0.0, description="Added c times to feature c.")
    feature_octaves: int = Field(
        0, ge=-2000, le=2000, description="Feature c is multiplied by 2^(c·feature_octaves) first."
    )


class Integers(_Recipe):
    """Integers in [low, high]."""

    kind: Literal["integers"]
    seed: _Seed
    low: int = Field(ge=-(2**53), le=2**53)
    high: int = Field(ge=-(2**53), le=2**53)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high < self.low:
            raise ValueError("high lies below low")
        return self


class Ramp(_Recipe):
    """start + step·i, i the position in row-major order, or along one axis."""

    kind: Literal["ramp"]
    start: _Finite = 0.0
    step: _Finite = 1.0
    axis: int | None = Field(None, description="The axis along which i counts; omitted: all, in row-major order.")


class Dyadic(_Recipe):
    """Data whose every batch statistic is exact in any order of summation.

    Per feature the deviations are {3, -3, five times (2, -2), 1, -1, 0, 0}, tiled and shuffled, about a mean
    of `means` (cycled): mean exact, variance 3.75, so that epsilon 0.25 makes the inverse root 1/2. Values
    per feature: a multiple of 16.
    """

    kind: Literal["dyadic"]
    seed: _Seed
    means: tuple[_Finite, ...] = Field((3.0, -5.0, 0.0, 64.0), strict=False, min_length=1)


class IllConditioned(_Recipe):
    """std·(ratio + z), z as in `normal`: |mean|/std is `ratio`, where one-pass variances lose everything."""

    kind: Literal["ill_conditioned"]
    seed: _Seed
    ratio: _Finite
    std: _Finite = 1.0


class Iris(_Recipe):
    """Fisher's Iris measurements in centimetres, shape (150, 4)."""

    kind: Literal["iris"]


class MeanSquaredError(_Recipe):
    """2(y - t)/n: the gradient of the mean squared error of the output y against a target t.

    y is the canonical reference's output of the very step, so that the upstream gradient is given data.
    """

    kind: Literal["mean_squared_error"]
    target: Annotated[Normal | Uniform | Constant | Ramp, Field(discriminator="kind")]


Recipe = Annotated[
    LiteralRecipe | Constant | Normal | Uniform | Integers | Ramp | Dyadic | IllConditioned | Iris | MeanSquaredError,
    Field(discriminator="kind"),
]

#: How many values are made at a time.
_BLOCK = 2**20
_DYADIC_DEVIATIONS = np.array([3, -3, *(2, -2) * 5, 1, -1, 0, 0], dtype=np.int64)


class RecipeError(ValueError):
    """The recipe cannot make an array of that shape."""


def misfit(recipe: Recipe, shape: tuple[int, ...], feature_axes: tuple[int, ...]) -> str | None:
    """Return why the recipe makes no array of that shape; None where it does. Nothing of the array's size is made."""
    match recipe:
        case LiteralRecipe(values=values):
            return _literal_misfit(values, shape)
        case Ramp(axis=int(axis)) if not -len(shape) <= axis < len(shape):
            return f"ramp counts along axis {axis}, but the rank is {len(shape)}"
        case Dyadic():
            count = math.prod(shape) // max(1, math.prod(shape[axis] for axis in feature_axes))
            complaint = f"dyadic needs a multiple of 16 values per feature, here {count}"
            return complaint if count % 16 or not count else None
        case Iris() if shape != (150, 4):
            return f"iris has shape (150, 4), expected {shape}"
        case MeanSquaredError(target=target):
            return misfit(target, shape, feature_axes)
        case _:
            return None


def _literal_misfit(values: Any, shape: tuple[int, ...]) -> str | None:
    flat: list[Any] = [values]
    nested: tuple[int, ...] = ()
    while flat and all(isinstance(value, list) for value in flat) and len({len(value) for value in flat}) == 1:
        nested = (*nested, len(flat[0]))
        flat = [item for value in flat for item in value]
    wrong = [value for value in flat if isinstance(value, bool) or not isinstance(value, int | float)]
    if wrong:
        return f"literal values must be numbers, nested evenly, got {_short(wrong[0])}"
    # Of no values, [] is enough.
    if nested != shape and not (nested == (0,) and 0 in shape):
        return f"literal values have shape {nested}, expected {shape}"
    return None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def realize(
    recipe: Recipe,
    shape: tuple[int, ...],
    feature_axes: tuple[int, ...],
    dtype: str,
    output: np.ndarray[Any, Any] | None = None,
) -> np.ndarray[Any, Any]:
    """Return the recipe's array, shape `shape`, rounded once to `dtype`.

    `output` is the reference's output, for `mean_squared_error`. Raises `RecipeError`.
    """
    complaint = misfit(recipe, shape, feature_axes)
    if complaint is not None:
        raise RecipeError(complaint)
    return rounded(_values(recipe, shape, feature_axes, dtype, output), dtype)


def _values(
    recipe: Recipe, shape: tuple[int, ...], feature_axes: tuple[int, ...], dtype: str, output: Array | None
) -> Float64:
    match recipe:
        case LiteralRecipe():
            return _literal(recipe, shape)
        case Constant(value=value):
            return np.full(shape, value)
        case Normal(mean=mean, std=std):
            return _per_feature(mean + std * _irwin_hall(recipe.seed, shape), recipe, feature_axes)
        case Uniform(low=low, high=high):
            return _per_feature(low + (high - low) * _fractions(recipe.seed, shape), recipe, feature_axes)
        case Integers(low=low, high=high):
            raw = _raw(recipe.seed, math.prod(shape)) % np.uint64(high - low + 1)
            return raw.astype(np.float64).reshape(shape) + low
        case Ramp(start=start, step=step, axis=axis):
            return np.asarray(start + step * _positions(shape, axis))
        case Dyadic():
            return _dyadic(recipe, shape, feature_axes)
        case IllConditioned(ratio=ratio, std=std):
            return np.asarray(std * (ratio + _irwin_hall(recipe.seed, shape)))
        case Iris():
            return _iris_table().copy()
        case MeanSquaredError(target=target):
            if output is None:
                raise RecipeError("mean_squared_error needs a train step with an output")
            difference = np.asarray(output, np.longdouble) - realize(target, shape, feature_axes, dtype)
            return np.asarray(2 * difference / max(1, difference.size), np.float64)


def _raw(seed: int, count: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    return np.random.Philox(key=seed).random_raw(count)


def _irwin_hall(seed: int, shape: tuple[int, ...]) -> Float64:
    count = math.prod(shape)
    words = np.random.Philox(key=seed)
    total = np.full(count, -6 * 0xFFFF, dtype=np.int64)
    # One after another: the words of a large array are three times its size, and their parts twelve times.
    for start in [*range(0, count, _BLOCK)] * 3:
        part = total[start : start + _BLOCK]
        raw = words.random_raw(part.size)
        for shift in (0, 16, 32, 48):
            part += ((raw >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.int64)
    return (total.astype(np.float64) * 2.0**-16).reshape(shape)


def _fractions(seed: int, shape: tuple[int, ...]) -> Float64:
    return ((_raw(seed, math.prod(shape)) >> np.uint64(40)).astype(np.float64) * 2.0**-24).reshape(shape)


def _per_feature(values: Float64, recipe: Normal | Uniform, feature_axes: tuple[int, ...]) -> Float64:
    if not recipe.feature_shift and not recipe.feature_octaves:
        return values
    sizes = [size if axis in feature_axes else 1 for axis, size in enumerate(values.shape)]
    index = np.arange(math.prod(sizes), dtype=np.float64).reshape(sizes)
    return np.ldexp(values, (index * recipe.feature_octaves).astype(np.int32)) + recipe.feature_shift * index


def _positions(shape: tuple[int, ...], axis: int | None) -> Float64:
    if axis is None:
        return np.arange(math.prod(shape), dtype=np.float64).reshape(shape)
    along = [size if index == axis % len(shape) else 1 for index, size in enumerate(shape)]
    return np.broadcast_to(np.arange(math.prod(along), dtype=np.float64).reshape(along), shape).copy()


def _dyadic(recipe: Dyadic, shape: tuple[int, ...], feature_axes: tuple[int, ...]) -> Float64:
    features = math.prod(shape[axis] for axis in feature_axes)
    count = math.prod(shape) // max(1, features)
    order = _raw(recipe.seed, count * features).reshape(count, features).argsort(axis=0, kind="stable")
    deviations = np.tile(_DYADIC_DEVIATIONS, count // 16)[order].astype(np.float64)
    means = np.resize(np.array(recipe.means), features)
    kept = [shape[axis] for axis in range(len(shape)) if axis not in feature_axes]
    last = tuple(range(-len(feature_axes), 0))
    spread = (deviations + means).reshape(*kept, *(shape[axis] for axis in feature_axes))
    return np.ascontiguousarray(np.moveaxis(spread, last, feature_axes))


def _literal(recipe: LiteralRecipe, shape: tuple[int, ...]) -> Float64:
    values = np.array(recipe.values, dtype=np.float64).reshape(shape)
    return values if recipe.dtype is None else rounded(values, recipe.dtype).astype(np.float64)


@functools.cache
def _iris_table() -> Float64:
    with (spec_folder() / "data" / "iris.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return np.array([[float(value) for value in row[:4]] for row in rows])
