"""What disturbed a sample: pure decisions, from what the kernel counted while it was taken and from its own rounds.

A sample is void where any of these holds. Each limit keeps what a disturbance can do to the median below the 15 % within
which a number is promised:

    preempted  a thread was made to leave its core in more than a quarter of the rounds, and for more than a tenth of
               the time. With a quarter of the rounds disturbed, the median is the 67th percentile of the others.
    waited     its threads were ready and had no core for more than a tenth of the time, each of those it used. So
               waiting slows to 1/(1 - 0.1) at most.
    pressure   any thread of the machine was, for more than a tenth of the time: the same, of the machine.
    queue      at both ends others ran or were ready, and together with the cores that it used they are more than
               there are, by more than a quarter of one.
    stolen     the hypervisor took more than a tenth of the processor time that it used.
    uneven     its median is more than √2 times its quickest round. Where a core is shared with one other, a round
               takes twice as long; half of the way from 1 to 2, in ratios, is √2.
    drift      the bandwidths before and after it differ by more than a tenth.

The first three may also be its own doing: a library with more threads than cores waits for itself, on a quiet machine
too, and every user of it with it. They void nothing while everything else used less than a fifth of a core and was not
seen ready; the clock that tells it ticks 100 times a second, so that less is noise.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import harmonic_mean

from conformance.runfile.throughput_structs import Conditions

#: The part of its time for which a sample may have been kept from the cores, and by which bandwidths may differ.
LOST = DRIFT = 0.10
#: The part of the rounds that may have been disturbed.
TOUCHED = 0.25
#: Seconds for which a thread that must leave its core is away: the least slice of Linux's scheduler on two cores and more.
SLICE = 3e-3
#: Cores by which its own and the others' may be more than there are.
SPARE = 0.25
#: Cores that everything else may use before it counts.
IDLE = 0.2
#: The median over the quickest round.
UNEVEN = math.sqrt(2)


class Disturbance(StrEnum):
    """Why a sample is void."""

    PREEMPTED = "preempted"
    WAITED = "waited"
    PRESSURE = "pressure"
    QUEUE = "queue"
    STOLEN = "stolen"
    UNEVEN = "uneven"
    DRIFT = "drift"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidths:
    """Bytes a second before and after a sample, and the conditions under which they were measured."""

    before: float
    after: float
    conditions: tuple[Conditions, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch of calls: the median seconds of one, their quartiles, the quickest round, and how many rounds."""

    seconds: float
    bandwidths: Bandwidths
    quartiles: tuple[float, float] = (0.0, 0.0)
    least: float | None = None
    rounds: int = 1
    conditions: Conditions | None = None

    @property
    def bandwidth(self) -> float:
        """The bandwidth while it ran."""
        return harmonic_mean((self.bandwidths.before, self.bandwidths.after))


def disturbances(batch: Batch) -> tuple[Disturbance, ...]:
    """Return all that disturbed a sample; empty where nothing did."""
    noted = set(_noted(batch.conditions, batch.rounds)) if batch.conditions else set()
    for conditions in batch.bandwidths.conditions:
        noted.update(_noted(conditions, 1))
    if batch.least is not None and batch.seconds > UNEVEN * batch.least:
        noted.add(Disturbance.UNEVEN)
    if drifted(batch.bandwidths.before, batch.bandwidths.after):
        noted.add(Disturbance.DRIFT)
    return tuple(reason for reason in Disturbance if reason in noted)


def drifted(before: float, after: float) -> bool:
    """Return whether two bandwidths differ by more than a tenth of the lesser."""
    return max(before, after) > (1 + DRIFT) * min(before, after)


def _noted(conditions: Conditions, rounds: int) -> Iterable[Disturbance]:
    seconds = conditions.seconds
    if not _alone(conditions):
        away = (conditions.switches or 0) * SLICE
        if (conditions.switches or 0) > TOUCHED * rounds and away > LOST * seconds:
            yield Disturbance.PREEMPTED
        if (conditions.waited or 0.0) > LOST * seconds * max(1.0, conditions.busy):
            yield Disturbance.WAITED
        if (conditions.stalled or 0.0) > LOST * seconds:
            yield Disturbance.PRESSURE
    if conditions.others and conditions.others + conditions.busy > conditions.cores + SPARE:
        yield Disturbance.QUEUE
    if (conditions.stolen or 0.0) > LOST * seconds * max(1.0, conditions.busy):
        yield Disturbance.STOLEN


def _alone(conditions: Conditions) -> bool:
    """Return whether nothing else is known to have used the machine."""
    return conditions.elsewhere is not None and conditions.elsewhere < IDLE and not conditions.others


def never_quiet(voids: Sequence[Sequence[Disturbance]]) -> str:
    """Return in one sentence why there is no number, from what disturbed each of the samples."""
    counts = Counter(reason for reasons in voids for reason in reasons)
    said = ", ".join(f"{counts[reason]} {reason}" for reason in Disturbance if counts[reason])
    return f"this machine was never quiet: {len(voids)} of {len(voids)} samples are void ({said})"
