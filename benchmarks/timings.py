"""Every timed row beside `timeit`, quiet and busy: `python benchmarks/timings.py [--python GROUP=PATH]... [OPTIONS]`.

`conformance throughput` runs once on the machine as it is and once beside a process that spins on one core; then each row
that has a number in either is timed again by `timeit`, in a fresh process of its own, with nothing of the suite's timing.
Prints a line a row and what the two runs are to keep:

    quiet   every scored row within 15 % of the independent figure; at most 2 % of the rows invalid
    busy    no scored row off by more than 15 %; at least 80 % of the rows scored or honestly void

Other options go to `conformance throughput`: `--tier smoke`, `--implementation GLOB`, `--within 180`. Nothing else may use the
machine meanwhile. `--from FOLDER` prints the table again of what an earlier call left in the folder `.conformance/timings`.
"""

from __future__ import annotations

import functools
import json
import os
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
#: It ends with who started it.
SPIN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    pass"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One pass of one cell: the independent seconds of a call, and its lines in both runs."""

    name: str
    alone: float | None
    quiet: ThroughputLine | None
    busy: ThroughputLine | None

    def off(self, line: ThroughputLine | None) -> float | None:
        """Return by what part a line's seconds differ from the independent ones; None without both."""
        if line is None or line.measurement is None or self.alone is None:
            return None
        return line.measurement.seconds / self.alone - 1


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
    figures = {}
    for run in (read(OUT / "quiet.jsonl"), read(OUT / "busy.jsonl")):
        for line in run.throughput:
            if line.measurement is not None and line.timed not in figures:
                figures[line.timed] = independent(run, line, pythons)
                print(f"  {line.timed}: {figures[line.timed]}", flush=True)
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
    """Return the median seconds of a call by `timeit` in a fresh process; None where it failed."""
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
    alone: Mapping[str, float | None] = json.loads((folder / "alone.json").read_text(encoding="utf-8"))
    names = dict.fromkeys([*quiet, *busy])
    return [Row(name=name, alone=alone.get(name), quiet=quiet.get(name), busy=busy.get(name)) for name in names]


def print_table(rows: Sequence[Row]) -> None:
    """Print a line a row, and the bars."""
    print(f"{'timeit':>9} {'quiet':>24} {'busy':>24}  row")
    for row in rows:
        alone = "" if row.alone is None else f"{1000 * row.alone:.3g} ms"
        print(f"{alone:>9} {told(row, row.quiet):>24} {told(row, row.busy):>24}  {row.name}")
    quiet = [row for row in rows if row.quiet is not None]
    busy = [row for row in rows if row.busy is not None]
    off = [row.off(row.quiet) for row in quiet if scored(row.quiet)]
    print(f"quiet: {near(off)} of {len(off)} scored rows within {NEAR:.0%} of the independent figure")
    print(f"quiet: {share(quiet, 'quiet', ('invalid',))} of the rows invalid (at most 2 %)")
    off = [row.off(row.busy) for row in busy if scored(row.busy)]
    print(f"busy: {near(off)} of {len(off)} scored rows within {NEAR:.0%} of the independent figure")
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


def near(off: Sequence[float | None]) -> int:
    """Return how many differ by no more than is allowed."""
    return sum(part is not None and abs(part) <= NEAR for part in off)


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
