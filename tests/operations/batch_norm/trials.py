"""Random data of many shapes and scales."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from conformance.operations.situation import Situation
from tests.operations.batch_norm.arithmetic import Array, F
from tests.situations import situation

SHAPES: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "normal": lambda random, m: random.normal(size=(m, 8)),
    "uniform": lambda random, m: random.uniform(-1, 1, size=(m, 8)),
    "lognormal": lambda random, m: random.lognormal(sigma=2, size=(m, 8)),
    "cauchy": lambda random, m: random.standard_cauchy(size=(m, 8)),
    "constant": lambda random, m: np.broadcast_to(random.normal(size=8), (m, 8)).copy(),
    "one-ulp": lambda random, m: 1 + random.integers(-1, 2, size=(m, 8)) * 2.0**-23,
    "outlier": lambda random, m: np.concatenate([random.normal(size=(m - 1, 8)), random.normal(size=(1, 8)) * 1e6]),
    "offset": lambda random, m: random.normal(size=(m, 8)) + 10.0 ** random.uniform(0, 7, size=8),
    "bimodal": lambda random, m: random.choice([-1.0, 1.0], size=(m, 8)) * random.normal(1, 1e-3, size=(m, 8)),
}


def trials(count: int, seed: int, epsilons: tuple[float, ...]) -> Iterator[tuple[str, Situation, Array, Array]]:
    """Random cases after numerics 1.6: nine shapes of data, scales from 1e-12 to 1e12, few and many values."""
    random = np.random.default_rng(seed)
    for index in range(count):
        name = tuple(SHAPES)[index % len(SHAPES)]
        m = int(random.choice([2, 3, 5, 8, 16, 33, 100]))
        scale = 10.0 ** random.uniform(-12, 12) if index % 3 else 1.0
        x = (SHAPES[name](random, m) * scale).astype(F)
        g = (random.normal(size=(m, 8)) * 10.0 ** random.uniform(-6, 6)).astype(F)
        size = 10.0 ** random.uniform(-3, 3, size=(4, 8))
        drawn = random.normal(size=(4, 8)) * size
        drawn[2] = drawn[2] * scale
        drawn[3] = np.abs(drawn[3]) * scale**2
        state = dict(zip(("gamma", "beta", "moving_mean", "moving_variance"), drawn.astype(F), strict=True))
        decay, epsilon = float(random.choice([0.0, 0.1, 0.5, 0.9, 0.99, 0.999])), float(random.choice(epsilons))
        s = situation(x, g, state=state, decay=decay, epsilon=epsilon, dtype="float32", parameter_dtype="float32")
        yield name, s, x, g
