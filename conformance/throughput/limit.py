"""Seconds in units of the limit: the bytes that must move, over what the memory can move. Pure functions.

    fraction = (tensors · elements · bytes an element) / seconds / bandwidth

of the bandwidth measured on the same machine right before and right after. A fraction is a score only where the
memory is what limits, so that a measurement that says nothing about it is labelled instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from conformance.operations.operation import Traffic
from conformance.precision import dtype_named
from conformance.protocol import Configuration
from conformance.throughput.contention import Batch

#: Above this fraction a call was faster than the memory: it did not do the work, or was not waited for.
POSSIBLE = 1.05
#: A call is launch-bound where so large a part of its time is what the smallest case takes.
LAUNCHING = 0.5
#: A tensor of less than so many last-level caches may stay there by half: the output of one call, which the next writes
#: to again, is then moved half as often as is counted.
HELD = 2
#: A first reading that takes longer than the second by this part of a call computed what the call had not.
LAZY = 0.5
#: Seconds below which the difference of two readings is noise.
NOISE = 2e-4


class Standing(StrEnum):
    """Whether a measurement is a score, and why not."""

    SCORED = "scored"
    #: Most of its time is the same for the smallest case.
    LAUNCH_BOUND = "launch_bound"
    #: Half of a tensor or more can stay in the last-level cache from call to call.
    CACHED = "cached"
    #: It cannot be right.
    INVALID = "invalid"
    #: The machine was never its own: there is no number.
    VOIDED = "voided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fractions:
    """Bytes that must move a second, as parts of the bandwidth."""

    compulsory: float
    streaming: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a measurement beside its batches."""

    #: Bytes of one tensor of the input's size.
    tensor: int
    #: Of the last-level cache, in bytes.
    cache: int
    #: Seconds that the smallest case takes by the same implementation, mode, device and pass; None: not measured.
    launch: float | None = None
    #: Seconds of reading the results, the first time and the second, call by call.
    reads: Sequence[tuple[float, float]] = ()
    #: What the timed call did not give, or gave in another form.
    missing: Sequence[str] = ()


def tensor_bytes(configuration: Configuration) -> int:
    """Return the bytes of one tensor of the input's size; statistics and parameters are too small to count."""
    return math.prod(configuration.shape) * dtype_named(configuration.dtype).itemsize


def fractions_of(traffic: Traffic, tensor: int, batches: Sequence[Batch]) -> Fractions:
    """Return the fractions of the limit: the median over the batches, each against its own bandwidth."""
    share = median(tensor / batch.seconds / batch.bandwidth for batch in batches)
    return Fractions(compulsory=traffic.compulsory * share, streaming=traffic.streaming * share)


def is_lazy(reads: Sequence[tuple[float, float]], seconds: float) -> bool:
    """Return whether results were computed when they were read and not when they were timed.

    This is told by the least difference of the two readings, so that one that was interrupted accuses nobody; one of an
    allocation that is new is as long the second time.
    """
    return bool(reads) and min(first - second for first, second in reads) > max(NOISE, LAZY * seconds)


def standing_of(fractions: Fractions, batches: Sequence[Batch], evidence: Evidence) -> tuple[Standing, str]:
    """Return whether the fractions are a score, and in one sentence why not."""
    seconds = median(batch.seconds for batch in batches)
    if evidence.missing:
        return Standing.INVALID, f"the timed call did not give {', '.join(evidence.missing)}"
    if is_lazy(evidence.reads, seconds):
        return Standing.INVALID, "its results were computed when they were read, which was not timed"
    if evidence.launch is not None and evidence.launch >= LAUNCHING * seconds:
        return Standing.LAUNCH_BOUND, f"{min(1.0, evidence.launch / seconds):.0%} of it is what the smallest case takes"
    if evidence.tensor < HELD * evidence.cache:
        return Standing.CACHED, f"a tensor is {evidence.tensor / evidence.cache:.2g} of the last-level cache"
    if fractions.compulsory > POSSIBLE:
        return Standing.INVALID, f"{fractions.compulsory:.2f} of the bandwidth: faster than the memory can be"
    return Standing.SCORED, ""
