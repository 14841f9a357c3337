"""Arrays as source text: their values where they are few, else the recipe that makes the same bits."""

from __future__ import annotations

import inspect
import math
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from conformance.protocol import Configuration
from conformance.reproduce.program import Program, specialize
from conformance.reproduce.text import written
from conformance.spec import recipe as recipes
from conformance.spec.recipe import Constant, Dyadic, IllConditioned, Integers, Normal, Ramp, Recipe, Uniform
from conformance.worker import layout

Array = np.ndarray[Any, np.dtype[Any]]

#: Up to so many values in all the arrays are written out, and up to so many any one of them.
_FEW, _TINY = 100, 8
#: Up to so many rows an array is written as it is, beyond them one number after the other.
_ROWS = 4
#: A whole number, zero left out: it may have a sign.
_WHOLE = re.compile(r"(?<![\d.e])(-?[1-9]\d*)\.(?![\de])")
_NUMBER = re.compile(r"\b(nan|inf)\b")


#: The functions that make an array from its recipe and lay it out, as a script may need them.
_SOURCES = "".join(
    inspect.getsource(module).replace("from __future__ import annotations", "") for module in (layout, recipes)
)


class Arrays:
    """Arrays named in the order they are asked for, the same bits once."""

    def __init__(self, configuration: Configuration, reserved: Iterable[str]) -> None:
        self.configuration, self.reserved = configuration, set(reserved)
        self.names: dict[tuple[str, bytes, str, tuple[int, ...]], str] = {}
        self.arrays: dict[str, tuple[Array, Recipe]] = {}
        #: How each lies in memory.
        self.memories: dict[str, str] = {}
        #: Those that a recipe makes: their bits are checked.
        self.made: dict[str, Array] = {}

    def name(self, stem: str, array: Array, recipe: Recipe) -> str:
        """Return the variable that holds an input or upstream gradient."""
        key = (stem, array.tobytes(), array.dtype.name, array.shape)
        if key not in self.names:
            number = sum(key[0] == stem for key in self.names) + 1
            self.names[key] = name = free(f"{stem}{number}", self.reserved)
            self.arrays[name] = (array, recipe)
            self.memories[name] = layout.memory_of(stem, self.configuration)
        return self.names[key]

    def _expression(self, name: str, array: Array, recipe: Recipe, few: bool) -> str:
        small = few or array.size <= _TINY or _uniform(array) or array.dtype == np.bool_
        expression = None if small else _made(recipe, array.shape, self.configuration)
        if expression is None:
            return literal(array)
        self.made[name] = array
        return f"({expression}){_cast(array.dtype)}"

    def _laid_out(self, name: str, expression: str, array: Array) -> str:
        memory, axes = self.memories[name], self.configuration.feature_axes
        plain = memory == "contiguous" or array.ndim != self.configuration.rank
        return expression if plain else f'lay_out({expression}, "{memory}", {axes})'

    def program(self, read: Collection[str]) -> Program:
        """Return the statements of the arrays that are `read`, and the functions that they call."""
        arrays = {name: entry for name, entry in self.arrays.items() if name in read}
        few = sum(array.size for array, _ in arrays.values() if not _uniform(array)) <= _FEW
        statements = [
            f"{name} = {self._laid_out(name, self._expression(name, array, recipe, few), array)}\n"
            for name, (array, recipe) in arrays.items()
        ]
        return specialize(Program(definitions=_SOURCES, main="".join(statements)), {})


def free(name: str, reserved: set[str]) -> str:
    """Return the name, or one like it that is not reserved, and reserve it."""
    while name in reserved:
        name += "_"
    reserved.add(name)
    return name


def literal(array: Array) -> str:
    """Return an expression for the very bits of the array."""
    if array.dtype.name == "bfloat16":
        return f"{literal(array.astype(np.float32))}.astype(ml_dtypes.bfloat16)"
    dtype = f'"{array.dtype.name}"'
    if _uniform(array) or not array.size:
        value = array.reshape(-1)[0].item() if array.size else 0.0
        return f"np.full({array.shape}, {_named(repr(value))}, {dtype})"
    text = np.array2string(array, separator=", ", threshold=sys.maxsize, floatmode="unique", max_line_width=sys.maxsize)
    text = _WHOLE.sub(r"\1", text)
    if array[..., 0].size <= _ROWS:
        return f"np.array({_named(text)}, {dtype})"
    numbers = ", ".join(re.findall(r"[^\s,\[\]]+", text))
    shaped = f".reshape{array.shape}" if array.ndim > 1 else ""
    return f"np.array([{_named(numbers)}], {dtype}){shaped}"


def _named(numbers: str) -> str:
    """Return the numbers with those that Python has no literal for under NumPy's names."""
    return _NUMBER.sub(r"np.\1", numbers)


def mapping(arrays: Mapping[str, Array]) -> str:
    """Return a dictionary of arrays."""
    return f"{{{', '.join(f'{written(name)}: {literal(array)}' for name, array in arrays.items())}}}"


def _uniform(array: Array) -> bool:
    flat = array.reshape(-1)
    return bool(flat.size) and flat.tobytes() == flat[:1].tobytes() * flat.size


def _cast(dtype: np.dtype[Any]) -> str:
    match dtype.name:
        case "float64":
            return ""
        case "bfloat16":
            return '.astype("float32").astype(ml_dtypes.bfloat16)'
        case name:
            return f'.astype("{name}")'


def _made(recipe: Recipe, shape: tuple[int, ...], configuration: Configuration) -> str | None:
    """Return an expression of the recipe's values in float64; None where the values themselves must be written."""
    axes = configuration.feature_axes
    match recipe:
        case Constant(value=value):
            return f"np.full({shape}, {value})"
        case Normal(seed=seed, mean=mean, std=std):
            return _per_feature(f"{mean} + {_times(std, f'_irwin_hall({seed}, {shape})')}", recipe, shape, axes)
        case Uniform(seed=seed, low=low, high=high):
            return _per_feature(f"{low} + {high - low} * _fractions({seed}, {shape})", recipe, shape, axes)
        case Integers(seed=seed, low=low, high=high):
            raw = f"_raw({seed}, {int(np.prod(shape))}) % np.uint64({high - low + 1})"
            return f"({raw}).astype(np.float64).reshape({shape}) + {low}"
        case Ramp(start=start, step=step, axis=None):
            return f"{start} + {step} * np.arange({int(np.prod(shape))}, dtype=np.float64).reshape({shape})"
        case Ramp(start=start, step=step, axis=int(axis)):
            along = tuple(size if index == axis % len(shape) else 1 for index, size in enumerate(shape))
            counted = f"np.arange({shape[axis]}, dtype=np.float64).reshape({along})"
            return f"np.broadcast_to({start} + {step} * {counted}, {shape})"
        case IllConditioned(seed=seed, ratio=ratio, std=std):
            return _times(std, f"({ratio} + _irwin_hall({seed}, {shape}))")
        case Dyadic(seed=seed, means=means):
            return f"_dyadic(SimpleNamespace(seed={seed}, means={means}), {shape}, {axes})"
        case _:
            return None


def _per_feature(values: str, recipe: Normal | Uniform, shape: tuple[int, ...], axes: tuple[int, ...]) -> str:
    """Return the values multiplied by 2^(c·octaves) and shifted by c·shift at feature c, where that is anything."""
    sizes = tuple(size if axis in axes else 1 for axis, size in enumerate(shape))
    counted = f"np.arange({math.prod(sizes)}.0).reshape({sizes})"
    if recipe.feature_octaves:
        octaves = counted.replace(".0)", ")")
        values = f"np.ldexp({values}, {_times(recipe.feature_octaves, octaves)})"
    # A sum has no negative zero, which adding zero would change.
    return f"{values} + {_times(recipe.feature_shift, counted)}" if recipe.feature_shift else values


def _times(factor: float, values: str) -> str:
    """Return the product, which is the values themselves where the factor is one."""
    return values if factor == 1 else f"{factor} * {values}"
