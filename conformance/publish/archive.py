"""The folder of published runs: one folder by date and machine each, with its run files compressed by xz.

A run file is kept whole, since everything else is made from it; of a run of the standard tier, xz leaves a
twenty-fifth.
"""

from __future__ import annotations

import contextlib
import lzma
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from conformance.errors import UsageError
from conformance.files.whole import write_whole
from conformance.runfile.observed import in_order
from conformance.runfile.reading import read_all
from conformance.runfile.run import Run

#: Bytes that one published run may have: a repository keeps it forever.
LIMIT = 10_000_000
SUFFIX = ".jsonl.xz"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@contextlib.contextmanager
def added(
    paths: Sequence[Path], reports: Path, *, machine: str | None = None, narrowed: bool = False
) -> Iterator[Path]:
    """Give a folder of the runs in those files, which is published where the block ends without an exception.

    So that a run of which no site can be built is not kept: it would stand in the way of every later one. Raises
    `UsageError`. Refused are runs that did not end, do not belong together, are published already, judge no cell and have
    none beside them that does, and unless `narrowed`, that were narrowed to some cells.
    """
    runs = read_all(paths)
    judging = in_order(runs, partial=False)
    if judging[0].times:
        raise UsageError(f"{judging[0].path}: judges no cell; publish what was timed with the run that judged")
    for run in judging:
        if run.header.narrowed and not narrowed:
            raise UsageError(f"{run.path}: was narrowed, or lacks a group; --narrowed publishes it, marked as that")
    name = f"{_date(judging)}-{machine or _machine(judging[0])}"
    if not _NAME.fullmatch(name):
        raise UsageError(f"--machine {machine}: expected small letters, digits, dots and dashes")
    home, kept = reports / name, reports.is_dir()
    if home.exists():
        raise UsageError(f"{home}: is published already; a published run is not changed")
    contents = _contents(runs)
    if sum(map(len, contents.values())) > LIMIT:
        raise UsageError(f"{home}: would hold more than {LIMIT:,} bytes")
    new = reports / f".{os.getpid()}.new"
    try:
        for stem, content in contents.items():
            write_whole(new / name / f"{stem}{SUFFIX}", content)
        yield new / name
        (new / name).rename(home)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        if not kept:
            with contextlib.suppress(OSError):
                reports.rmdir()  # stays where a run is in it


def _contents(runs: Sequence[Run]) -> dict[str, bytes]:
    """Return the compressed contents of the runs' files, by name. Raises `UsageError` where two have one name."""
    contents = {_stem(run.path): lzma.compress(run.path.read_bytes()) for run in runs if run.path.suffix != ".xz"}
    contents |= {_stem(run.path): run.path.read_bytes() for run in runs if run.path.suffix == ".xz"}
    if len(contents) < len(runs):
        raise UsageError("two of the run files have one name: rename one")
    return contents


def published(reports: Path) -> tuple[Path, ...]:
    """Return the folders of the published runs, oldest first: their names begin with the date."""
    return tuple(sorted(folder for folder in reports.glob("[0-9]*") if any(folder.glob(f"*{SUFFIX}"))))


def _date(runs: Sequence[Run]) -> str:
    """Return the day on which the first of the runs began. Raises `UsageError` where one tells no time."""
    for run in runs:
        finished = run.footer.finished if run.footer else ""
        if not (run.header.started and finished):
            raise UsageError(f"{run.path}: does not tell when it ran")
        try:
            _ = [datetime.fromisoformat(moment) for moment in (run.header.started, finished)]
        except ValueError as error:
            raise UsageError(f"{run.path}: tells no time when it ran: {error}") from error
    return datetime.fromisoformat(runs[0].header.started).date().isoformat()


def _machine(run: Run) -> str:
    host = run.header.host
    if not {"system", "machine"} <= host.keys():
        raise UsageError(f"{run.path}: does not tell on what machine it ran; name one by --machine")
    return f"{host['system']}-{host['machine']}".lower()


def _stem(path: Path) -> str:
    return path.name.removesuffix(".xz").removesuffix(".jsonl")
