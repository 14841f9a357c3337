"""Writing a file so that it appears whole or not at all, and asking beforehand whether it can be written there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from conformance.errors import UsageError


def check_place(path: Path) -> None:
    """Raise `UsageError` where no file can be written at `path`: asked before work that would be lost."""
    try:
        if path.is_dir():
            raise UsageError(f"{path}: is a folder, and a file was expected")
        if _is_there(path) and not path.is_file():
            raise UsageError(f"{path}: is a device or a pipe, and a file was expected")
        above = next(folder for folder in path.absolute().parents if _is_there(folder))
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    if not above.is_dir():
        raise UsageError(f"{path}: cannot be written: {above} is no folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UsageError(f"{path}: cannot be written: nothing can be made in {above}")


def check_folder(path: Path) -> None:
    """Raise `UsageError` where no folder is and none can be made at `path`: asked before work that would be lost."""
    try:
        is_folder, is_there = path.is_dir(), _is_there(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    if is_there and not is_folder:
        raise UsageError(f"{path}: expected a folder, and this is none")
    if not is_there:
        check_place(path)


def _is_there(path: Path) -> bool:
    """Return whether anything is at `path`. Raises `OSError` where nothing can be, such as of too long a name."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def write_whole(path: Path, content: bytes) -> None:
    """Write the file at `path`, in place of any that is there. Raises `UsageError` where that cannot be."""
    check_place(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # A temporary file is its owner's alone; this one is as readable as any other.
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def _umask() -> int:
    """Return the mask in force, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
