"""A run file being written: lines that are whole from the moment they are added, and no file that is another's.

A run killed at any moment loses at most its last line, or what it had of its head, which `--resume` then writes.
"""

from __future__ import annotations

import os
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import filelock
import msgspec

from conformance.errors import StorageError, UsageError
from conformance.files.whole import check_place
from conformance.runfile.numbers import unicode
from conformance.runfile.reading import Opening, opening_of
from conformance.runfile.run import Run
from conformance.runfile.structs import FORMAT, AnyLine, Footer, Record
from conformance.runfile.timeline_structs import RecordedTimeline
from conformance.verdict import Verdict

#: How a run file begins, and the most bytes of it that its first line has.
_HEADER = b'{"kind":"header",'
_LONGEST = 2**24
_ENCODER = msgspec.json.Encoder()


class Judges(StrEnum):
    """What a run file holds: judged cells or timings."""

    CELLS = "judged cells"
    TIMINGS = "timings"


class RunWriter:
    """A run file being written, as a context. Raises `UsageError` where the file is another's."""

    def __init__(
        self, path: Path, kind: Judges = Judges.CELLS, *, narrowed: bool = False, resumed: Run | None = None
    ) -> None:
        self.path = path
        self.counts: Counter[Verdict] = Counter()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = filelock.FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
            self._lock.acquire()
        except filelock.Timeout as error:
            raise UsageError(f"{path}: another run is writing it") from error
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from error
        try:
            self._file = self._opened(kind, narrowed, resumed)
        except BaseException:
            self._unlock()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._file)
        self._unlock()

    def add(self, *lines: AnyLine) -> None:
        """Append lines, whole or not at all. Raises `StorageError`."""
        whole = b"".join(encoded(line) + b"\n" for line in lines)
        if os.fstat(self._file).st_size != self._size:
            raise StorageError(f"{self.path}: something else wrote to it while the run did")
        written = 0
        try:
            while written < len(whole):
                written += os.write(self._file, whole[written:])
        except OSError as error:
            os.ftruncate(self._file, self._size)
            why = error.strerror or error
            raise StorageError(f"{self.path}: cannot be written: {why}; --resume goes on from what is there") from error
        self._size += len(whole)
        self.counts.update(line.verdict for line in lines if isinstance(line, Record))

    @property
    def recorded(self) -> int:
        """The number of cells recorded so far, those of a resumed run included."""
        return self.counts.total()

    def close_run(
        self,
        *,
        ended: bool,
        finished: str = "",
        timed: int | None = None,
        timeline: RecordedTimeline | None = None,
    ) -> None:
        """Append the footer. Raises `StorageError`, also where the file is no longer at its place."""
        verdicts = {verdict.value: self.counts[verdict] for verdict in Verdict if self.counts[verdict]}
        self.add(
            Footer(
                recorded=self.recorded,
                ended=ended,
                verdicts=verdicts,
                timed=timed,
                finished=finished,
                timeline=timeline,
            )
        )
        try:
            stays = os.path.samestat(self.path.stat(), os.fstat(self._file))
        except OSError:
            stays = False
        if not stays:
            raise StorageError(f"{self.path}: was removed or replaced while the run wrote it")

    def _unlock(self) -> None:
        """Give the lock back; its file goes first where an open one may, and whoever holds it by then takes a new one."""
        if os.name == "posix":
            Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()

    def _opened(self, kind: Judges, narrowed: bool, resumed: Run | None) -> int:
        """Return the descriptor of the file, cut to what stays of it."""
        self._size = 0
        if resumed is None:
            check_replaceable(self.path, kind, narrowed=narrowed)
            kept = 0
        else:
            kept = _finished_size(self.path)
            self.counts.update(record.verdict for record in resumed.records)
        try:
            # O_BINARY is there on Windows alone, where a text file would get other line ends.
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644)
            os.ftruncate(file, kept)
            self._size = kept
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        return file


def encoded(line: msgspec.Struct) -> bytes:
    """Return a line, or what holds some, as JSON."""
    try:
        return _ENCODER.encode(line)
    except UnicodeEncodeError:
        # A lone surrogate, which a framework's message may hold: few lines have any.
        return _ENCODER.encode(_unicode(msgspec.to_builtins(line)))


def check_replaceable(path: Path, kind: Judges, *, narrowed: bool) -> None:
    """Raise `UsageError` unless a new run of that kind may replace what is at `path`.

    It may where there is nothing, or an earlier run of that kind; and a narrowed run replaces no full one.
    """
    check_place(path)
    if not path.exists() or is_unbegun(path):
        return
    opening = opening_of(path)
    if opening is None:
        raise UsageError(f"{path}: is no run file, and stays as it is: name another --out")
    there = _kind(opening)
    if there is not kind:
        raise UsageError(f"{path}: holds a run of {there}, which one of {kind} does not overwrite: name another --out")
    if kind is Judges.CELLS and narrowed and not opening.narrowed:
        raise UsageError(f"{path}: holds a full run, which a narrowed one does not overwrite: name another --out")


def is_unbegun(path: Path) -> bool:
    """Return whether a run was killed before the first line of the file at `path` was whole. Raises `UsageError`."""
    try:
        with path.open("rb") as file:
            beginning = file.read(len(_HEADER))
            return _HEADER.startswith(beginning) and b"\n" not in file.readline(_LONGEST)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error


def check_resumable(run: Run) -> None:
    """Raise `UsageError` where a run cannot be completed in the file that it is in."""
    if run.times:
        raise UsageError(f"{run.path}: holds a run of {Judges.TIMINGS}, which cannot be resumed")
    if run.header.format != FORMAT:
        raise UsageError(f"{run.path}: is of format {run.header.format}; --resume completes format {FORMAT} alone")


def _kind(opening: Opening) -> Judges:
    return Judges.CELLS if opening.throughput is None else Judges.TIMINGS


def _finished_size(path: Path) -> int:
    """Return where the last whole line ends, or the footer of a run that was interrupted begins."""
    raw = path.read_bytes()
    end = raw.rfind(b"\n") + 1
    last = raw.rfind(b"\n", 0, max(0, end - 1)) + 1
    return last if raw[last:end].startswith(b'{"kind":"footer"') else end


def _unicode(value: Any) -> Any:
    match value:
        case str():
            return unicode(value)
        case dict():
            return {_unicode(key): _unicode(item) for key, item in value.items()}
        case list() | tuple():
            return [_unicode(item) for item in value]
        case _:
            return value
