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

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec

from conformance.errors import UsageError
from conformance.runfile import format_1
from conformance.runfile.compression import content
from conformance.runfile.numbers import LONE_SURROGATE
from conformance.runfile.run import Run, run_of_lines
from conformance.runfile.structs import FORMAT, AnyLine
from conformance.runfile.throughput_structs import ThroughputPlan

Decode: TypeAlias = Callable[[bytes], AnyLine]
_Value = TypeVar("_Value")

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
    """Return the run file at `path`, which may be compressed. Raises `UsageError`."""
    return parse(content(path), path)


def parse(raw: bytes, path: Path) -> Run:
    """Return the run that a file holds; `path` is what errors call it. Raises `UsageError`."""
    number, first = next(_numbered(raw), (1, b""))
    opening = _decoded(first, path, number, _OPENING.decode) if first else Opening()
    if opening.kind != "header":
        raise UsageError(f"{path}:1: not a run file: its first line is no header")
    match opening.format:
        case 1:
            return run_of_lines(path, _lines(_numbered(raw), path, format_1.decode))
        case current if current == FORMAT:
            return run_of_lines(path, _lines(_numbered(raw), path, _LINE.decode))
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


def _numbered(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the finished lines that are not blank, with their numbers: one at a time, as all are as much memory again."""
    start, number = 0, 0
    while (end := raw.find(b"\n", start)) >= 0:
        line, start, number = raw[start:end], end + 1, number + 1
        if line.strip():
            yield number, line


def _lines(lines: Iterable[tuple[int, bytes]], path: Path, decode: Decode) -> Iterator[AnyLine]:
    for number, line in lines:
        yield _decoded(line, path, number, decode)


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
