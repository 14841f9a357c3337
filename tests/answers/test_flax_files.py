"""Flax's packed variables."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from conformance.answers.flax_files import decoded, encoded


def packed(array: np.ndarray[Any, Any]) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(1, msgspec.msgpack.encode((array.shape, array.dtype.name, array.tobytes())))


def test_flax_variables_are_named_by_the_way_to_them() -> None:
    """As `flax.serialization.to_bytes` packs them; what is no array is left out."""
    mean = np.array([1, 2], np.float32)
    arrays = decoded(msgspec.msgpack.encode({"batch_stats": {"norm": {"mean": packed(mean)}}, "step": 3}))
    assert {name: array.tobytes() for name, array in arrays.items()} == {"batch_stats/norm/mean": mean.tobytes()}


def test_what_is_written_is_what_flax_packs() -> None:
    mean = np.array([1, 2], np.float32)
    assert encoded({"batch_stats/norm/mean": mean}) == msgspec.msgpack.encode(
        {"batch_stats": {"norm": {"mean": packed(mean)}}}
    )
