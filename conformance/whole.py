"""A file that appears whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from conformance.errors import UsageError


def write_whole(path: Path, content: bytes) -> None:
    """Write the file at `path`, in place of any that is there. Raises `UsageError` where that cannot be."""
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
