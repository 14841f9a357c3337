"""Files of weights, each by its suffix: of arrays by name, or of a model in its library's own format.

Nothing of a file is ever executed, and nothing is unpickled.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from conformance.answers import archives, flax_files, keras_files, onnx_files, safetensors, torch_files
from conformance.answers.saved import Saved
from conformance.errors import UsageError
from conformance.files.whole import write_whole

Array = np.ndarray[Any, np.dtype[Any]]


def _npz(path: Path) -> Saved:
    with archives.opened(path), np.load(path, allow_pickle=False) as file:
        return Saved(arrays={name: file[name] for name in file.files})


def _npz_encoded(arrays: Mapping[str, Array]) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    return content.getvalue()


_READERS: Mapping[str, Callable[[Path], Saved]] = {
    ".safetensors": lambda path: Saved(arrays=safetensors.read(path)),
    ".npz": _npz,
    ".pt": lambda path: Saved(arrays=torch_files.read(path)),
    ".pth": lambda path: Saved(arrays=torch_files.read(path)),
    ".keras": keras_files.read_archive,
    ".h5": keras_files.read_hdf5,
    ".hdf5": keras_files.read_hdf5,
    ".msgpack": lambda path: Saved(arrays=flax_files.decoded(path.read_bytes())),
    ".onnx": lambda path: onnx_files.decoded(path.read_bytes()),
}
_WRITERS: Mapping[str, Callable[[Mapping[str, Array]], bytes]] = {
    ".safetensors": safetensors.encoded,
    ".npz": _npz_encoded,
    ".pt": torch_files.encoded,
    ".pth": torch_files.encoded,
    ".msgpack": flax_files.encoded,
}
#: What else a file raises that is not of its format: of the wrong kinds, or said to be larger than any memory.
_BROKEN = (KeyError, TypeError, MemoryError, OverflowError, struct.error)
READ, WRITTEN = ", ".join(_READERS), ", ".join(_WRITERS)


def read(path: Path) -> Saved:
    """Return what a file of weights holds. Raises `UsageError`."""
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise UsageError(f"{path}: expected {READ}; got {path.suffix or 'no suffix'}")
    try:
        path.stat()
        if not path.is_file():
            # A device may have no end, and a pipe none to come.
            return _refused(path, "is a folder, a device or a pipe")
        return reader(path)
    except OSError as error:
        return _refused(path, f"cannot be read: {error.strerror or error}", error)
    except (*archives.BROKEN, *_BROKEN) as error:
        return _refused(path, f"no {path.suffix} file of plain arrays: {error}", error)
    except UsageError as error:
        return _refused(path, str(error), error)


def _refused(path: Path, told: str, cause: BaseException | None = None) -> NoReturn:
    """Raise a `UsageError` of one line that begins with the file."""
    line = " ".join(told.split())
    raise UsageError(line if line.startswith(str(path)) else f"{path}: {line}") from cause


def write(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write the arrays. Raises `UsageError`."""
    check_suffix(path)
    write_whole(path, _WRITERS[path.suffix](arrays))


def check_suffix(path: Path) -> None:
    """Raise `UsageError` where no file of that suffix is written."""
    if path.suffix not in _WRITERS:
        raise UsageError(f"{path}: expected {WRITTEN}; got {path.suffix or 'no suffix'}")
