"""What judging costs beside the work it judges: `python benchmarks/judging.py [ROWS FEATURES [ROUNDS]]`.

Prints the time of reference, bounds and comparison of one float32 train step with gradients, the time of a plain
float64 NumPy forward and backward of the same step, and their ratio: the fastest of many of each, in turn, since other
work on the machine only ever slows. Then the most memory that judging takes beyond the arrays judged, in inputs.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from conformance.dialect import CANONICAL
from conformance.judging.feature_chunks import Target
from conformance.precision import working
from conformance.reference.computed import Request
from conformance.reference.expected import References
from conformance.reference.inputs import StepInputs
from tests.cells import TRAIN, case

#: A step is not measured more often than takes about so many plain passes over this many values.
ROUNDS, VALUES = 300, 64 * 64


def plain(x: Any, gamma: Any, beta: Any, upstream: Any, epsilon: float) -> tuple[Any, ...]:
    """Return output and gradients in float64, as anyone would write them."""
    mean = x.mean(0)
    deviation = x - mean
    inverse = 1 / np.sqrt((deviation * deviation).mean(0) + epsilon)
    normalized = deviation * inverse
    grad_beta, grad_gamma = upstream.sum(0), (upstream * normalized).sum(0)
    grad_input = gamma * inverse * (upstream - grad_beta / len(x) - normalized * (grad_gamma / len(x)))
    return gamma * normalized + beta, grad_input, grad_gamma, grad_beta


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One train step that somebody performed rightly, in float32."""

    request: Request
    state: Mapping[str, Any]
    observed: Mapping[str, Any]

    def judge(self) -> float:
        """Return the highest score of all quantities, remembering nothing from the last time."""
        target = Target(
            request=self.request, before=self.state, gradients={}, references=References(), observed=self.observed
        )
        dialect, worked = self.request.dialect, self.request.worked
        fits = [target.fit(name, dialect, worked, self.observed) for name in self.observed]
        return max(each.score for each in fits if each is not None)


def step(rows: int, features: int) -> tuple[Step, Callable[[], Any]]:
    """Return a step of that shape, and its plain float64 forward and backward."""
    generator = np.random.default_rng(0)
    x, upstream = (generator.standard_normal((rows, features), dtype=np.float32) for _ in range(2))
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    state = {name: generator.uniform(1, 2, features).astype(np.float32) for name in names}
    made = case(TRAIN, shape=[rows, features], epsilon=1e-3, decay=0.9)
    wide = [each.astype(np.float64) for each in (x, state["gamma"], state["beta"], upstream)]
    given = plain(*wide, 1e-3)
    moved = {
        "moving_mean": 0.9 * state["moving_mean"] + 0.1 * wide[0].mean(0),
        "moving_variance": 0.9 * state["moving_variance"] + 0.1 * wide[0].var(0),
    }
    observed = dict(zip(("output", "grad_input", "grad_gamma", "grad_beta"), given, strict=True))
    request = Request(
        case=made,
        configuration=made.configuration,
        number=1,
        inputs=StepInputs(step=made.performed[0], input=x, upstream=upstream),
        dialect=CANONICAL,
        worked=working("float32"),
        frozen=False,
        trained=0,
    )
    stored = {name: value.astype(np.float32) for name, value in {**observed, **moved}.items()}
    return Step(request=request, state=state, observed=stored), lambda: plain(*wide, 1e-3)


def ratio(rows: int, features: int, rounds: int) -> tuple[float, float]:
    """Return the seconds of judging and of the plain step: the fastest of `rounds`, in turn."""
    judged, plainly = step(rows, features)
    if judged.judge() > 1:
        raise SystemExit("a right step was judged wrong: what was measured is not judging")
    pairs = [(_seconds(judged.judge), _seconds(plainly)) for _ in range(rounds)]
    judging, computing = (min(times) for times in zip(*pairs, strict=True))
    return judging, computing


def memory(rows: int, features: int) -> float:
    """Return the most memory that judging takes beyond the arrays judged, in inputs."""
    judged, _ = step(rows, features)
    tracemalloc.start()
    judged.judge()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / (4 * rows * features)


def main(rows: int, features: int, rounds: int) -> None:
    """Print ratio and memory for one step of that shape."""
    judging, computing = ratio(rows, features, rounds)
    print(f"shape {rows} x {features}: judging / plain float64 = {judging / computing:.1f} (fastest of {rounds})")
    print(f"judging {judging * 1e3:.3f} ms, plain {computing * 1e3:.3f} ms")
    print(f"memory beyond the arrays judged: {memory(rows, features):.2f} inputs")


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:]] or [64, 64]
    main(given[0], given[1], given[2] if len(given) > 2 else max(3, ROUNDS * VALUES // (given[0] * given[1])))
