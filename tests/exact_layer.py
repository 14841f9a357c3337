"""A batch normalization written out for tests, in extended precision: an answer known to be right, or wrong in one way.

Nothing here is the suite's own: statistics by `numpy.mean` and `numpy.var`, the gradient from the chain rule by
way of dx̂, dσ² and dμ as Ioffe and Szegedy 2015 print it (section 3), not from its closed form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from conformance.outcome import Produced
from conformance.precision import dtype_named
from conformance.reference.inputs import inputs_of
from conformance.spec.case import Case, Freeze, Infer, Reload, Sgd, Train, Unfreeze

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(slots=True, kw_only=True)
class ExactLayer:
    """A layer of one case, whose every result is rounded once; each option is a way of being another dialect."""

    case: Case
    moving_correction: int = 0
    normalizing_correction: int = 0
    frozen_infers: bool = False
    cumulative: bool = False
    first_batch: bool = False
    #: The variance as a difference of squares.
    one_pass: bool = False
    decay: float | None = None
    epsilon: float | None = None
    #: The dtype in which the moving values are kept, where it is not that of the parameters.
    statistics_dtype: str | None = None
    #: The dtype of each single operation.
    work: str = "longdouble"
    state: dict[str, Array] = field(default_factory=dict)
    frozen: bool = False
    gradients: dict[str, Array] = field(default_factory=dict)
    trained: int = 0

    def start(self, state: Mapping[str, Array]) -> None:
        self.state = {name: np.array(value) for name, value in state.items()}
        for name in ("moving_mean", "moving_variance"):
            if self.statistics_dtype is not None:
                self.state[name] = self.state[name].astype(dtype_named(self.statistics_dtype))

    def _spread(self, name: str, default: float) -> Any:
        configuration = self.case.configuration
        shape = [
            1 if axis in configuration.reduction_axes else configuration.shape[axis]
            for axis in range(configuration.rank)
        ]
        return self._work(self.state.get(name, np.full(configuration.features, default))).reshape(shape)

    def _work(self, array: Any) -> Any:
        return np.asarray(array).astype(dtype_named(self.work))

    def _number(self, value: float) -> Any:
        return dtype_named(self.work).type(value)

    def train(self, x: Array, upstream: Array) -> dict[str, Array]:
        if self.frozen and self.frozen_infers:
            return self.infer(x, upstream)
        axes, count = self.case.configuration.reduction_axes, x.size // self.case.configuration.feature_count
        if not count:
            return self._results(self._work(x), self._work(x), self._work(upstream), self._work(x))
        x, g = self._work(x), self._work(upstream)
        self.trained += 1
        mean = x.mean(axes, keepdims=True)
        variance = ((x - mean) ** 2).mean(axes, keepdims=True)
        if self.one_pass:
            variance = (x * x).mean(axes, keepdims=True) - mean * mean
        bessel = self._number(count / max(1, count - 1))
        self._move("moving_mean", mean)
        self._move("moving_variance", variance * bessel if self.moving_correction else variance)
        normalizing = variance * bessel if self.normalizing_correction else variance
        root = self._root(normalizing)
        normalized = (x - mean) / root
        g_normalized = g * self._spread("gamma", 1.0)
        g_variance = (g_normalized * (x - mean)).sum(axes, keepdims=True) * self._number(-0.5) / root**3
        g_mean = -(g_normalized / root).sum(axes, keepdims=True)
        spread = (x - mean) * self._number(2 / count) * (bessel if self.normalizing_correction else 1)
        g_input = g_normalized / root + g_variance * spread + g_mean / self._number(count)
        results = self._results(self._output(normalized), normalized, g, g_input)
        self.gradients = {name: results[f"grad_{name}"] for name in ("gamma", "beta") if name in self.state}
        return results

    def infer(self, x: Array, upstream: Array | None) -> dict[str, Array]:
        x = self._work(x)
        root = self._root(self._spread("moving_variance", 1.0))
        normalized = (x - self._spread("moving_mean", 0.0)) / root
        output = self._output(normalized)
        if upstream is None:
            return {"output": self._stored(output)}
        g = self._work(upstream)
        return self._results(output, normalized, g, g * self._spread("gamma", 1.0) / root)

    def sgd(self, rate: float) -> None:
        for name, gradient in self.gradients.items():
            if not self.frozen:
                moved = self._work(self.state[name]) - self._number(rate) * self._work(gradient)
                self.state[name] = moved.astype(self.state[name].dtype)

    def _root(self, variance: Any) -> Any:
        epsilon = self.case.epsilon if self.epsilon is None else self.epsilon
        return np.sqrt(variance + self._number(epsilon))

    def _output(self, normalized: Any) -> Any:
        return normalized * self._spread("gamma", 1.0) + self._spread("beta", 0.0)

    def _move(self, name: str, batch: Any) -> None:
        decay = self._number(self.case.decay if self.decay is None else self.decay)
        if self.cumulative:
            decay = self._number(self.trained - 1) / self._number(self.trained)
        if self.first_batch and self.trained == 1:
            decay = self._number(0)
        old = self._work(self.state[name])
        moved = decay * old + (1 - decay) * batch.reshape(old.shape)
        with np.errstate(over="ignore"):
            self.state[name] = moved.astype(self.state[name].dtype)

    def _results(self, output: Any, normalized: Any, g: Any, g_input: Any) -> dict[str, Array]:
        axes, features = self.case.configuration.reduction_axes, self.case.configuration.features
        parameter = dtype_named(self.case.configuration.parameter_dtype)
        found = {"beta": g.sum(axes), "gamma": (g * normalized).sum(axes)}
        named = {
            f"grad_{name}": value.reshape(features).astype(parameter)
            for name, value in found.items()
            if name in self.state
        }
        return {"output": self._stored(output), "grad_input": self._stored(g_input), **named}

    def _stored(self, value: Any) -> Array:
        return np.asarray(value).astype(dtype_named(self.case.dtype))


def produced(quantities: Mapping[str, Array], state: Mapping[str, Array], compilations: int | None = None) -> Produced:
    """Return the outcome of a step that gave those quantities and left that state."""
    copied = {name: np.array(value) for name, value in state.items()}
    return Produced(quantities=dict(quantities), state=copied, seconds=0.0, compilations=compilations)


def outcomes(layer: ExactLayer) -> list[Produced]:
    """Return what the layer gives for its case: at the start, then for each step."""
    return list(_outcomes(layer))


def _outcomes(layer: ExactLayer) -> Iterator[Produced]:
    inputs = inputs_of(layer.case)
    layer.start(inputs.initial)
    yield produced({}, layer.state)
    for each in inputs.steps:
        found: dict[str, Array] = {}
        match each.step:
            case Train():
                assert each.input is not None
                assert each.upstream is not None
                found = layer.train(each.input, each.upstream)
            case Infer():
                assert each.input is not None
                found = layer.infer(each.input, each.upstream)
            case Sgd(learning_rate=rate):
                layer.sgd(rate)
            case Freeze() | Unfreeze():
                layer.frozen = isinstance(each.step, Freeze)
            case Reload():
                pass
        yield produced(found, layer.state)


def altered(
    given: Sequence[Produced], step: int, name: str, change: Callable[[Array], Array | None], kept: bool = False
) -> list[Produced]:
    """Return the outcomes with one quantity of one step changed, or absent; `kept`: in the state after the step."""
    result = list(given)
    outcome = result[step]
    part = dict(outcome.state if kept else outcome.quantities)
    value = change(part.pop(name))
    if value is not None:
        part[name] = value
    result[step] = replace(outcome, state=part) if kept else replace(outcome, quantities=part)
    return result
