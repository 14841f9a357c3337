"""Which dialect an implementation speaks, read from its numbers alone.

The moving values are linear in the initial value and the batches' statistics, so impulses placed one per step
and feature show every weight. All hypotheses of a finite set predict the moving values after the last step;
the one that fits, if exactly one does, is observed. What normalizes in training is read from the outputs in
the same way.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from conformance.cause import weights_text
from conformance.dialect import CANONICAL, Dialect, shown
from conformance.operations.batch_norm.reference import batch_statistics, corrected
from conformance.operations.decomposition import made_of
from conformance.operations.expected import Expected
from conformance.operations.moving import moved, weights
from conformance.operations.operation import Pass, Reference
from conformance.operations.score import fit
from conformance.operations.situation import Situation
from conformance.precision import Precision, precision

Array = np.ndarray[Any, np.dtype[Any]]

UPDATES: tuple[Literal["exponential", "zero_debiased", "first_batch", "cumulative", "none"], ...] = (
    "exponential",
    "zero_debiased",
    "first_batch",
    "cumulative",
    "none",
)
MOVING = ("moving_mean", "moving_variance")
#: What may be averaged in place of the variance: Lasagne and Theano kept the inverse of the root.
AVERAGED = ("variance", "standard deviation", "inverse standard deviation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One hypothesis about the moving values."""

    update: Literal["exponential", "zero_debiased", "first_batch", "cumulative", "none"]
    decay: Literal["as configured", "inverted"]
    moving_correction: int
    averaged: str


def readings() -> Iterator[Reading]:
    """Yield every hypothesis; those that a constant decay cannot tell apart are one."""
    for update, correction, averaged in itertools.product(UPDATES, (0, 1), AVERAGED):
        turned: tuple[Literal["as configured", "inverted"], ...] = ("as configured", "inverted")
        if update in ("cumulative", "none"):
            turned = ("as configured",)
        for decay in turned:
            if update == "none" and (correction or averaged != "variance"):
                continue
            yield Reading(update=update, decay=decay, moving_correction=correction, averaged=averaged)


def observe_moving(batches: Sequence[Situation], after: Mapping[str, Array], worked: Precision) -> Reading | None:
    """Return the one reading under which the batches lead from the first state to the state `after`, if one does.

    A reading fits within k·8u(1 + |values|), the rounding of k updates.
    """
    fitting = [reading for reading in readings() if _fits(reading, batches, after, worked)]
    return fitting[0] if len(fitting) == 1 else None


def _fits(reading: Reading, batches: Sequence[Situation], after: Mapping[str, Array], worked: Precision) -> bool:
    mean, variance = _predicted(reading, batches)
    for index, (name, predicted) in enumerate(zip(MOVING, (mean, variance), strict=True)):
        observed = after[name].reshape(-1).astype(np.float64)
        unit = max(worked.unit, precision(after[name].dtype.name).unit)
        if not (np.abs(observed - predicted) <= _allowed(batches, index, unit)).all():
            return False
    return True


def _magnitudes(batches: Sequence[Situation], index: int) -> list[Array]:
    name = MOVING[index]
    statistics = [batch_statistics(batch.x) for batch in batches]
    return [batches[0].state[name], *((batch.mean, 2 * batch.variance)[index] for batch in statistics)]


def _predicted(reading: Reading, batches: Sequence[Situation]) -> tuple[Array, Array]:
    decay = batches[0].configuration.decay
    decay = decay if reading.decay == "as configured" else 1 - decay
    dialect = replace(CANONICAL, update=reading.update, moving_correction=reading.moving_correction)
    mean, variance = batches[0].state["moving_mean"], batches[0].state["moving_variance"]
    with np.errstate(all="ignore"):
        kept = _transformed(variance, reading.averaged)
        for trained, batch in enumerate(batches):
            weight = weights(dialect, decay, trained, batch.x.dtype.type)
            statistics = batch_statistics(batch.x)
            mean = moved(mean, statistics.mean, weight)
            entering = _transformed(corrected(statistics, reading.moving_correction), reading.averaged)
            kept = moved(kept, entering, weight)
        return mean, _restored(kept, reading.averaged)


def _transformed(variance: Array, averaged: str) -> Array:
    match averaged:
        case "standard deviation":
            return np.sqrt(variance)
        case "inverse standard deviation":
            return np.asarray(1 / np.sqrt(variance))
        case _:
            return variance


def _restored(kept: Array, averaged: str) -> Array:
    match averaged:
        case "standard deviation":
            return np.asarray(kept**2)
        case "inverse standard deviation":
            return np.asarray(1 / kept**2)
        case _:
            return kept


def observe(passes: Sequence[Pass], train: Reference, worked: Precision) -> dict[str, str]:
    """Return the fields of the dialect that the numbers of consecutive train steps show, by name.

    A field that no hypothesis explains, or more than one, is "unknown".
    """
    if any(step.refused for step in passes):
        return {}
    observed = {"normalizes_with": _normalizer(passes, train, worked)}
    if any(name not in passes[-1].after for name in ("moving_mean", "moving_variance")):
        return observed
    reading = observe_moving([step.situation for step in passes], passes[-1].after, worked)
    if reading is None:
        weights_seen = _weights_seen([step.situation for step in passes], passes[-1].after, worked)
        return observed | dict.fromkeys(("update", "decay", "moving_correction", "averaged"), "unknown") | weights_seen
    return observed | {
        "update": reading.update,
        "decay": reading.decay,
        "moving_correction": str(reading.moving_correction),
        "averaged": reading.averaged,
    }


def _weights_seen(batches: Sequence[Situation], after: Mapping[str, Array], worked: Precision) -> dict[str, str]:
    """Return what the last moving values are made of: the initial values and each step's batch statistics."""
    canonical = Reading(update="exponential", decay="as configured", moving_correction=0, averaged="variance")
    statistics = [batch_statistics(batch.x) for batch in batches]
    weights_by_name = []
    for index, (name, right) in enumerate(zip(MOVING, _predicted(canonical, batches), strict=True)):
        terms = {"initial": batches[0].state[name]}
        terms |= {f"step {step}": (batch.mean, batch.variance)[index] for step, batch in enumerate(statistics, start=1)}
        expected = Expected(
            value=right,
            bound=_allowed(batches, index, worked.unit),
            magnitude=np.full(right.shape, np.inf),
            in_domain=np.ones(right.shape, dtype=bool),
        )
        sums = made_of(after[name].reshape(-1), expected, terms, worked)
        if sums is not None:
            weights_by_name.append(weights_text({"quantity": name, **sums.parameters}))
    return {"weights": "; ".join(weights_by_name)}


def _allowed(batches: Sequence[Situation], index: int, unit: float) -> Array:
    """Return k·8u(1 + |values|), the rounding of k updates."""
    largest = np.max([np.abs(magnitude) for magnitude in _magnitudes(batches, index)], axis=0)
    return np.asarray(len(batches) * 8 * unit * (1 + largest))


def _normalizer(passes: Sequence[Pass], train: Reference, worked: Precision) -> str:
    """Return what normalized, by the bounds of sound arithmetic or, where none holds, of the input's own."""
    for arithmetic in (worked, precision(passes[0].situation.configuration.dtype)):
        fitting = [
            name
            for name, dialect in _NORMALIZERS.items()
            if all(_normalizes(step, dialect, train, arithmetic) for step in passes)
        ]
        if len(fitting) == 1:
            return fitting[0]
    return "unknown"


def _normalizes(step: Pass, dialect: Dialect, train: Reference, worked: Precision) -> bool:
    # Each step from the state it began with: the weights of the averages play no part.
    expected = train(replace(step.situation, dialect=dialect), worked)["output"]
    return step.output is not None and fit(step.output, expected, worked).within


#: What may normalize in training, by what an observation calls it.
_NORMALIZERS: Mapping[str, Dialect] = {
    shown("normalizes_with", asdict(dialect)): dialect
    for dialect in (
        CANONICAL,
        replace(CANONICAL, normalizing_correction=1),
        replace(CANONICAL, normalizes_with="moving_before"),
        replace(CANONICAL, normalizes_with="moving_after"),
    )
}
