"""Tries all that may be given wrongly and prints what was not met as it should be."""

from __future__ import annotations

import sys
from collections import Counter

from tests.bad_inputs.trying import everything, tried


def main(*commands: str) -> None:
    """Try all, or those of the commands named, and tell."""
    counts: Counter[str] = Counter()
    failed = 0
    for bad, fault in tried(bad for bad in everything() if not commands or bad.kind[0] in commands):
        counts[bad.kind[0]] += 1
        if fault:
            failed += 1
            print(f"--- {' '.join(bad.kind)} {bad.value[:60]!r}: {fault}", flush=True)
    print(dict(counts), f"{sum(counts.values())} tried, {failed} failed")


main(*sys.argv[1:])
