"""What happened, per step: a closed union of values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Produced:
    """The step ran and gave numbers; `state` is what the implementation reports afterwards."""

    quantities: Mapping[str, Array]
    state: Mapping[str, Array]
    seconds: float
    #: Graphs compiled so far, where the implementation can tell.
    compilations: int | None = None
    #: Names of the caller's arrays that the step wrote to.
    overwritten: tuple[str, ...] = ()
    #: At the start: the native call, as path, keywords (as source text) and function.
    call: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Refused:
    """The step raised an exception; `types` are the names of its class and of that class's bases."""

    types: tuple[str, ...]
    message: str
    trace: str
    state: Mapping[str, Array] | None
    seconds: float
    #: Where the adapter itself went wrong: file, line and function; empty where the library raised the exception.
    mistake: str = ""
    #: At the start: the native call, where it was known before the exception.
    call: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsupported:
    """The implementation cannot express the case; nothing ran."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashed:
    """The process ended during the step."""

    how: str
    #: Whether the cell crashed again, alone in a fresh process.
    recurs: bool
    #: Where it did not: the cells that ran before it in the first process.
    before: tuple[str, ...]
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut:
    """The step had not ended at the cell's deadline."""

    limit: float
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """The whole cell was performed a second time from a fresh start, after the last step."""

    #: Where the bits differ; empty where they nowhere do.
    difference: str


Outcome: TypeAlias = Produced | Refused | Unsupported | Crashed | TimedOut | Repeated
