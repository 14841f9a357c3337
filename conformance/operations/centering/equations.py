"""The equations of centering with the numbers of one feature put in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from conformance.dialect import PassName
from conformance.operations.batch_norm.reference import batch_mean
from conformance.operations.moving import moved, weights
from conformance.operations.operation import Equation
from conformance.operations.situation import Situation
from conformance.operations.written import OUTPUTS, difference, factor, total, weighted


def equations(situation: Situation, performs: PassName, feature: int) -> tuple[Equation, ...]:
    """Return the equations of the pass for one feature; none of an empty batch or of another dialect's normalizer."""
    if not len(situation.x) or situation.dialect.normalizes_with != "batch":
        return ()
    with np.errstate(all="ignore"):
        return tuple(_written(situation, performs, feature))


def implied(situation: Situation, feature: int, slope: float, offset: float) -> Mapping[str, float]:
    """Return the moving mean of which inference makes x + offset; NaN where the slope is another than 1."""
    del situation, feature
    return {"moving_mean": -offset if slope == 1 else np.nan}


def _written(situation: Situation, performs: PassName, feature: int) -> Iterator[Equation]:
    x, center = situation.x[:, feature], float(situation.state["moving_mean"][feature])
    count = len(x)
    after = None
    if performs == "train":
        mean = batch_mean(situation.x)[feature]
        weight = weights(situation.dialect, situation.configuration.decay, situation.trained, x.dtype.type)
        value = float(moved(np.asarray(center), np.asarray(mean), weight))
        numbers = weighted((float(weight[0]), float(weight[1])), center, float(mean))
        after, center = Equation(symbol="M after", numbers=numbers, value=value), float(mean)
        terms = total([factor(one) for one in x])
        yield Equation(symbol="μ", numbers=f"({terms})/{count}", value=center)
    for position, symbol in enumerate(OUTPUTS[:count]):
        value = float(x[position] - center)
        yield Equation(symbol=symbol, numbers=difference(x[position], center), value=value)
    if after is not None:
        yield after
    if situation.upstream is not None:
        yield from _differentiated(situation.upstream[:, feature], performs)


def _differentiated(g: np.ndarray[tuple[int], np.dtype[np.floating]], performs: PassName) -> Iterator[Equation]:
    """Yield the gradient of the first value."""
    if performs == "infer":
        yield Equation(symbol="dx₁", numbers=factor(float(g[0])), value=float(g[0]))
        return
    terms = total([factor(float(one)) for one in g])
    yield Equation(symbol="dx₁", numbers=f"{factor(float(g[0]))} - ({terms})/{len(g)}", value=float(g[0] - g.mean()))
