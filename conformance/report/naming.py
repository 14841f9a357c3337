"""What an API calls the things that the spec configures, read from the native calls that the run made.

A keyword stands for a configured value where it had that value, or a fixed function of it, in every call.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from conformance.runfile.observed import Column, RecordedCell
from conformance.runfile.structs import NativeCall, RecordedConfiguration

#: A call that was made, and for what.
_Made: TypeAlias = tuple[NativeCall, RecordedConfiguration]
#: What is configured -> how a keyword may say it: the words shown, and its value.
READINGS: Mapping[str, Mapping[str, Callable[[RecordedConfiguration], Any]]] = {
    "decay": {
        "decay": lambda configuration: configuration.decay,
        "1 − decay": lambda configuration: 1 - configuration.decay,
    },
    "epsilon": {"epsilon": lambda configuration: configuration.epsilon},
    "features": {
        "the feature axes": lambda configuration: configuration.feature_axes,
        "the reduction axes": lambda configuration: configuration.reduction_axes,
        "how many features": lambda configuration: configuration.feature_sizes,
    },
    "gamma": {
        "on or off": lambda configuration: configuration.scale,
        "on or off, with beta": lambda configuration: configuration.scale and configuration.center,
    },
    "beta": {
        "on or off": lambda configuration: configuration.center,
        "on or off, with gamma": lambda configuration: configuration.scale and configuration.center,
    },
    "dtype": {
        "the input's": lambda configuration: configuration.dtype,
        "the parameters'": lambda configuration: configuration.parameter_dtype,
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
    return tuple(_named(name, recorded) for name, recorded in calls.items() if recorded)


def literals(call: NativeCall) -> Mapping[str, Any]:
    """Return the keywords of a call whose values are literals."""
    return dict(_literals(call.keywords))


def _literals(keywords: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    for name, source in keywords.items():
        try:
            yield name, _literal(source)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):  # what it raises for what is none
            continue


@lru_cache(maxsize=4096)
def _literal(source: str) -> Any:
    """Return the value of a literal: the same few stand in most calls."""
    return ast.literal_eval(source)


def _named(implementation: str, calls: Mapping[tuple[str, str], _Made]) -> Named:
    calls_made = [(literals(call), configuration) for call, configuration in calls.values()]
    return Named(
        implementation=implementation,
        call=Counter(text for _, text in calls).most_common(1)[0][0],
        calls=len(calls_made),
        names={thing: tuple(_fitting(readings, calls_made)) for thing, readings in READINGS.items()},
    )


def _fitting(
    readings: Mapping[str, Callable[[RecordedConfiguration], Any]],
    calls_made: Sequence[tuple[Mapping[str, Any], RecordedConfiguration]],
) -> Iterator[Name]:
    """Yield the keywords that one reading explains in every call, if they took more than one value or form."""
    for keyword in dict.fromkeys(name for keywords, _ in calls_made for name in keywords):
        values = [(keywords[keyword], configuration) for keywords, configuration in calls_made if keyword in keywords]
        for meaning, value in readings.items():
            expected = [value(configuration) for _, configuration in values]
            varies = len({repr(value_expected) for value_expected in expected}) > 1
            if varies and all(
                _same(observed, value_expected) for (observed, _), value_expected in zip(values, expected, strict=True)
            ):
                yield Name(keyword=keyword, meaning=meaning)
                break


def _same(observed: Any, expected: Any) -> bool:
    match observed, expected:
        case (bool(), _) | (_, bool()):
            return observed is expected
        case (float() | int(), float() | int()):
            return abs(observed - expected) <= 1e-9 * max(1.0, abs(expected))
        case (list() | tuple(), list() | tuple()):
            return list(observed) == list(expected)
        case (int(), list() | tuple()):
            return [observed] == list(expected)
        case _:
            return bool(observed == expected)
