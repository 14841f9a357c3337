"""What an API calls the things that the spec configures, read from the native calls that the run made.

A keyword stands for a configured value where it had that value, or a fixed function of it, in every call.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from conformance.runfile.observed import Column, RecordedCell
from conformance.runfile.structs import NativeCall, RecordedConfiguration

#: A call that was made, and for what.
_Made: TypeAlias = tuple[NativeCall, RecordedConfiguration]
#: What is configured -> how a keyword may say it: the words shown, and its value.
READINGS: Mapping[str, Mapping[str, Callable[[RecordedConfiguration], Any]]] = {
    "decay": {"decay": lambda given: given.decay, "1 − decay": lambda given: 1 - given.decay},
    "epsilon": {"epsilon": lambda given: given.epsilon},
    "features": {
        "the feature axes": lambda given: given.feature_axes,
        "the reduction axes": lambda given: given.reduction_axes,
        "how many features": lambda given: given.feature_sizes,
    },
    "gamma": {
        "on or off": lambda given: given.scale,
        "on or off, with beta": lambda given: given.scale and given.center,
    },
    "beta": {
        "on or off": lambda given: given.center,
        "on or off, with gamma": lambda given: given.scale and given.center,
    },
    "dtype": {
        "the input's": lambda given: given.dtype,
        "the parameters'": lambda given: given.parameter_dtype,
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """One keyword and what its value is."""

    keyword: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What one implementation calls what is configured."""

    implementation: str
    #: The call that was made most often.
    call: str
    calls: int
    #: By the keys of `READINGS`; empty where the calls settle nothing.
    names: Mapping[str, tuple[Name, ...]]


def named(columns: Iterable[Column], cells: Iterable[RecordedCell]) -> tuple[Named, ...]:
    """Return the names of every implementation whose calls were recorded, in the order of the columns."""
    calls: dict[str, dict[tuple[str, str], _Made]] = {column.implementation: {} for column in columns}
    for cell in cells:
        if call := cell.record.call:
            calls[cell.column.implementation][cell.case.id, call.text] = (call, cell.case.configuration)
    return tuple(_named(name, made) for name, made in calls.items() if made)


def literals(call: NativeCall) -> Mapping[str, Any]:
    """Return the keywords of a call whose values are literals."""
    return dict(_literals(call.keywords))


def _literals(keywords: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    for name, source in keywords.items():
        try:
            yield name, ast.literal_eval(source)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):  # what it raises for what is none
            continue


def _named(implementation: str, calls: Mapping[tuple[str, str], _Made]) -> Named:
    made = [(literals(call), configuration) for call, configuration in calls.values()]
    return Named(
        implementation=implementation,
        call=Counter(text for _, text in calls).most_common(1)[0][0],
        calls=len(made),
        names={thing: tuple(_fitting(readings, made)) for thing, readings in READINGS.items()},
    )


def _fitting(
    readings: Mapping[str, Callable[[RecordedConfiguration], Any]],
    made: Sequence[tuple[Mapping[str, Any], RecordedConfiguration]],
) -> Iterator[Name]:
    """Yield the keywords that one reading explains in every call, if they took more than one value or form."""
    for keyword in dict.fromkeys(name for given, _ in made for name in given):
        found = [(given[keyword], configuration) for given, configuration in made if keyword in given]
        for meaning, value in readings.items():
            expected = [value(configuration) for _, configuration in found]
            varies = len({repr(each) for each in expected}) > 1
            if varies and all(_same(given, wanted) for (given, _), wanted in zip(found, expected, strict=True)):
                yield Name(keyword=keyword, meaning=meaning)
                break


def _same(given: Any, wanted: Any) -> bool:
    match given, wanted:
        case (bool(), _) | (_, bool()):
            return given is wanted
        case (float() | int(), float() | int()):
            return abs(given - wanted) <= 1e-9 * max(1.0, abs(wanted))
        case (list() | tuple(), list() | tuple()):
            return list(given) == list(wanted)
        case (int(), list() | tuple()):
            return [given] == list(wanted)
        case _:
            return bool(given == wanted)
