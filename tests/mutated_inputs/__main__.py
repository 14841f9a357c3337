"""Tries spoiled inputs and prints what failed, hung or grew."""

from __future__ import annotations

import os
import resource
import sys

from tests.mutated_inputs.attempts import attempts


def main(kind: str, count: int, seed: int = 1) -> None:
    """Try so many, and tell what failed, hung or grew."""
    slowest, failed = 0.0, 0
    for number, (spoiled, failure, seconds) in enumerate(attempts(kind, seed, count), 1):
        slowest = max(slowest, seconds)
        if failure:
            failed += 1
            print(f"--- {number}: {spoiled!r}\n{failure}", flush=True)
        if number % 5_000 == 0 or number == count:
            held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(
                f"{kind}, seed {seed}: {number} tried, {failed} failed, slowest {slowest:.2f} s, {held:.2f} GiB",
                flush=True,
            )


os.nice(19)
main(sys.argv[1], *map(int, sys.argv[2:]))
