"""One step's situation, made directly from arrays of m values of each of C features."""

from __future__ import annotations

from typing import Any

import numpy as np

from conformance.dialect import Dialect
from conformance.operations.situation import Situation
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]
STATE = {"gamma": 1.5, "beta": -0.25, "moving_mean": 0.75, "moving_variance": 2.5}


def situation(
    x: Any,
    upstream: Any = None,
    *,
    state: dict[str, Any] | None = None,
    dialect: Dialect | None = None,
    trained: int = 0,
    op: str = "batch_norm",
    wide: type[np.floating[Any]] = np.longdouble,
    graded: bool = False,
    **configured: Any,
) -> Situation:
    """Return the situation of a step on x, shape (m, C), in the float type `wide`.

    A state given as numbers is that of every feature.
    """
    x = np.asarray(x)
    configuration = Configuration(
        **{
            "op": op,
            "shape": x.shape,
            "feature_axes": (1,),
            "dtype": "float64",
            "parameter_dtype": "float64",
            "decay": 0.75,
            "epsilon": 0.125,
            "scale": True,
            "center": True,
            **configured,
        }
    )
    held = {**STATE, **(state or {})}
    return Situation(
        configuration=configuration,
        dialect=dialect or Dialect(),
        x=x.astype(wide),
        upstream=None if upstream is None else np.asarray(upstream).astype(wide),
        state={name: np.broadcast_to(value, x.shape[1:]).astype(wide) for name, value in held.items()},
        trained=trained,
        graded=graded,
    )
