"""Batches alone, for tests that build their own cases."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from conformance.precision import rounded
from conformance.search.picks import Picks
from conformance.search.values import inputs, plain

Array = np.ndarray[Any, np.dtype[Any]]


@st.composite
def batches(draw: Any, shape: tuple[int, ...] = (8, 3), dtype: str = "float32", *, extreme: bool = False) -> Array:
    """Draw a batch of a shape and dtype; an `extreme` one may be huge, tiny, constant or not finite."""
    picks = Picks(draw)
    return rounded(inputs(picks, shape) if extreme else plain(picks, shape), dtype)
