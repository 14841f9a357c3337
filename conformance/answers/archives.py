"""A zip archive of weights, of which no entry unfolds to more than the whole may hold."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conformance.errors import UsageError
from conformance.runfile.compression import FLOOR, RATIO

#: What an archive raises that is none, is cut off, or holds what cannot be unfolded: an entry with a password among it.
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive for reading. Raises `UsageError` where its entries are said to hold too much.

    No entry gives more than it is said to hold, so that the sum bounds what is read.
    """
    with zipfile.ZipFile(path) as archive:
        size, limit = path.stat().st_size, max(FLOOR, RATIO * path.stat().st_size)
        held = sum(entry.file_size for entry in archive.infolist())
        if held > limit:
            raise UsageError(f"its {size} bytes unfold to {held}; at most {limit} are taken")
        yield archive
