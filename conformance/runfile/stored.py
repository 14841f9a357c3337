"""The records of a run file that is too large to be held: where each stands, decoded whenever one is asked for."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TypeAlias, overload

from conformance.errors import UsageError
from conformance.runfile.structs import Record

#: A line, and its number for whoever must be told what is wrong with it.
DecodeRecord: TypeAlias = Callable[[bytes, int], Record]


class OpenedFile:
    """Where a run file is read from: its place, and what it was when it was read first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inode, self._size = self._stated()

    def __call__(self) -> BinaryIO:
        """Return the file, opened. Raises `UsageError` where it is another, or shorter: a run that goes on adds to it."""
        inode, size = self._stated()
        if inode != self._inode or size < self._size:
            raise UsageError(f"{self.path}: changed while it was read")
        try:
            return self.path.open("rb")
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be read: {error.strerror or error}") from error

    def _stated(self) -> tuple[int, int]:
        try:
            state = self.path.stat()
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        return state.st_ino, state.st_size


class Unfolded:
    """What a compressed run file holds, in memory."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def __call__(self) -> BinaryIO:
        """Return it as a file."""
        return BytesIO(self._raw)


#: Opens what holds the lines, anew at each call.
Opens: TypeAlias = Callable[[], AbstractContextManager[BinaryIO]]


class StoredRecords(Sequence[Record]):
    """Records by their places in a run file."""

    def __init__(self, opens: Opens, decode: DecodeRecord) -> None:
        self._opens = opens
        self._decode = decode
        self._starts, self._sizes, self._numbers = array("Q"), array("Q"), array("Q")

    def note(self, start: int, size: int, number: int) -> None:
        """Add the record that begins there and is so many bytes long, on that line."""
        for places, value in ((self._starts, start), (self._sizes, size), (self._numbers, number)):
            places.append(value)

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, position: int) -> Record: ...
    @overload
    def __getitem__(self, position: slice) -> tuple[Record, ...]: ...
    def __getitem__(self, position: int | slice) -> Record | tuple[Record, ...]:
        """Return the record at a position, or those at several."""
        if isinstance(position, slice):
            return tuple(self.at(range(len(self))[position]))
        return next(self.at((range(len(self))[position],)))

    def __iter__(self) -> Iterator[Record]:
        return self.at(range(len(self)))

    def at(self, positions: Sequence[int]) -> Iterator[Record]:
        """Yield the records at those positions. Raises `UsageError` where the file has changed since."""
        with self._opens() as file:
            for position in positions:
                file.seek(self._starts[position])
                yield self._decode(file.read(self._sizes[position]), self._numbers[position])
