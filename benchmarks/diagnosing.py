"""What judging a deviating cell costs: `python benchmarks/diagnosing.py OUT [--outcomes FILE] [--profile]`.

Judges a fixed sample of the cells of every deliberately wrong implementation under `tests/faults`, writes what was judged
to OUT, a line a cell with every score bit for bit, and prints the milliseconds that a deviating cell took. A change that
is to make judging faster, and nothing else, leaves OUT byte for byte as it was.

With `--outcomes` the cells run once: their outcomes are kept in that file and taken from there the next time. With
`--profile` the functions that took longest are printed as well.
"""

from __future__ import annotations

import argparse
import cProfile
import hashlib
import json
import pickle
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from conformance.execution.execute import execute
from conformance.execution.pool import Workers
from conformance.execution.survey import survey
from conformance.judging.judge import judge
from conformance.outcome import Outcome
from conformance.planning.discovery import keys
from conformance.planning.plan import Cell, Offer, Selection, plan
from conformance.reference.expected import References
from conformance.spec.loader import load
from conformance.spec.locations import spec_folder
from conformance.verdict import Verdict

FAULTS = Path(__file__).parents[1] / "tests" / "faults"
#: Of each file of faults: one cell of so many, chosen by a digest of its id; and every such cell of the cases named.
ADAPTERS = {"planted": 96, "planted_renorm": 8, "masked": 16, "replicas": 5, "derived": 12, "divided": 12}
#: All cells of these, so that a case is judged for many implementations one after the other, as in a run.
WHOLE = (
    "edges.one-value",
    "epsilon.inside-root",
    "gradients.training/features-first",
    "moving.correction",
    "precision.half/float16",
    "precision.mixed/bfloat16",
    "renorm.probe",
)
#: What takes longest to perform, or to explain, and shows what shorter cases show.
LONG = ("determinism*", "degenerate*", "*trained-10*", "*long-chain*", "*slow-decay*", "*impulses/rank-4*")

Performed = Sequence[tuple[Cell, Sequence[Outcome]]]


def performed() -> Performed:
    """Return the sample's cells with what happened in each, in the order of a run."""
    spec = load(spec_folder())
    asked = keys({}, [f"{FAULTS / name}.py:ADAPTER" for name in ADAPTERS], grouped=False)
    with tempfile.TemporaryDirectory() as folder, Workers(1, Path(folder)) as workers:
        offers = survey(asked, [entry.case.configuration for entry in spec.cases], workers)
        cells = list(plan(spec.cases, [offer for offer in offers if isinstance(offer, Offer)], Selection()))
        return list(execute([cell for cell in cells if _sampled(cell)], workers))


def _sampled(cell: Cell) -> bool:
    case = cell.case.id
    if cell.unsupported or any(fnmatchcase(case, glob) for glob in LONG):
        return False
    rate = ADAPTERS[Path(cell.key.adapter).stem]
    digest = int.from_bytes(hashlib.blake2b(cell.id.encode(), digest_size=4).digest())
    return digest % rate == 0 or case in WHOLE


def judged(cells: Performed) -> Iterator[tuple[Cell, Any, float]]:
    """Yield each cell with its judgement and the seconds of processor time that it took; references are kept from cell to cell."""
    references = References()
    for cell, outcomes in cells:
        started = time.process_time()
        judgement = judge(cell, outcomes, references)
        yield cell, judgement, time.process_time() - started


def line(cell: Cell, judgement: Any) -> str:
    """Return the judgement as one line, its numbers to the last bit."""
    fields = {**asdict(judgement), "cell": cell.id}
    for step in fields["steps"]:
        del step["seconds"]
    return json.dumps(_exact(fields), sort_keys=True)


def _exact(value: Any) -> Any:
    match value:
        case bool() | int() | str() | None:
            return value
        case float():
            return value.hex()
        case dict():
            return {str(name): _exact(entry) for name, entry in value.items()}
        case list() | tuple():
            return [_exact(entry) for entry in value]
        case _:
            return str(value)


def report(times: Sequence[tuple[Cell, float]]) -> None:
    """Print how long the cells took, all together and by what their implementations are of."""
    groups = {"all": [seconds for _, seconds in times]}
    for cell, seconds in times:
        groups.setdefault(cell.key.name, []).append(seconds)
    print(f"{'deviating cells':32} {'number':>6} {'median':>9} {'mean':>9} {'9 in 10':>9} {'total':>9}")
    for name, group in groups.items():
        ordered = sorted(group)
        numbers = (statistics.median(ordered), statistics.mean(ordered), ordered[len(ordered) * 9 // 10])
        shown = " ".join(f"{number * 1e3:6.1f} ms" for number in numbers)
        print(f"{Path(name).name:32} {len(group):6} {shown} {sum(group):7.1f} s")


def main(out: Path, outcomes: Path | None, profile: bool) -> None:
    """Judge the sample, write it to `out` and print what it cost."""
    if outcomes is not None and outcomes.is_file():
        cells = pickle.loads(outcomes.read_bytes())  # noqa: S301 - written by this script
    else:
        cells = performed()
        if outcomes is not None:
            outcomes.write_bytes(pickle.dumps(cells))
    profiler = cProfile.Profile()
    if profile:
        profiler.enable()
    entries = list(judged(cells))
    profiler.disable()
    out.write_text("".join(f"{line(cell, judgement)}\n" for cell, judgement, _ in entries))
    report([(cell, seconds) for cell, judgement, seconds in entries if judgement.verdict is Verdict.DEVIATES])
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(45)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--outcomes", type=Path)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    main(arguments.out, arguments.outcomes, arguments.profile)
