"""A report's folder, written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from conformance.errors import UsageError

#: Names every file of the report, so that a folder that holds anything else is never replaced.
MARK = "report-files.json"


#: The bytes of a file, or its pieces.
Pieces: TypeAlias = bytes | Iterator[bytes]


def write_folder(out: Path, files: Iterable[tuple[str, Pieces]]) -> None:
    """Write the files to the folder `out`, in place of an earlier report there.

    Raises `UsageError` where `out` holds what no report wrote.
    """
    check(out)
    try:
        _replace(out, files)
    except OSError as error:
        raise UsageError(f"{out}: cannot be written: {error.strerror}") from error


def _replace(out: Path, files: Iterable[tuple[str, Pieces]]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    new, old = (out.with_name(f".{out.name}.{os.getpid()}.{word}") for word in ("new", "old"))
    try:
        names = sorted([_write(new, path, content) for path, content in files])
        _write(new, MARK, (json.dumps(names, indent=0) + "\n").encode())
        if out.is_dir():
            out.rename(old)
        new.rename(out)
    except BaseException:
        if old.is_dir() and not out.exists():
            old.rename(out)
        raise
    finally:
        for folder in (new, old):
            shutil.rmtree(folder, ignore_errors=True)


def check(out: Path) -> None:
    """Raise `UsageError` unless `out` may be replaced: it is absent, empty, or holds a report alone."""
    try:
        is_there = out.exists()
    except OSError as error:
        raise UsageError(f"{out}: cannot be written: {error.strerror}") from error
    if not is_there:
        return
    if not out.is_dir():
        raise UsageError(f"{out}: is a file, and a report is a folder; --single-file writes a file")
    ours = _ours(out)
    others = [
        path for path in sorted(out.rglob("*")) if not path.is_dir() and path.relative_to(out).as_posix() not in ours
    ]
    if others:
        name = others[0].relative_to(out)
        raise UsageError(f"{out}: holds {name}, which no report wrote; name another folder, or move it away")


def _ours(out: Path) -> set[str]:
    try:
        return {MARK, *json.loads((out / MARK).read_bytes())}
    except (OSError, ValueError, TypeError):
        return set()


def _write(folder: Path, path: str, content: Pieces) -> str:
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        file.writelines([content] if isinstance(content, bytes) else content)
    return path
