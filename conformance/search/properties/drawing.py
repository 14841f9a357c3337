"""The numbers of one example of a property: drawn values, of which every dtype that is asked for holds each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from conformance.precision import rounded
from conformance.search.picks import Picks
from conformance.search.properties.identity import Array, Ground
from conformance.search.shapes import Layout
from conformance.search.values import TABLE

#: As the recipe `dyadic` has them: their mean is 0 and their mean square 3.75, in whatever order they are summed.
_DYADIC: Array = np.array([3, -3, *(2, -2) * 5, 1, -1, 0, 0], dtype=np.float64)
#: Numbers that every dtype holds, so that a side may be computed from them.
_EPSILONS, _DECAYS = (0.25, 2.0**-10, 2.0**-16), (0.75, 0.5, 0.875)
_POWERS = (1, -1, 4, -6, 10)
_LEVELS = ((0, 0.0), (0, 0.0), (0, 3.0), (0, 101.75), (-6, 300.0), (10, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A layout, a dtype and the numbers for one example of a property."""

    layout: Layout
    dtype: str
    ground: Ground


@st.composite
def grounds(draw: Any, dyadic: bool, dtypes: Sequence[str], layouts: Sequence[Layout]) -> Drawn:
    """Draw the numbers of an example."""
    picks = Picks(draw)
    dtype, layout = picks.one(tuple(dtypes)), picks.one(tuple(layouts))
    exponent, shift = picks.one(_LEVELS)
    count, features = layout.rows, layout.features

    def exact(values: Array) -> Array:
        return rounded(values, dtype).astype(np.float64)

    def drawn(rows: int) -> Array:
        return TABLE[picks.bytes(rows * features)].reshape(rows, features)

    def data() -> Array:
        if dyadic:
            numbers = np.resize(_DYADIC, (features, count)).T
            orders = picks.bytes(count * features).reshape(count, features).argsort(axis=0, kind="stable")
            levels = np.resize([picks.one((3.0, 0.0, -5.0)), picks.one((0.0, 64.0))], features)
            return np.asarray(np.take_along_axis(numbers, orders, axis=0) + levels)
        return exact(np.ldexp(drawn(count), exponent) + shift)

    state = {
        "gamma": exact(drawn(1)[0]),
        "beta": exact(drawn(1)[0]),
        "moving_mean": exact(drawn(1)[0]),
        "moving_variance": np.abs(exact(drawn(1)[0])),
    }
    ground = Ground(
        x=data(),
        other=data(),
        upstream=exact(drawn(count)),
        pull=exact(drawn(count)),
        state=state,
        epsilon=picks.one(_EPSILONS),
        decay=picks.one(_DECAYS),
        power=picks.one(_POWERS),
        order=picks.bytes(count).argsort(kind="stable"),
        samples=layout.shape[0],
        dtype=dtype,
    )
    return Drawn(layout=layout, dtype=dtype, ground=ground)
