"""What a person asks of a run, and where its file goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from conformance.errors import UsageError
from conformance.execution.pool import Limits
from conformance.files.whole import check_place
from conformance.planning.plan import Selection
from conformance.planning.shards import Shard
from conformance.runfile.reading import read
from conformance.runfile.writing import Judges, check_replaceable, check_resumable, is_unbegun
from conformance.spec.tiers import Tier

#: Where a run keeps its logs, what it was offered, and run files that nobody named.
FOLDER = Path(".conformance")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What a person asked of a run."""

    selection: Selection
    #: Case files of the person's own, in place of the shipped ones.
    files: tuple[Path, ...] = ()
    adapters: tuple[str, ...] = ()
    #: Whether adapters of no group are left out, which a run of another group has.
    grouped: bool = False
    interpreters: Mapping[str, str]
    #: Group -> log of the installer that failed.
    unbuilt: Mapping[str, Path]
    workers: int
    out: Path | None = None
    resume: bool = False
    limits: Limits
    #: The share of the cells to run; None for all.
    shard: Shard | None = None
    #: Where a report goes as soon as the smoke tier has run; None for none.
    first_report: Path | None = None
    #: Whether to print where the time went.
    profile: bool = False
    pytest_arguments: tuple[str, ...] = ()

    @property
    def narrowed(self) -> bool:
        """Whether less than the standard tier of everything was asked for, in all shards together."""
        tier = self.selection.tier
        narrower = self.selection != Selection(tier=tier) or tier is Tier.SMOKE
        return narrower or bool(self.adapters) or bool(self.files)


def out_path(options: RunOptions, narrowed: bool) -> Path:
    """Return where the run file goes: a narrowed run or a shard beside the full one, never over it."""
    if options.out is not None:
        return options.out
    if options.shard is not None:
        return FOLDER / f"shard-{options.shard.number}-of-{options.shard.count}.jsonl"
    return FOLDER / ("narrowed.jsonl" if narrowed else "run.jsonl")


def check_out(options: RunOptions) -> None:
    """Raise `UsageError` where the run file cannot be written, or is another's: asked before any work is done."""
    path = out_path(options, options.narrowed)
    if options.resume and options.out is None:
        raise UsageError("--resume needs --out, the run file to complete")
    check_place(path)
    if not options.resume:
        check_replaceable(path, Judges.CELLS, narrowed=options.narrowed or options.shard is not None)
    elif not is_unbegun(path):
        check_resumable(read(path))
