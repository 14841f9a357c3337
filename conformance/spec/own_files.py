"""Case files of a person's own: anywhere, beside the shipped ones, and told apart from those by their families."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from conformance.errors import Place, SpecError, UsageError

_SUFFIXES = (".yaml", ".yml")
#: What pytest, which collects the files, takes as the end of a path.
_RESERVED = ("[", "::")


def case_files(paths: Iterable[Path]) -> list[Path]:
    """Return the case files at `paths`, those of a folder by name, each once. Raises `UsageError`."""
    files: dict[Path, None] = {}
    for path in paths:
        here = Path(os.path.abspath(path))  # noqa: PTH100 - `resolve` follows links: what was named is what is shown
        try:
            inside = sorted(file for file in here.iterdir() if file.suffix in _SUFFIXES) if here.is_dir() else [here]
            is_there = here.exists()
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
        if not inside:
            raise UsageError(f"{path}: no case file in this folder: expected some *.yaml")
        if not is_there:
            raise UsageError(f"{path}: no such file")
        if not here.is_dir() and not here.is_file():
            raise UsageError(f"{path}: is no file, but a device or a pipe")
        for file in inside:
            reserved = [mark for mark in _RESERVED if mark in str(file)]
            if reserved:
                raise UsageError(f"{file}: its path has {reserved[0]!r}, by which no cell could be named")
            files[file] = None
    return list(files)


def borrowed_family(file: Path, shown: str, shipped: Path) -> SpecError | None:
    """Return the complaint that a file is of a family of the folder `shipped` without standing there; None if it is not.

    What a family shows of an implementation is read from all of its cases, so that they are made for that.
    """
    namesake = shipped / f"{file.stem}.yaml"
    if not namesake.is_file() or file.resolve() == namesake.resolve():
        return None
    message = f"{file.stem!r} is a family of the shipped cases: give the file, and its ids, another name"
    return SpecError(place=Place(file=shown), key="", message=message)
