"""The command line of `conformance merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def merge(
    shards: Annotated[list[Path], typer.Argument(metavar="RUN…", help="The run files of all shards of one run.")],
    out: Annotated[Path, typer.Option(metavar="RUN", help="The run file to write.")],
) -> None:
    """Make one run of its shards, as if it had been made in one piece; exit 1 where a verdict is unexpected."""
    from conformance.runfile.merging import merged, write_merged
    from conformance.runfile.reading import read_all
    from conformance.verdict import Standing

    run = merged(read_all(shards), out)
    write_merged(run)
    unexpected = [record.cell for record in run.records if record.standing is Standing.UNEXPECTED]
    print(f"{out}: {len(run.records)} cells of {run.header.planned} planned, {len(unexpected)} unexpected")
    raise SystemExit(1 if unexpected else 0)
