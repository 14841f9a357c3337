"""Shards of one run as one run, as if it had been made in one piece: in the order of the plan, with what was planned of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import UNSET

from conformance.errors import UsageError
from conformance.files.whole import write_whole
from conformance.runfile.run import Run, run_of_lines
from conformance.runfile.structs import AnyLine, EnvironmentLine, Footer, Header, Record, RecordedShard
from conformance.runfile.writing import Judges, check_replaceable, encoded
from conformance.verdict import Verdict

#: What of a header differs between shards of one run.
_OWN = ("planned", "host", "started", "shard", "narrowed")


def merged(runs: Sequence[Run], path: Path) -> Run:
    """Return the one run whose shards these are, to be written at `path`.

    Raises `UsageError` where they are shards of different runs, one is missing or there twice, or one did not end.
    """
    _check_shards(runs)
    first = runs[0]
    for run in runs[1:]:
        _check_same(first, run)
    order = _order(first)
    records = sorted((record for run in runs for record in run.records), key=lambda record: _place(record, order))
    lines: list[AnyLine] = [
        _header(runs),
        *first.environments,
        *first.cases.values(),
        *records,
        _footer(runs, records),
    ]
    return run_of_lines(path, lines)


def write_merged(run: Run) -> None:
    """Write a merged run to its path, whole or not at all. Raises `UsageError` where a file there is no narrower run."""
    check_replaceable(run.path, Judges.CELLS, narrowed=run.header.narrowed)
    lines: list[AnyLine] = [
        run.header,
        *run.environments,
        *run.cases.values(),
        *run.records,
        *([run.footer] if run.footer else []),
    ]
    write_whole(run.path, b"".join(encoded(line) + b"\n" for line in lines))


def _check_shards(runs: Sequence[Run]) -> None:
    """Raise `UsageError` unless these are all shards of a run, each once and whole."""
    shards: dict[int, Run] = {}
    for run in runs:
        shard = run.header.shard
        if shard is UNSET:
            raise UsageError(f"{run.path}: is no shard: `conformance run --shard K/N` writes one")
        if not run.complete:
            raise UsageError(f"{run.path}: holds {run.progress}: complete it with --resume first")
        other = shards.setdefault(shard.number, run)
        if other is not run:
            raise UsageError(f"{run.path}: is shard {shard.number} of {shard.count}, as {other.path} is")
        if shard.count != _shard(runs[0]).count:
            raise UsageError(f"{run.path}: is of {shard.count} shards, {runs[0].path} of {_shard(runs[0]).count}")
    missing = sorted(set(range(1, _shard(runs[0]).count + 1)) - set(shards))
    if missing:
        raise UsageError(f"missing: shard {', '.join(map(str, missing))} of {_shard(runs[0]).count}")


def _check_same(first: Run, run: Run) -> None:
    """Raise `UsageError` where two shards are not of one run: another spec, other versions or settings."""
    for field in Header.__struct_fields__:
        if field not in _OWN and getattr(run.header, field) != getattr(first.header, field):
            raise UsageError(f"{run.path}: has another {field} than {first.path}")
    if list(run.cases) != list(first.cases):
        raise UsageError(f"{run.path}: has other cases than {first.path}")
    before = {environment.id: environment for environment in first.environments}
    for environment in run.environments:
        if environment.id not in before:
            raise UsageError(f"{run.path}: has {environment.id}, which {first.path} has not")
        _check_environment(before.pop(environment.id), environment, first.path, run.path)
    if before:
        raise UsageError(f"{run.path}: lacks {', '.join(before)}, which {first.path} has")


def _check_environment(first: EnvironmentLine, other: EnvironmentLine, first_path: Path, path: Path) -> None:
    for field in EnvironmentLine.__struct_fields__:
        if field != "host" and getattr(first, field) != getattr(other, field):
            what = (
                f"{other.id} has other {field}: {getattr(other, field)}"
                if field == "versions"
                else f"{other.id}: other {field}"
            )
            raise UsageError(f"{path}: {what} than in {first_path}")


def _order(run: Run) -> Mapping[str, int]:
    """Return the place of each case and each environment's columns in the plan."""
    names = [*run.cases]
    for environment in run.environments:
        names += [
            f"{environment.id}::{offer.name}-{mode}-{device}"
            for offer in environment.implementations
            for mode in offer.modes
            for device in offer.devices
        ]
    return {name: place for place, name in enumerate(names)}


def _place(record: Record, order: Mapping[str, int]) -> tuple[int, int]:
    return order[record.case], order[f"{record.environment}::{record.column}"]


def _header(runs: Sequence[Run]) -> Header:
    return msgspec.structs.replace(
        runs[0].header,
        planned=sum(run.header.planned for run in runs),
        narrowed=_shard(runs[0]).narrowed,
        started=min(run.header.started for run in runs),
        shard=UNSET,
    )


def _footer(runs: Sequence[Run], records: Sequence[Record]) -> Footer:
    counts = Counter(record.verdict for record in records)
    verdicts = {verdict.value: counts[verdict] for verdict in Verdict if counts[verdict]}
    return Footer(recorded=len(records), ended=True, verdicts=verdicts, finished=max(run.finished for run in runs))


def _shard(run: Run) -> RecordedShard:
    assert isinstance(run.header.shard, RecordedShard)
    return run.header.shard
