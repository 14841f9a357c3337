"""Compressed inputs, taken apart up to a limit: a few kilobytes of a file that somebody sent can stand for terabytes."""

from __future__ import annotations

import lzma
import zlib
from pathlib import Path

from conformance.errors import UsageError

#: Bytes that are held of one file, or of what it unfolds to: the full tier on every framework has a fifth of it.
LIMIT = 2**30
#: What a compressed file may unfold to: that many times its own size, or the floor. xz leaves a twenty-fifth of a run file.
RATIO = 200
FLOOR = 16 * 2**20
_XZ, _GZIP = b"\xfd7zXZ\x00", b"\x1f\x8b"
_STEP = 2**24


def content(path: Path, *, limit: int = LIMIT) -> bytes:
    """Return what a file holds, unfolded where it was compressed by xz or gzip.

    Raises `UsageError` where it cannot be read, is not whole, or unfolds to more than `limit` bytes.
    """
    try:
        size = size_of(path)
        if size > limit:
            raise UsageError(f"{path}: has {size:,} bytes, over the limit of {limit:,}")
        raw = path.read_bytes()
        unfolded = min(limit, max(FLOOR, RATIO * len(raw)))
        if raw.startswith(_XZ):
            return _unfolded_xz(raw, path, unfolded)
        if raw.startswith(_GZIP):
            return _unfolded_gzip(raw, path, unfolded)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (lzma.LZMAError, zlib.error, EOFError) as error:
        raise UsageError(f"{path}: not whole: {error}") from error
    return raw


def size_of(path: Path) -> int:
    """Return how many bytes a file has. Raises `UsageError` where it is none, and `OSError` where that cannot be asked."""
    if not path.is_file():
        # A device may have no end, and a pipe none to come.
        path.stat()
        raise UsageError(f"{path}: cannot be read: {'is a folder' if path.is_dir() else 'is a device or a pipe'}")
    return path.stat().st_size


def is_compressed(path: Path) -> bool:
    """Return whether a file begins as xz or gzip do. Raises `OSError` where it cannot be read."""
    with path.open("rb") as file:
        return file.read(len(_XZ)).startswith((_XZ, _GZIP))


def _unfolded_xz(raw: bytes, path: Path, limit: int) -> bytes:
    """Return what the streams of an xz file hold."""
    parts: list[bytes] = []
    while raw:
        decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        pending = raw
        while not decompressor.eof:
            if decompressor.needs_input and not pending:
                raise EOFError("it ends in the middle")
            parts.append(decompressor.decompress(pending, _STEP))
            pending = b""
            _check_size(parts, path, limit)
        raw = decompressor.unused_data.lstrip(b"\0")
    return b"".join(parts)


def _unfolded_gzip(raw: bytes, path: Path, limit: int) -> bytes:
    """Return what the members of a gzip file hold."""
    parts: list[bytes] = []
    while raw:
        decompressor = zlib.decompressobj(wbits=31)
        while not decompressor.eof:
            part = decompressor.decompress(raw, _STEP)
            if not part and not decompressor.eof:
                raise EOFError("it ends in the middle")
            parts.append(part)
            raw = decompressor.unconsumed_tail
            _check_size(parts, path, limit)
        raw = decompressor.unused_data.lstrip(b"\0")
    return b"".join(parts)


def _check_size(parts: list[bytes], path: Path, limit: int) -> None:
    if sum(map(len, parts)) > limit:
        raise UsageError(f"{path}: unfolds to more than {limit:,} bytes, and no run file does")
