"""What an adapter's functions give, held against what they must: arrays of numbers, by names that the case knows.

What is something else is the adapter's own mistake, told in one line, and costs the step that gave it.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from conformance.worker.adapter_file import PACKAGE
from conformance.worker.wire import FRAME_BYTES

#: Kinds of NumPy's own dtypes that are numbers; those of `ml_dtypes` are told by their module.
_NUMBERS = "biufc"
#: Bytes that an answer's own text is left.
_TEXT = 2**20


_Fit = TypeVar("_Fit")


class UnfitError(TypeError):
    """An adapter gave what it must not; its text says what, and what was expected.

    `place` is the function that gave it: file, line and name.
    """

    def __init__(self, text: str, place: str = "") -> None:
        super().__init__(text)
        self.place = place


def place_of(function: Any) -> str:
    """Return where a function of an adapter stands: file, line and name; empty where that is not known."""
    while isinstance(function, functools.partial):
        function = function.func
    code, module = getattr(function, "__code__", None), getattr(function, "__module__", None)
    if code is None or not isinstance(module, str):
        return ""
    file = module.removeprefix(f"{PACKAGE}.").replace(".", "/")
    return f"{file}.py, line {code.co_firstlineno}, in {code.co_name}"


def fit(check: Callable[..., _Fit], given: object, function: Any, *further: Any) -> _Fit:
    """Return what the check makes of what a function gave. Raises `UnfitError` with the function's place."""
    try:
        return check(given, *further)
    except UnfitError as error:
        error.place = place_of(function)
        raise


def check_size(*given: Mapping[str, Any]) -> None:
    """Raise `UnfitError` where the arrays are more than one answer takes."""
    size = sum(array.nbytes for arrays in given for array in arrays.values())
    if size > FRAME_BYTES - _TEXT:
        raise UnfitError(f"gave {size / 2**20:,.0f} MiB, over the limit of {FRAME_BYTES / 2**20:,.0f} MiB")


def quantities_of(given: object, known: Iterable[str]) -> dict[str, Any]:
    """Return the quantities that a step gave, as arrays of numbers. Raises `UnfitError`.

    A number, or what makes itself an array, is one: frameworks give such. A step may give nothing.
    """
    if given is None:
        return {}
    named = _named(given, "a step", known)
    return {name: _numbers(np.asarray(value), value, name) for name, value in named.items()}


def state_of(given: object, known: Iterable[str]) -> dict[str, Any]:
    """Return the state that an implementation reports, which is arrays already. Raises `UnfitError`."""
    state = _named(given, "`state`", known)
    for name, value in state.items():
        if not isinstance(value, np.ndarray | np.generic):
            raise UnfitError(f"{name}: `state` gave {kind_of(value)}, expected a NumPy array")
    return {name: _numbers(np.asarray(value), value, name) for name, value in state.items()}


def count_of(given: object) -> int:
    """Return the number of graphs compiled. Raises `UnfitError`."""
    if isinstance(given, bool) or not isinstance(given, int | np.integer) or given < 0:
        raise UnfitError(f"`compilations` gave {kind_of(given)}, expected a number of graphs")
    return int(given)


def reason_of(given: object, name: str) -> str | None:
    """Return why a case is unsupported, or None. Raises `UnfitError`."""
    if given is None or (isinstance(given, str) and given.strip()):
        return given
    raise UnfitError(f"{name}: `supports` gave {kind_of(given)}, expected None or a reason")


def _named(given: object, who: str, known: Iterable[str]) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise UnfitError(f"{who} gave {kind_of(given)}, expected a mapping of names to arrays")
    names = list(known)
    for name in given:
        if not isinstance(name, str) or name not in names:
            near = difflib.get_close_matches(name, names, 1) if isinstance(name, str) else []
            meant = f"; did you mean {near[0]}?" if near else f": expected some of {', '.join(names)}"
            raise UnfitError(f"{who} gave {_short(name)}, which this operation does not have{meant}")
    return dict(given)


def _numbers(array: np.ndarray[Any, Any], value: object, name: str) -> np.ndarray[Any, Any]:
    if array.dtype.kind in _NUMBERS or array.dtype.type.__module__ == "ml_dtypes":
        return array
    raise UnfitError(f"{name}: gave {kind_of(value)}, expected an array of numbers")


def kind_of(value: object) -> str:
    """Return what a value is, in a word or two: never the value, whose text may raise or have no end."""
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return f"an array of {str(value.dtype)[:40]}"
    if isinstance(value, str):
        return f"the text {_short(value)}" if value else "an empty text"
    return str(type(value).__name__)[:60]


def _short(value: object) -> str:
    """Return a name as text, or what it is where it is none."""
    if not isinstance(value, str):
        return f"a name that is {kind_of(value)}"
    return repr(value if len(value) <= 40 else f"{value[:37]}...")
