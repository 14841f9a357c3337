"""The run file: JSON Lines, all that a report or a comparison is ever made from.

    {"kind": "header", ...}        what was run: spec, selection, clauses, the number of cells planned
    {"kind": "environment", ...}   one per worker: versions, settings, host; or why it did not start
    {"kind": "case", ...}          one per case, with its formulas, so that a report needs no spec
    {"kind": "record", ...}        one per cell, as it ends
    {"kind": "throughput", ...}    one per pass that was timed, in a run of throughput, which has no record
    {"kind": "footer", ...}        how many were recorded; without it the run did not end

Each line is written at once, so that a run killed at any moment loses at most its last. Numbers that JSON
does not have are the texts "NaN", "Infinity" and "-Infinity".
"""

from __future__ import annotations

import fcntl
import json
import lzma
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from conformance.errors import UsageError
from conformance.verdict import Verdict

FORMAT = 1
_XZ = b"\xfd7zXZ\x00"
#: Kind of line -> the key by which the others refer to it, or by which a run is known to be whole.
_NAMES = {"header": "planned", "environment": "id", "case": "id", "record": "cell", "throughput": "timed"}

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run file as read."""

    path: Path
    header: Line
    environments: tuple[Line, ...] = ()
    cases: Mapping[str, Line] = field(default_factory=dict)
    records: tuple[Line, ...] = ()
    throughput: tuple[Line, ...] = ()
    footer: Line | None = None

    @property
    def complete(self) -> bool:
        """Whether every planned cell and every planned timing was recorded and the run ended."""
        timed = self.header.get("throughput", {}).get("planned", 0) == len(self.throughput)
        return self.footer is not None and self.header["planned"] == len(self.records) and timed

    @property
    def progress(self) -> str:
        """How much of what was planned it holds, in words."""
        if self.times:
            return f"{len(self.throughput)} of {self.header['throughput']['planned']} planned timings"
        return f"{len(self.records)} of {self.header['planned']} planned cells"

    @property
    def times(self) -> bool:
        """Whether it is a run of throughput, which judges no cell."""
        return "throughput" in self.header


class RunWriter:
    """A run file being written: a context, whose lines are whole from the moment they are added."""

    def __init__(self, path: Path, *, resumed: Run | None = None) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.counts: Counter[str] = Counter()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._file)
            raise UsageError(f"{path}: another run is writing it") from error
        if resumed is None:
            os.ftruncate(self._file, 0)
        else:
            os.ftruncate(self._file, _finished_size(path))
            self.counts.update(record["verdict"] for record in resumed.records)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._file)

    def add(self, kind: str, line: Line) -> None:
        """Append one line."""
        if kind == "record":
            self.counts[line["verdict"]] += 1
        os.write(self._file, dumped({"kind": kind, **line}).encode(errors="backslashreplace") + b"\n")

    @property
    def recorded(self) -> int:
        """The number of cells recorded so far, those of a resumed run included."""
        return self.counts.total()

    def close_run(self, line: Line) -> None:
        """Append the footer."""
        verdicts = {verdict.value: self.counts[verdict.value] for verdict in Verdict if self.counts[verdict.value]}
        self.add("footer", {"recorded": self.recorded, "verdicts": verdicts, **line})


def dumped(line: Line) -> str:
    """Return the line as JSON text."""
    try:
        return _text(line)
    except (TypeError, ValueError):
        # Some number is not finite, or some mapping no dictionary: few lines have any.
        return _text(_finite(line))


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain, allow_nan=False)


def number(value: float | None) -> float | str | None:
    """Return a float as JSON has it: non-finite ones as text."""
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def number_from(value: float | str | None) -> float | None:
    """Return the inverse of `number`."""
    return None if value is None else float(value)


def read(path: Path) -> Run:
    """Return the run file at `path`; an unfinished last line counts as not written. Raises `UsageError`."""
    raw = _content(path)
    lines = [_parse(line, path, index) for index, line in enumerate(raw.splitlines(keepends=True), 1) if _whole(line)]
    if not lines or lines[0].get("kind") != "header":
        raise UsageError(f"{path}:1: not a run file: its first line is no header")
    if lines[0].get("format") != FORMAT:
        raise UsageError(f"{path}:1: format {lines[0].get('format')}, expected {FORMAT}")
    kinds: dict[str, list[Line]] = {}
    for line in lines:
        kinds.setdefault(line["kind"], []).append(line)
    for kind, name in _NAMES.items():
        if any(name not in line for line in kinds.get(kind, [])):
            raise UsageError(f"{path}: not a run file: a {kind} has no {name}")
    records = tuple(kinds.get("record", []))
    twice = [cell for cell, count in Counter(record["cell"] for record in records).items() if count > 1]
    if twice:
        raise UsageError(f"{path}: the cell {twice[0]} is recorded twice")
    footers = kinds.get("footer", [])
    return Run(
        path=path,
        header=lines[0],
        environments=tuple(kinds.get("environment", [])),
        cases={case["id"]: case for case in kinds.get("case", [])},
        records=records,
        throughput=tuple(kinds.get("throughput", [])),
        footer=footers[-1] if footers else None,
    )


def _content(path: Path) -> bytes:
    """Return the lines of a run file, which may be compressed by xz, as published ones are. Raises `UsageError`."""
    try:
        raw = path.read_bytes()
        return lzma.decompress(raw) if raw.startswith(_XZ) else raw
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except lzma.LZMAError as error:
        raise UsageError(f"{path}: not whole: {error}") from error


def read_all(paths: Iterable[Path]) -> list[Run]:
    """Return the run files at `paths`, each a file or a folder of them. Raises `UsageError`."""
    files: list[Path] = []
    for path in paths:
        found = sorted([*path.glob("*.jsonl"), *path.glob("*.jsonl.xz")]) if path.is_dir() else [path]
        if not found:
            raise UsageError(f"{path}: holds no run file (*.jsonl, *.jsonl.xz)")
        files.extend(found)
    return [read(file) for file in files]


def _whole(line: bytes) -> bool:
    return line.endswith(b"\n") and bool(line.strip())


def _parse(line: bytes, path: Path, index: int) -> Line:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{path}:{index}: not JSON: {error}") from error
    if not isinstance(value, dict) or "kind" not in value:
        raise UsageError(f"{path}:{index}: expected an object with a kind")
    return value


def _finished_size(path: Path) -> int:
    """Return where the last whole line ends, or the footer of a run that was interrupted begins."""
    raw = path.read_bytes()
    end = raw.rfind(b"\n") + 1
    last = raw.rfind(b"\n", 0, max(0, end - 1)) + 1
    return last if raw[last:end].startswith(b'{"kind":"footer"') else end


def _finite(value: object) -> object:
    """Return the value with text for the numbers JSON does not have, wherever they stand."""
    match value:
        case float():
            return number(value)
        case Mapping():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case _:
            return value


def _plain(value: object) -> object:
    raise TypeError(f"a record holds {value!r}, which JSON cannot")
