"""What a comparison of speed finds: `python benchmarks/regressions.py aa|slowed SUBJECT [COMPARISONS] [CASE-GLOB]...`.

SUBJECT is `torch=PYTHON`, timed eager, or `jax=PYTHON`, timed jitted: an interpreter with the library, pytest and
pytest-benchmark; or `numpy`, timed in the interpreter at hand. With `aa` both sides are the same: every alarm is
false; with `slowed` the new side takes a tenth longer at every call: every cell that is not called slower is missed.
Campaigns of screening and confirmation go on until so many comparisons are made; each finding is printed, then the
rates. Nothing else may use the machine meanwhile, or the core that it is pinned to: `taskset -c 1 python …` gives the library
one thread, whose noise is less. 300 comparisons take about 40 minutes.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from conformance.planning.plan import Selection
from conformance.throughput.comparing import Finding, Pace, false_alarms
from conformance.throughput.pairing import compared, surveyed
from conformance.throughput.telling import pace

ROOT = Path(__file__).parents[1]
CASES = ("throughput.*/128x64/float32", "throughput.*/8x64x56x56/float32")
#: Detection is promised where the cell's own noise is at most this.
QUIET = 0.02


def main(what: str, subject: str, comparisons: int, cases: tuple[str, ...]) -> None:
    """Compare until so many comparisons are made, and print what was found."""
    name, _, python = subject.partition("=")
    selection = Selection(cases=cases, modes=("compiled",) if name == "jax" else ("eager",))
    interpreters = {name: python} if python else {}
    ours = f"{ROOT / 'adapters' / name / 'batch_norm.py'}:ADAPTER"
    theirs = f"{ROOT / 'benchmarks' / f'slowed_{name}'}.py:ADAPTER" if what == "slowed" else ours
    base = surveyed(interpreters, (ours,), selection)
    new = surveyed(interpreters, (theirs,), selection)
    found: list[Finding] = []
    started = time.monotonic()
    while len(found) < comparisons:
        found.extend(compared(base, new))
        said = ", ".join(f"{sum(each.pace is one for each in found)} {one.value}" for one in Pace)
        print(f"{time.monotonic() - started:.0f} s: {len(found)} comparisons: {said}", flush=True)
    for each in sorted(found, key=lambda each: each.ratio):
        print(
            f"  {pace(each):12} {each.ratio:.3f} ({each.low:.3f} to {each.high:.3f}), sees +{each.detectable:.1%}",
            each.subject,
        )
    print(f"median slowdown that would have been seen: +{median(each.detectable for each in found):.1%}")
    if what == "aa":
        alarms = sum(each.pace in (Pace.SLOWER, Pace.FASTER) for each in found)
        print(
            f"{alarms} false alarms in {len(found)}: at most {false_alarms(alarms, len(found)):.2%} with 95 % confidence"
        )
    else:
        quiet = [each for each in found if each.noise <= QUIET]
        seen = sum(each.pace is Pace.SLOWER for each in quiet)
        print(f"+10 % found in {seen} of {len(quiet)} cells whose own noise is at most {QUIET:.0%}")
        every = sum(each.pace is Pace.SLOWER for each in found)
        print(f"and in {every} of all {len(found)}")


if __name__ == "__main__":
    mode, library, *rest = sys.argv[1:]
    main(mode, library, int(rest[0]) if rest else 400, tuple(rest[1:]) or CASES)
