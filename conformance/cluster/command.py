"""`conformance cluster --local N`: a scheduler and workers on this machine, to try a run on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from conformance.run.interpreters import pairs
from conformance.run.number_option import WORKERS, whole


def cluster(
    local: Annotated[
        int,
        typer.Option("--local", parser=whole(1, WORKERS), metavar="N", help="So many Dask workers, on this machine."),
    ],
    python: Annotated[
        list[str] | None, typer.Option("--python", metavar="GROUP=PATH", help="The interpreter of a framework group.")
    ] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option("--adapter", metavar="FILE.py:NAME", help="What the workers run beside the shipped."),
    ] = None,
    scheduler_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where Dask writes the address as JSON, for a program.")
    ] = None,
    environments: Annotated[
        Path, typer.Option(metavar="DIR", help="Where `regression` keeps environments, for its cells to run in.")
    ] = Path(".conformance/versions"),
) -> None:
    """Start a Dask scheduler and workers on this machine, and end them with Ctrl-C.

    Each worker has the resource of every group that is named; where none is, of all groups.
    """
    from conformance.cluster.asking import check_installed
    from conformance.cluster.local import LocalCluster, check_address_file, resources_of_groups
    from conformance.files.whole import check_folder
    from conformance.run.programs import check_interpreters

    check_installed("cluster")
    check_folder(environments)
    if scheduler_file is not None:
        check_address_file(scheduler_file)
    interpreters = pairs("--python", python)
    check_interpreters(interpreters, adapter or ())
    with LocalCluster(local, interpreters, adapter or [], scheduler_file, environments) as started:
        print(f"scheduler: {started.address}")
        print(f"workers: {local}, each with {', '.join(resources_of_groups(interpreters, adapter or []))}")
        print(f"to run there: conformance run --scheduler {started.address} --out run.jsonl")
        print("Ctrl-C ends it", flush=True)
        started.wait()
