"""What can go wrong, one class per failure, by whose fault it is.

`SpecError`: a person's spec file. `UsageError`: a person's command line or run file. `WorkerError`: an
adapter that could not be started or asked. `StorageError`: a disk. `SuiteError`: the suite itself. What a framework does wrong is
never one of these: it is an outcome.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

#: Errors of one kind that a person is shown at once.
SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A position in a file a person wrote; lines and columns count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class ConformanceError(Exception):
    """Any failure the command line turns into one line."""


@dataclass(eq=False)
class SpecError(ConformanceError):
    """A spec file says something that cannot be meant."""

    place: Place
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.key}: {self.message}" if self.key else f"{self.place}: {self.message}"


@dataclass(eq=False)
class SpecErrors(ConformanceError):  # noqa: N818 - several errors at once
    """Every error found in the spec files, in the order of their places; as text, the first of them."""

    errors: tuple[SpecError, ...]

    def __str__(self) -> str:
        lines = [str(error) for error in self.errors[:SHOWN]]
        rest = len(self.errors) - len(lines)
        return "\n".join([*lines, *([f"and {rest:,} more like these"] if rest else [])])


@dataclass(eq=False)
class UsageError(ConformanceError):
    """A command line, or a file it names, that cannot be used."""

    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(eq=False)
class WorkerError(ConformanceError):
    """A worker that did not start, or did not answer what it offers."""

    worker: str
    message: str
    #: The package whose absence was the reason, if that was the reason.
    missing: str | None = None

    def __str__(self) -> str:
        return f"{self.worker}: {self.message}"


@dataclass(eq=False)
class StorageError(ConformanceError):
    """What was to be kept could not be written: a full disk, a folder that is gone. What stands there may be resumed."""

    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(eq=False)
class SuiteError(ConformanceError):
    """The suite contradicted itself: a fault of ours, never a verdict."""

    message: str

    def __str__(self) -> str:
        return self.message


def nearest(text: str, words: Iterable[str], cutoff: float = 0.5) -> str:
    """Return `; did you mean WORD?` for the word most like the text, whatever its capitals; empty where none is.

    `cutoff` is how alike two words must be, from 0 to 1, for one to be taken for a slip of the other.
    """
    by_lower = {word.lower(): word for word in words}
    near = difflib.get_close_matches(text.lower(), by_lower, 1, cutoff)
    return f"; did you mean {by_lower[near[0]]}?" if near else ""
