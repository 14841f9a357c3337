"""A run file from its bytes: the one place where what a person hands over is checked and becomes typed lines.

    {"kind": "header", ...}        what was run
    {"kind": "environment", ...}   one per worker
    {"kind": "case", ...}          one per case
    {"kind": "record", ...}        one per cell, as it ended
    {"kind": "throughput", ...}    one per pass that was timed
    {"kind": "footer", ...}        without it the run did not end

An unfinished last line counts as not written. Format 1 is read too, and is the same typed lines behind this border.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias, TypeVar

import msgspec

from conformance.errors import UsageError
from conformance.runfile import format_1
from conformance.runfile.compression import LIMIT, content, is_compressed, size_of
from conformance.runfile.numbers import LONE_SURROGATE
from conformance.runfile.run import Run, run_of_lines
from conformance.runfile.stored import OpenedFile, Opens, StoredRecords, Unfolded
from conformance.runfile.structs import FORMAT, AnyLine, Record
from conformance.runfile.throughput_structs import ThroughputPlan

Decode: TypeAlias = Callable[[bytes], AnyLine]
_Value = TypeVar("_Value")

#: Of a file of so many bytes all is held, decoded: some three times as much memory. Every standard run is smaller.
HELD = 2**27
#: Bytes that a run file may have which is not held: ten million cells.
LARGEST = 2**35
#: The most bytes read as a first line; that of a run of everything has some ten thousand.
_LONGEST = 2**24


class Opening(msgspec.Struct, frozen=True):
    """The little of a first line that tells what a file is."""

    kind: str | None = None
    format: int | None = None
    narrowed: bool = False
    throughput: ThroughputPlan | None = None


_OPENING = msgspec.json.Decoder(Opening)
_LINE: msgspec.json.Decoder[AnyLine] = msgspec.json.Decoder(AnyLine)


def read(path: Path) -> Run:
    """Return the run file at `path`, which may be compressed. Raises `UsageError`.

    The records of a large one stay where they are: each is read again when it is asked for.
    """
    try:
        if size_of(path) <= HELD or is_compressed(path):
            return parse(content(path), path)
        if size_of(path) > LARGEST:
            raise UsageError(f"{path}: has {size_of(path):,} bytes, over the limit of {LARGEST:,}")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    return _run_of(OpenedFile(path), path, stored=True)


def parse(raw: bytes, path: Path) -> Run:
    """Return the run that a file holds; `path` is what errors call it. Raises `UsageError`."""
    return _run_of(Unfolded(raw), path, stored=len(raw) > HELD)


def _run_of(opens: Opens, path: Path, *, stored: bool) -> Run:
    decode = _decoder(opens, path)
    records = StoredRecords(opens, lambda line, number: _record(line, number, path, decode)) if stored else None
    with opens() as file:
        return run_of_lines(path, _lines(file, path, decode, records), records)


def _decoder(opens: Opens, path: Path) -> Decode:
    """Return what decodes the lines of a run file, by its first. Raises `UsageError` where that is no header."""
    with opens() as file:
        first = next(_numbered(file, path), None)
    opening = _decoded(first.raw, path, first.number, _OPENING.decode) if first else Opening()
    if opening.kind != "header":
        raise UsageError(f"{path}:1: not a run file: its first line is no header")
    match opening.format:
        case 1:
            return format_1.decode
        case current if current == FORMAT:
            return _LINE.decode
        case unknown:
            raise UsageError(f"{path}:1: format {unknown}, expected 1 or {FORMAT}")


def read_all(paths: Iterable[Path]) -> list[Run]:
    """Return the run files at `paths`, each a file or a folder of them. Raises `UsageError`."""
    files: list[Path] = []
    for path in paths:
        inside = sorted([*path.glob("*.jsonl"), *path.glob("*.jsonl.xz")]) if path.is_dir() else [path]
        if not inside:
            raise UsageError(f"{path}: holds no run file (*.jsonl, *.jsonl.xz)")
        files.extend(inside)
    return [read(file) for file in files]


def opening_of(path: Path) -> Opening | None:
    """Return how the file at `path` begins; None where it is no run file. Raises `UsageError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            opening = _OPENING.decode(file.readline(_LONGEST))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (msgspec.DecodeError, RecursionError):
        return None
    return opening if opening.kind == "header" else None


class _Numbered(NamedTuple):
    """A line of a file: where it begins, and which it is."""

    start: int
    number: int
    raw: bytes


def _numbered(file: BinaryIO, path: Path) -> Iterator[_Numbered]:
    """Yield the finished lines that are not blank. Raises `UsageError` where one is longer than any may be."""
    start = 0
    for number in itertools.count(1):
        raw = file.readline(LIMIT)
        if not raw.endswith(b"\n"):
            if len(raw) == LIMIT:
                raise UsageError(f"{path}:{number}: has more than {LIMIT:,} bytes, and no line does")
            return
        if raw.strip():
            yield _Numbered(start, number, raw[:-1])
        start += len(raw)


def _lines(file: BinaryIO, path: Path, decode: Decode, stored: StoredRecords | None) -> Iterator[AnyLine]:
    """Yield the lines of a file, noting in `stored` where the records stand."""
    for start, number, raw in _numbered(file, path):
        line = _decoded(raw, path, number, decode)
        if stored is not None and isinstance(line, Record):
            stored.note(start, len(raw), number)
        yield line


def _record(line: bytes, number: int, path: Path, decode: Decode) -> Record:
    """Return a record that was read before. Raises `UsageError` where there is another line now."""
    record = _decoded(line, path, number, decode)
    if not isinstance(record, Record):
        raise UsageError(f"{path}: changed while it was read")
    return record


def _decoded(line: bytes, path: Path, number: int, decode: Callable[[bytes], _Value]) -> _Value:
    try:
        return decode(line)
    except msgspec.ValidationError as error:
        text = str(error)
        raise UsageError(f"{path}:{number}: {text[0].lower()}{text[1:]}") from error
    except (msgspec.DecodeError, UnicodeDecodeError):
        mended = _without_surrogates(line, path, number)
        return _decoded(mended, path, number, decode)
    except RecursionError as error:
        raise UsageError(f"{path}:{number}: nested too deep") from error


def _without_surrogates(line: bytes, path: Path, number: int) -> bytes:
    """Return a line with the escapes of lone surrogates, which are no Unicode, as the text of these escapes.

    Raises `UsageError` where that is not what is wrong with it.
    """
    try:
        text = json.dumps(json.loads(line), ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise UsageError(f"{path}:{number}: not JSON: {error}") from error
    except RecursionError as error:
        raise UsageError(f"{path}:{number}: nested too deep") from error
    if not LONE_SURROGATE.search(text):
        raise UsageError(f"{path}:{number}: not JSON")
    return LONE_SURROGATE.sub(lambda match: f"\\\\u{ord(match[0]):04x}", text).encode()
