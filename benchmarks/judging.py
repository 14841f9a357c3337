"""What judging costs beside the work it judges: `python benchmarks/judging.py [ROWS] [FEATURES]`.

Prints the time of reference, bounds and comparison of one float32 train step with gradients, the time of a plain
float64 NumPy forward and backward of the same step, and their ratio: the fastest of many of each, in turn, since other
work on the machine only ever slows.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from conformance.dialect import CANONICAL
from conformance.fit import fit
from conformance.operation import Situation
from conformance.operations import OPERATIONS
from conformance.precision import working
from conformance.protocol import Configuration

ROUNDS = 300


def plain(x: Any, gamma: Any, beta: Any, upstream: Any, epsilon: float) -> tuple[Any, ...]:
    """Return output and gradients in float64, as anyone would write them."""
    mean = x.mean(0)
    deviation = x - mean
    inverse = 1 / np.sqrt((deviation * deviation).mean(0) + epsilon)
    normalized = deviation * inverse
    grad_beta, grad_gamma = upstream.sum(0), (upstream * normalized).sum(0)
    grad_input = gamma * inverse * (upstream - grad_beta / len(x) - normalized * (grad_gamma / len(x)))
    return gamma * normalized + beta, grad_input, grad_gamma, grad_beta


def main(rows: int, features: int) -> None:
    """Print the ratio for one step of that shape."""
    generator = np.random.default_rng(0)
    x, upstream = (generator.normal(size=(rows, features)).astype(np.float32) for _ in range(2))
    state = {name: generator.uniform(1, 2, features) for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    configuration = Configuration(
        op="batch_norm",
        shape=(rows, features),
        feature_axes=(1,),
        dtype="float32",
        parameter_dtype="float32",
        decay=0.9,
        epsilon=1e-3,
        scale=True,
        center=True,
    )
    worked = working("float32")
    wide = {name: value.astype(np.float64) for name, value in state.items()}
    operation = OPERATIONS["batch_norm"]
    exact = operation.train(_situation(configuration, x, upstream, wide), worked)
    observed = {name: each.value.astype(np.float32) for name, each in exact.items()}

    def judged() -> None:
        expected = operation.train(_situation(configuration, x, upstream, wide), worked)
        for name, value in observed.items():
            fit(value, expected[name], worked)

    x64, upstream64 = x.astype(np.float64), upstream.astype(np.float64)

    def computed() -> None:
        plain(x64, state["gamma"], state["beta"], upstream64, 1e-3)

    pairs = [(_seconds(judged), _seconds(computed)) for _ in range(ROUNDS)]
    judging, plainly = (min(times) for times in zip(*pairs, strict=True))
    print(f"shape {rows} x {features}: judging / plain float64 = {judging / plainly:.1f} (fastest of {ROUNDS})")
    print(f"judging {judging * 1e3:.3f} ms, plain {plainly * 1e3:.3f} ms")


def _situation(configuration: Configuration, x: Any, upstream: Any, state: Any) -> Situation:
    return Situation(
        configuration=configuration,
        dialect=CANONICAL,
        x=x.astype(np.float64),
        upstream=upstream.astype(np.float64),
        state=state,
    )


def _seconds(action: Callable[[], None]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    words = [int(each) for each in sys.argv[1:]]
    main(*(words if len(words) == 2 else (64, 64)))
