"""From a cold pass to a warm one, and what its caller does with its results: pure functions of what was noted on the way."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from conformance.runfile.throughput_structs import Measurement, WarmUp

#: A call is warm that takes no more than this times what calls take in the end.
WARM = 1.25
#: Parts by which the bandwidths of one table may differ before a row says so.
APART = 0.10


def calls_until_warm(calls: Sequence[float], steady: float) -> int | None:
    """Return how many calls come before the first warm one; None where none of those that are told is."""
    return next((number for number, seconds in enumerate(calls) if seconds <= WARM * steady), None)


def held_ratio(warmed: WarmUp) -> float | None:
    """Return how many times as long a call takes whose caller still holds the results before; None: not measured."""
    return warmed.held / warmed.freed if warmed.held is not None and warmed.freed else None


def bandwidth_of(measurement: Measurement) -> float | None:
    """Return the bytes a second by which its fractions were formed, over all of its batches; None: not recorded."""
    told = [2 / (1 / batch.before + 1 / batch.after) for batch in measurement.batches if batch.before and batch.after]
    return median(told) if told else None


def apart(bandwidth: float | None, of_table: float | None) -> float | None:
    """Return by which part a bandwidth differs from that of its table; None where that is no more than noise."""
    if bandwidth is None or not of_table:
        return None
    part = bandwidth / of_table - 1
    return part if abs(part) > APART else None
