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
    calls = {column.implementation: _Calls() for column in columns}
    facts_by_case: dict[str, _Facts] = {}
    for cell in cells:
        if cell.call is not None:
            facts = facts_by_case.get(cell.case.id)
            if facts is None:
                facts = facts_by_case[cell.case.id] = _facts(len(facts_by_case), cell.case.configuration)
            calls[cell.column.implementation].add(cell.call, facts)
    return tuple(_named(name, recorded) for name, recorded in calls.items() if recorded.texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What a case configures, read in every way."""

    case: int
    #: By thing and meaning.
    values: Mapping[tuple[str, str], Any]
    #: Equal where everything is.
    written: str


def _facts(case: int, configuration: RecordedConfiguration) -> _Facts:
    values = {
        (thing, meaning): value(configuration)
        for thing, readings in READINGS.items()
        for meaning, value in readings.items()
    }
    return _Facts(case=case, values=values, written=repr(values))


#: The literal keywords of a call, and what they were given for.
_Made: TypeAlias = tuple[Mapping[str, Any], _Facts]
#: What a keyword was given, and for what.
_Given: TypeAlias = tuple[Any, _Facts]


class _Calls:
    """The calls of one implementation: most are made for hundreds of cases, and one of a kind tells as much as all."""

    def __init__(self) -> None:
        #: Text -> for how many cases it was made.
        self.texts: Counter[str] = Counter()
        self.made: dict[tuple[str, str], _Made] = {}
        self._numbers: dict[str, int] = {}
        self._seen: set[int] = set()

    def add(self, call: NativeCall, facts: _Facts) -> None:
        """Add a call that was made for a case; that of another mode is the same."""
        text = call.text
        number = self._numbers.setdefault(text, len(self._numbers))
        pair = facts.case << 32 | number
        if pair not in self._seen:
            self._seen.add(pair)
            self.texts[text] += 1
            if (text, facts.written) not in self.made:
                self.made[text, facts.written] = (literals(call), facts)


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


def _named(implementation: str, calls: _Calls) -> Named:
    given: dict[str, list[_Given]] = {}
    for keywords, facts in calls.made.values():
        for keyword, value in keywords.items():
            given.setdefault(keyword, []).append((value, facts))
    return Named(
        implementation=implementation,
        call=calls.texts.most_common(1)[0][0],
        calls=calls.texts.total(),
        names={thing: tuple(_fitting(thing, given)) for thing in READINGS},
    )


def _fitting(thing: str, given: Mapping[str, Sequence[_Given]]) -> Iterator[Name]:
    """Yield the keywords that one reading explains in every call, if they took more than one value or form."""
    for keyword, values in given.items():
        for meaning in READINGS[thing]:
            reading = thing, meaning
            if all(_same(value, facts.values[reading]) for value, facts in values) and _varies(reading, values):
                yield Name(keyword=keyword, meaning=meaning)
                break


def _varies(reading: tuple[str, str], values: Iterable[_Given]) -> bool:
    return len({repr(facts.values[reading]) for _, facts in values}) > 1


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
