"""Every timed row beside `timeit`, quiet and busy: `python benchmarks/timings.py [--python GROUP=PATH]... [OPTIONS]`.

`conformance throughput` runs once on the machine as it is and once beside a process that spins on one core; then each row
that has a number in either is timed again by `timeit`, in fresh processes of its own, with nothing of the suite's timing.
One call may take half as long again in one process as in the next, where most of it is the kernel handing out memory. So
there are several, each after all other rows', and the independent figure is their median, told with the least and the
most. Prints a line a row and what the two runs are to keep:

    quiet   every scored row within 15 % of the independent figure; at most 2 % of the rows invalid
    busy    no scored row off by more than 15 %; at least 80 % of the rows scored or honestly void

A row most of whose own processes are not within half of those 15 % of their median has no figure as certain as that, and is
counted apart.

Other options go to `conformance throughput`: `--tier smoke`, `--implementation GLOB`, `--within 180`. Nothing else may use the
machine meanwhile. `--from FOLDER` prints the table again of what an earlier call left in the folder `.conformance/timings`.
"""

from __future__ import annotations

import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from conformance.protocol import Configuration
from conformance.reference.inputs import inputs_of
from conformance.runfile.reading import read
from conformance.runfile.run import Run
from conformance.runfile.throughput_structs import ThroughputLine
from conformance.spec.case import Case
from conformance.spec.locations import adapter_files
from conformance.throughput.running import load_timed

ROOT = Path(__file__).parents[1]
OUT = Path(".conformance", "timings")
NEAR = 0.15
#: Processes in which each row is timed alone.
PROCESSES = 5
#: It ends with who started it.
SPIN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    pass"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One pass of one cell: the seconds of a call in each process of its own, and its lines in both runs."""

    name: str
    alone: tuple[float, ...]
    quiet: ThroughputLine | None
    busy: ThroughputLine | None

    def off(self, line: ThroughputLine | None) -> float | None:
        """Return by what part a line's seconds differ from the independent ones; None without both."""
        if line is None or line.measurement is None or not self.alone:
            return None
        return line.measurement.seconds / statistics.median(self.alone) - 1

    @property
    def steady(self) -> bool:
        """Whether most of its own processes are within half of what is allowed of their median."""
        if not self.alone:
            return False
        middle = statistics.median(self.alone)
        return 2 * sum(abs(seconds / middle - 1) <= NEAR / 2 for seconds in self.alone) > len(self.alone)


def main(words: Sequence[str]) -> None:
    """Measure, unless a folder of earlier measurements is named, and print the table."""
    if "--from" in words:
        folder = Path(words[words.index("--from") + 1])
        print_table(rows_of(folder))
        return
    OUT.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    timed("quiet", words)
    print(f"quiet: {time.monotonic() - started:.0f} s", flush=True)
    with spinning():
        timed("busy", words)
    pythons = dict(words[place + 1].split("=", 1) for place, word in enumerate(words) if word == "--python")
    runs = (read(OUT / "quiet.jsonl"), read(OUT / "busy.jsonl"))
    measured = {line.timed: (run, line) for run in runs for line in run.throughput if line.measurement is not None}
    figures: dict[str, list[float]] = {name: [] for name in measured}
    for number in range(PROCESSES):
        print(f"alone: {number + 1} of {PROCESSES} processes a row", flush=True)
        for name, (run, line) in measured.items():
            seconds = independent(run, line, pythons)
            if seconds is not None:
                figures[name].append(seconds)
    (OUT / "alone.json").write_text(json.dumps(figures), encoding="utf-8")
    print_table(rows_of(OUT))


def timed(name: str, words: Sequence[str]) -> None:
    """Run `conformance throughput` with those words."""
    command = [sys.executable, "-P", "-m", "conformance", "throughput", *words, "--out", str(OUT / f"{name}.jsonl")]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


@contextmanager
def spinning() -> Iterator[None]:
    """Let a process spin meanwhile."""
    with subprocess.Popen([sys.executable, "-c", SPIN]) as process:
        try:
            yield
        finally:
            process.kill()


@functools.cache
def timed_cases() -> Mapping[str, Case]:
    """Return the cases that are timed, in this machine's shapes, by id."""
    return {located.case.id: located.case for located in load_timed().cases}


def independent(run: Run, line: ThroughputLine, pythons: Mapping[str, str]) -> float | None:
    """Return the median seconds of a call by `timeit` in one fresh process; None where it failed."""
    (environment,) = [environment for environment in run.environments if environment.id == line.environment]
    case = timed_cases()[line.case]
    configuration: Configuration = case.configuration
    if configuration.shape != line.shape:
        raise SystemExit(f"{line.case}: timed in the shape {line.shape}, and this machine's is {configuration.shape}")
    library = environment.adapter or ""
    file = next(path for path in adapter_files() if library in (path.name, f"{path.parent.name}/{path.name}"))
    request = {
        "adapter": str(file),
        "implementation": line.implementation,
        "mode": line.mode,
        "device": line.device,
        "timed": line.pass_,
        "configuration": asdict(configuration),
        "initial": {name: value.tolist() for name, value in inputs_of(case).initial.items()},
    }
    python = pythons.get(environment.group or "", sys.executable)
    variables = {name: text for name, text in environment.process.items() if "{" not in text}
    done = subprocess.run(
        [python, str(ROOT / "benchmarks" / "one_call.py")],
        input=json.dumps(request), capture_output=True, text=True, check=False,
        env={**os.environ, **variables, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if done.returncode != 0:
        print(f"  {line.timed}: {done.stderr.splitlines()[-1:]}", flush=True)
        return None
    return float(done.stdout.splitlines()[-1])


def rows_of(folder: Path) -> list[Row]:
    """Return the rows of what was measured into the folder."""
    runs = [read(folder / f"{name}.jsonl") for name in ("quiet", "busy")]
    quiet, busy = ({line.timed: line for line in run.throughput if line.pass_} for run in runs)
    alone: Mapping[str, list[float]] = json.loads((folder / "alone.json").read_text(encoding="utf-8"))
    names = dict.fromkeys([*quiet, *busy])
    return [
        Row(name=name, alone=tuple(alone.get(name, ())), quiet=quiet.get(name), busy=busy.get(name)) for name in names
    ]


def print_table(rows: Sequence[Row]) -> None:
    """Print a line a row, and the bars."""
    print(f"{'timeit':>24} {'quiet':>24} {'busy':>24}  row")
    for row in rows:
        print(f"{alone(row):>24} {told(row, row.quiet):>24} {told(row, row.busy):>24}  {row.name}")
    quiet = [row for row in rows if row.quiet is not None]
    busy = [row for row in rows if row.busy is not None]
    print(f"quiet: {near(quiet, 'quiet')}")
    print(f"quiet: {share(quiet, 'quiet', ('invalid',))} of the rows invalid (at most 2 %)")
    print(f"busy: {near(busy, 'busy')}")
    print(
        f"busy: {share(busy, 'busy', ('scored', 'launch_bound', 'cached', 'voided'))} scored or honestly void (at least 80 %)"
    )
    reasons: dict[str, int] = {}
    for row in busy:
        for reason in (reason for sample in row.busy.voided for reason in sample):  # type: ignore[union-attr]
            reasons[reason] = reasons.get(reason, 0) + 1
    print(f"busy: void samples by reason: {reasons}")


def scored(line: ThroughputLine | None) -> bool:
    """Return whether a line's number is claimed to be right."""
    return line is not None and line.standing == "scored"


def near(rows: Sequence[Row], which: str) -> str:
    """Return how many scored rows differ by no more than is allowed, and how many have no figure as certain as that."""
    judged = [row for row in rows if scored(getattr(row, which)) and row.steady]
    unsteady = sum(scored(getattr(row, which)) and not row.steady for row in rows)
    off = [row.off(getattr(row, which)) for row in judged]
    count = sum(part is not None and abs(part) <= NEAR for part in off)
    return (
        f"{count} of {len(judged)} scored rows within {NEAR:.0%} of the independent figure; of {unsteady} more the "
        f"processes of their own differ by more than {NEAR / 2:.1%} from their median"
    )


def alone(row: Row) -> str:
    """Return the median of a row's own processes, with the least and the most, in milliseconds."""
    if not row.alone:
        return ""
    low, middle, high = (1000 * seconds for seconds in (min(row.alone), statistics.median(row.alone), max(row.alone)))
    return f"{middle:.3g} ms ({low:.3g} to {high:.3g})"


def share(rows: Sequence[Row], which: str, standings: Sequence[str]) -> str:
    """Return which part of the rows stands so."""
    lines: list[Any] = [getattr(row, which) for row in rows]
    return f"{sum(line.standing in standings for line in lines) / max(1, len(lines)):.1%}"


def told(row: Row, line: ThroughputLine | None) -> str:
    """Return in a few words what a run says of a row: milliseconds, how far off, and how it stands."""
    if line is None:
        return ""
    if line.measurement is None:
        return line.standing
    off = row.off(line)
    return f"{1000 * line.measurement.seconds:.3g} ms {'' if off is None else f'{off:+.0%}'} {line.standing}"


if __name__ == "__main__":
    main(sys.argv[1:])
