"""Numbers that leave the range of a precision: where they may, and what a step gives where they silently do.

An overflow may be loud, never silent (clauses 21.5 and 21.8). `domains` says where a number that is not finite is no
deviation; the hypotheses say what the finite, wrong number is made of.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.cause import because
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.situation import Intermediate, Overflow, Power, Situation
from conformance.precision import Precision, precision, rounded, working

Array = np.ndarray[Any, np.dtype[Any]]

#: Between these a cube of the root and of its reciprocal, which automatic differentiation forms, stays in range.
ROOT_RANGE = {
    "float16": (2.0**-5, 2.0**5),
    "bfloat16": (2.0**-40, 2.0**40),
    "float32": (2.0**-40, 2.0**40),
    "float64": (2.0**-320, 2.0**320),
}

#: What an intermediate is called.
_WORDS: Mapping[Intermediate, str] = {
    "square": "the square of a deviation",
    "sum": "the sum of the squared deviations",
    "one-pass-sum": "the sum of the squared values",
    "clipped": "the batch variance, which is cut off,",
    "moving": "the moving variance",
    "root-cubed": "the cube of the root",
    "root-squared": "the square of the root",
}
#: Of a dtype, the arithmetic of less range that it may be computed in.
_NARROWER = {"float16": "float16", "float64": "float32"}
_POWERS: Mapping[Power, int] = {"root-cubed": 3, "root-squared": 2}
_VARIANCES: tuple[Intermediate, ...] = ("sum", "square", "one-pass-sum", "clipped")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reach:
    """How large the terms of a step are, each of shape (C,)."""

    #: Whether statistics are taken of x.
    measured: bool
    #: Σ|x| and Σx².
    sums: Array
    squares: Array
    #: max|x|.
    largest: Array
    #: √(v+ε).
    root: Array
    gamma: Array
    beta: Array
    #: Σ|g|; 0 where no gradients are asked for.
    pull: Array


def domains(reach: Reach, worked: Precision) -> dict[str, Array]:
    """Return, by quantity and for each feature, whether every intermediate stays within the range of the precision.

    Under "" stands what holds for a quantity that is not named. Of a feature that holds a NaN or an infinity the
    pattern of clause 18 is asked for, whatever the range.
    """
    largest = worked.largest
    low, high = ROOT_RANGE[worked.name]
    # Σx² of finite values may be infinite where no float type is wider than the one that is judged, and the root then too.
    beyond = np.isfinite(reach.largest) & ~np.isfinite(reach.squares)
    finite = np.isfinite(reach.largest) & (np.isfinite(reach.root) | beyond) & np.isfinite(reach.pull)
    means, variances = reach.sums < largest, (reach.squares < largest) | (not reach.measured)
    inverse = 1 / reach.root
    scale = np.abs(reach.gamma) * inverse
    normal = variances & (reach.root**2 > 4 * worked.tiny) & (reach.root**2 < largest)
    outputs = normal & (2 * scale * reach.largest + np.abs(reach.beta) < largest)
    strongest = reach.pull * np.maximum(1, reach.largest) * np.maximum(1, np.abs(reach.gamma))
    gradients = variances & (reach.root > low) & (reach.root < high) & (strongest * np.maximum(1, inverse) < largest)
    named = {
        "batch_mean": means,
        "moving_mean": means,
        "renorm_mean": means,
        "batch_variance": variances,
        "moving_variance": variances,
        "moving_deviation": variances,
        "renorm_deviation": variances,
        "output": outputs,
        "grad_beta": reach.pull < largest,
        "": gradients,
    }
    return {name: np.asarray(inside | ~finite) for name, inside in named.items()}


def inverse(
    situation: Situation, deviation: Array, center: Array, variance: Array, root: Array, of_batch: bool
) -> Array:
    """Return r = 1/root, where the variance is finite; 0 where a hypothesis has it out of range, and else NaN.

    `of_batch`: whether the variance is the batch's, whose squares were summed, or a moving one.
    """
    result = np.where(np.isposinf(variance), np.nan, 1 / root)
    for overflow in situation.overflows:
        result = np.where(_beyond(overflow, deviation, center, variance, of_batch), 0.0, result)
    return result


def _beyond(overflow: Overflow, deviation: Array, center: Array, variance: Array, of_batch: bool) -> Array | bool:
    """Return in which features the variance is infinite under that hypothesis, and finite else."""
    match overflow:
        case Overflow(intermediate="square", worked=worked) if of_batch:
            return np.asarray(np.isfinite(variance) & (np.square(deviation).max(axis=0, initial=0) > worked.largest))
        case Overflow(intermediate="sum", worked=worked) if of_batch:
            return np.asarray(np.isfinite(variance) & (variance * len(deviation) > worked.largest))
        case Overflow(intermediate="one-pass-sum", worked=worked) if of_batch:
            return np.asarray(np.isfinite(variance) & (np.square(deviation + center).sum(axis=0) > worked.largest))
        case Overflow(intermediate="moving", worked=worked) if not of_batch:
            return np.asarray(variance > worked.largest)
        case _:
            return False


def clipped(situation: Situation, variance: Array) -> Array:
    """Return the batch variance, under that hypothesis at most the largest number of the precision."""
    for overflow in situation.overflows:
        if overflow.intermediate == "clipped":
            variance = np.minimum(variance, overflow.worked.largest)
    return variance


def share(situation: Situation, variance: Array, inverse_root: Array) -> Array | float:
    """Return the share of the gradient through the variance that is left; 1 without hypothesis.

    It is what rounding to the range of the precision leaves of r² or r³; nothing goes through a variance that is cut off.
    """
    result: Array | float = 1.0
    for overflow in situation.overflows:
        result = result * _share(overflow, variance, inverse_root)
    return result


def _share(overflow: Overflow, variance: Array, inverse_root: Array) -> Array | float:
    match overflow:
        case Overflow(intermediate="clipped", worked=worked):
            return np.where(variance < worked.largest, 1.0, 0.0)
        case Overflow(intermediate="root-squared" | "root-cubed" as power, worked=worked, flushed=flushed):
            exact = inverse_root ** _POWERS[power]
            held = rounded(exact, worked.name).astype(exact.dtype)
            lost = exact < worked.tiny
            return np.where(lost, 0.0 if flushed else held / exact, 1.0)
        case _:
            return 1.0


def overflows(base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield what may silently have left the range of the precision, or of a narrower one that may be computed in."""
    configuration = base.configuration
    right = working(configuration.dtype)
    # The range of bfloat16 is that of float32.
    narrower = precision(_NARROWER[configuration.dtype]) if configuration.dtype in _NARROWER else None
    for power in _POWERS:
        for flushed in (True, False):
            yield _overflow(base, power, right, None, flushed)
    for worked in (right,) if narrower is None else (right, narrower):
        arithmetic = None if worked == right else worked
        for intermediate in _VARIANCES:
            yield _overflow(base, intermediate, worked, arithmetic)
    stored = precision(base.dialect.statistics_dtype or configuration.parameter_dtype)
    yield _overflow(base, "moving", stored, None)
    if narrower is not None:
        yield _overflow(base, "moving", narrower, narrower)


def _overflow(
    base: Hypothesis,
    intermediate: Intermediate,
    worked: Precision,
    arithmetic: Precision | None,
    flushed: bool = False,
) -> Hypothesis:
    overflow = Overflow(intermediate=intermediate, worked=worked, flushed=flushed, arithmetic=arithmetic)
    return replace(
        base,
        cause=because("intermediate-overflow", intermediate=_WORDS[intermediate], dtype=worked.name),
        change_situation=functools.partial(_leaving, overflow),
        only=frozenset({"grad_input"}) if intermediate in _POWERS else frozenset(),
    )


def _leaving(overflow: Overflow, situation: Situation) -> Situation | None:
    """Return the situation in which that intermediate leaves the range; None where it stays within.

    And where it leaves the wider range that is called for as well: then nothing tells that it was the narrower.
    """
    with np.errstate(all="ignore"):
        if not _leaves(overflow, situation):
            return None
        right = working(situation.configuration.dtype)
        if overflow.arithmetic is not None and _leaves(replace(overflow, worked=right), situation):
            return None
        return replace(situation, overflows=(*situation.overflows, overflow))


def _leaves(overflow: Overflow, situation: Situation) -> bool:
    """Return whether the intermediate leaves the range in a feature of the whole batch."""
    worked, x = overflow.worked, situation.x
    if overflow.intermediate == "moving":
        held = (value for name, value in situation.state.items() if "variance" in name)
        return any(bool((value > worked.largest).any()) for value in held)
    if not x.size or not _near(overflow, situation):
        return False
    squares = np.square(x - x.mean(axis=0))
    variance = squares.mean(axis=0)
    match overflow.intermediate:
        case "square":
            return bool((squares > worked.largest).any())
        case "sum":
            return bool((variance * len(x) > worked.largest).any())
        case "one-pass-sum":  # where that of the deviations leaves the range, this one says no more
            beyond = np.square(x).sum(axis=0) > worked.largest
            return bool((beyond & (variance * len(x) <= worked.largest)).any())
        case "clipped":
            return bool((variance > worked.largest).any())
        case power:
            root = np.sqrt(variance + situation.configuration.epsilon)
            return bool((root ** _POWERS[power] > 1 / worked.tiny).any())


def _near(overflow: Overflow, situation: Situation) -> bool:
    """Return whether the largest of all numbers comes near the end of the range: of most batches this is all it takes."""
    spread = 2 * np.nan_to_num(np.abs(situation.x), nan=0, posinf=0).max(initial=0)
    match overflow.intermediate:
        case "root-cubed" | "root-squared" as power:
            root = spread + situation.configuration.epsilon**0.5
            return bool(root ** _POWERS[power] > 1 / overflow.worked.tiny)
        case _:
            return bool(spread * spread * len(situation.x) > overflow.worked.largest)
