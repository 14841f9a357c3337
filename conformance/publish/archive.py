"""The folder of published runs: one folder by date and machine each, with its run files compressed by xz.

A run file is kept whole, since everything else is made from it; of a run of the standard tier, xz leaves a
twenty-fifth.
"""

from __future__ import annotations

import lzma
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from conformance.errors import UsageError
from conformance.runfile.observed import in_order
from conformance.runfile.reading import read_all
from conformance.runfile.run import Run
from conformance.whole import write_whole

#: Bytes that one published run may have: a repository keeps it forever.
LIMIT = 10_000_000
SUFFIX = ".jsonl.xz"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


def add(paths: Sequence[Path], reports: Path, *, machine: str | None = None, narrowed: bool = False) -> Path:
    """Publish the runs in those files together and return their folder. Raises `UsageError`.

    Refused are runs that did not end, do not belong together, are published already, judge no cell and have none
    beside them that does, and unless `narrowed`, that were narrowed to some cells.
    """
    runs = read_all(paths)
    judging = in_order(runs, partial=False)
    if judging[0].times:
        raise UsageError(f"{judging[0].path}: judges no cell; publish what was timed with the run that judged")
    for run in judging:
        if run.header.narrowed and not narrowed:
            raise UsageError(f"{run.path}: was narrowed, or lacks a group; --narrowed publishes it, marked as that")
    name = f"{_date(judging[0])}-{machine or _machine(judging[0])}"
    if not _NAME.fullmatch(name):
        raise UsageError(f"--machine {machine}: expected small letters, digits, dots and dashes")
    home = reports / name
    if home.exists():
        raise UsageError(f"{home}: is published already; a published run is not changed")
    contents = {_stem(run.path): lzma.compress(run.path.read_bytes()) for run in runs if run.path.suffix != ".xz"}
    contents |= {_stem(run.path): run.path.read_bytes() for run in runs if run.path.suffix == ".xz"}
    if len(contents) < len(runs):
        raise UsageError("two of the run files have one name: rename one")
    if sum(map(len, contents.values())) > LIMIT:
        raise UsageError(f"{home}: would hold more than {LIMIT:,} bytes")
    new = reports / f".{home.name}.new"
    try:
        for stem, content in contents.items():
            write_whole(new / f"{stem}{SUFFIX}", content)
        new.rename(home)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return home


def published(reports: Path) -> tuple[Path, ...]:
    """Return the folders of the published runs, oldest first: their names begin with the date."""
    return tuple(sorted(folder for folder in reports.glob("[0-9]*") if any(folder.glob(f"*{SUFFIX}"))))


def _date(run: Run) -> str:
    if not run.header.started:
        raise UsageError(f"{run.path}: does not tell when it ran")
    return run.header.started[:10]


def _machine(run: Run) -> str:
    host = run.header.host
    if not {"system", "machine"} <= host.keys():
        raise UsageError(f"{run.path}: does not tell on what machine it ran; name one by --machine")
    return f"{host['system']}-{host['machine']}".lower()


def _stem(path: Path) -> str:
    return path.name.removesuffix(".xz").removesuffix(".jsonl")
