"""Why a trained layer gives the numbers that somebody published, and not those of the batch: worked out from the run file."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from conformance.runfile.observed import RecordedCell
from conformance.runfile.structs import CaseLine, SpecMapping

#: So many values are shown with each its own line.
_FEW = 8
#: What a layer holds that no case sets.
_FRESH = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Equation:
    """One equation with its numbers put in."""

    symbol: str
    numbers: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedLayer:
    """One published inference of a layer with one feature, beside what the batch's own statistics would give."""

    case: CaseLine
    inputs: tuple[float, ...]
    #: As they were printed.
    published: tuple[str, ...]
    #: By gamma, beta, moving mean and moving variance.
    state: Mapping[str, float]
    equations: tuple[Equation, ...]
    mean: float
    deviation: float
    #: What (x − mean) / deviation of the batch gives.
    by_batch: tuple[float, ...]
    #: Judged cells of such cases, and those that are right.
    judged: int = 0
    right: int = 0

    @property
    def question(self) -> str:
        """What a person asks who sees it."""
        published, value, batch = float(self.published[0]), self.inputs[0], self.by_batch[0]
        return f"Why does a trained layer make {published:.3g} of {value:g}, and not {_signed(batch)}?"

    @property
    def command(self) -> str:
        """The command that answers it for numbers of one's own, here with these."""
        configuration = self.case.configuration
        options = [f"--{name.replace('_', '-')} {self.state[name]!r}" for name in self.state if name != "beta"]
        options += ["--no-center"] if not configuration.center else [f"--beta {self.state['beta']!r}"]
        data = ", ".join(f"[{value:g}]" for value in self.inputs)
        return (
            f"conformance explain --data '[{data}]' --mode infer --epsilon {configuration.epsilon:g} {' '.join(options)}"
            f" --got '{', '.join(self.published)}' --expected '{', '.join(f'{value:.6g}' for value in self.by_batch)}'"
        )


def trained_layers(cases: Iterable[CaseLine], cells: Iterable[RecordedCell]) -> tuple[TrainedLayer, ...]:
    """Return the published inferences of one feature in these cases; those of the same numbers, in whatever layout, are one."""
    layers: dict[tuple[float, ...], TrainedLayer] = {}
    asked: dict[str, tuple[float, ...]] = {}
    for case in cases:
        layer = _trained_layer(case)
        if layer is not None:
            asked[case.id] = (*layer.inputs, *layer.state.values())
            layers.setdefault(asked[case.id], layer)
    judged, right = Counter[tuple[float, ...]](), Counter[tuple[float, ...]]()
    for cell in cells:
        if cell.case.id in asked and cell.verdict.judged:
            judged[asked[cell.case.id]] += 1
            right[asked[cell.case.id]] += cell.verdict.agrees
    return tuple(replace(layer, judged=judged[key], right=right[key]) for key, layer in layers.items())


def _trained_layer(case: CaseLine) -> TrainedLayer | None:
    printed = next((entry for entry in case.published if entry.get("quantity") == "output"), None)
    if case.op != "batch_norm" or math.prod(case.configuration.feature_sizes) != 1 or printed is None:
        return None
    if len(case.steps) != 1 or case.steps[0].get("step") != "infer":
        return None
    inputs, published = _literal(case.steps[0].get("input")), tuple(_flat(printed.get("values")))
    state = {
        name: _literal(case.initial.get(name, {"kind": "literal", "values": [value]})) for name, value in _FRESH.items()
    }
    if (
        not inputs
        or len(inputs) > _FEW
        or len(published) != len(inputs)
        or any(len(one) != 1 for one in state.values())
    ):
        return None
    return _worked_out(case, inputs, tuple(map(str, published)), {name: one[0] for name, one in state.items()})


def _worked_out(
    case: CaseLine,
    inputs: tuple[float, ...],
    published: tuple[str, ...],
    state: Mapping[str, float],
) -> TrainedLayer | None:
    """Return it with the arithmetic done; None where the batch is constant or the root is of nothing above zero."""
    mean = math.fsum(inputs) / len(inputs)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in inputs) / len(inputs))
    inside = state["moving_variance"] + case.configuration.epsilon
    if not deviation or inside <= 0:
        return None
    return TrainedLayer(
        case=case,
        inputs=inputs,
        published=published,
        state=state,
        equations=tuple(_equations(inputs, state, case.configuration.epsilon)),
        mean=mean,
        deviation=deviation,
        by_batch=tuple((value - mean) / deviation for value in inputs),
    )


def _equations(inputs: Iterable[float], state: Mapping[str, float], epsilon: float) -> Iterator[Equation]:
    gamma, beta, mean, variance = (state[name] for name in _FRESH)
    root = math.sqrt(variance + epsilon)
    yield Equation(symbol="√(V + ε)", numbers=f"√({variance:.6g} + {epsilon:g})", value=root)
    for value in inputs:
        numbers = f"{gamma:.6g}·({value:g} − {mean:.6g})/{root:.6g}" + (f" + {beta:.6g}" if beta else "")
        yield Equation(symbol=f"y of {value:g}", numbers=numbers, value=gamma * (value - mean) / root + beta)


def _literal(recipe: SpecMapping | Any) -> tuple[float, ...]:
    """Return the values of a recipe that spells them out; none where it does not."""
    if not isinstance(recipe, Mapping) or recipe.get("kind") != "literal":
        return ()
    values = list(_flat(recipe.get("values")))
    return tuple(float(value) for value in values) if all(isinstance(value, int | float) for value in values) else ()


def _flat(values: Any) -> Iterator[Any]:
    if isinstance(values, list | tuple):
        for value in values:
            yield from _flat(value)
    elif values is not None:
        yield values


def _signed(value: float) -> str:
    """Return a number with the minus sign of print."""
    return f"{value:.3g}".replace("-", "−")
