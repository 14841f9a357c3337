"""What faults of several kinds are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.faults.planting.layer import Layer, grad_input, mean, rows


def rounded(value: Any, dtype: Any) -> Any:
    return value.astype(dtype).astype(value.dtype)


def features_first(l: Layer) -> bool:
    c = l.configuration
    return c.rank > 2 and c.feature_axes == (1,)


def halves(x: Any) -> Any:
    middle = max(1, len(x) // 2)
    return [part for part in (x[:middle], x[middle:]) if len(part)]


def positions(l: Layer, x: Any) -> int:
    n = l.x.shape[0] if 0 not in l.configuration.feature_axes else 1
    return len(x) // max(1, n)


def bessel(count: float) -> float:
    return count / (count - 1) if count > 1 else 1.0


def times(factor: Callable[[Layer, Any], float]) -> Callable[..., Any]:
    """Let the batch variance enter the moving variance times a factor."""
    return lambda l, center, spread, x: (center, spread * l.t(factor(l, x)))


def training(l: Layer) -> bool:
    return l.kind == "train"


def inference(l: Layer) -> bool:
    return l.kind == "infer"


def corrected(l: Layer, center: Any, spread: Any, before: Any) -> Any:
    return center, spread * l.t(bessel(len(rows(l, l.x))))


def corrected_gradient(l: Layer, g: Any, n: Any, root: Any) -> Any:
    """The derivative where the variance over m - 1 normalizes, which has a factor m/(m - 1) in its last term."""
    if l.kind == "infer":
        return grad_input(l, g, n, root)
    return l.gamma() * root * (g - g.mean(0) - n * ((g * n).mean(0) * l.t(bessel(len(g)))))


def whole(step: int) -> Callable[..., Any]:
    """The mean of the rows of the whole groups of `step` alone."""
    return lambda l, x: mean(l, x[: len(x) // step * step or len(x)])
