"""The options of `conformance fuzz` and `conformance properties`; what they lead to is imported when it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from conformance.planning.known_names import check_names
from conformance.run.choice_option import device_option, mode_option
from conformance.run.number_option import EXAMPLES, SECONDS, SEEDS, decimal, whole


def fuzz(
    implementation: Annotated[list[str] | None, typer.Option(metavar="GLOB")] = None,
    mode: Annotated[str, mode_option("In which mode.")] = "eager",
    device: Annotated[str, device_option("On which device.")] = "cpu",
    adapter: Annotated[
        list[str] | None, typer.Option("--adapter", metavar="FILE.py:NAME", help="Search this adapter alone.")
    ] = None,
    python: Annotated[
        list[str] | None, typer.Option("--python", metavar="GROUP=PATH", help="The interpreter of a framework group.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="IMPLEMENTATION", help="Hold what is selected against this one, not against the reference."
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--every-difference", help="With --against: also what is documented or listed is a find.")
    ] = False,
    examples: Annotated[
        int | None,
        typer.Option(
            parser=whole(1, EXAMPLES),
            metavar="N",
            help="Cases drawn for each process; 1000 where neither this nor --seconds is given.",
        ),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(parser=decimal(1, SECONDS), metavar="SECONDS", help="Of the whole search.")
    ] = None,
    shrinking: Annotated[
        float, typer.Option(parser=decimal(0, SECONDS), metavar="SECONDS", help="For which one find is made smaller.")
    ] = 60.0,
    seed: Annotated[int, typer.Option(parser=whole(0, SEEDS), metavar="N", help="Another seed draws other cases.")] = 0,
    cell_seconds: Annotated[
        float, typer.Option(parser=decimal(0.1, SECONDS), metavar="SECONDS", help="A cell's deadline.")
    ] = 60.0,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where finds go; a search goes on with what is there.")
    ] = Path(".conformance/search"),
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="The scheduler of a Dask cluster to search on, as tcp://HOST:PORT."),
    ] = None,
) -> None:
    """Search for inputs on which an implementation differs for a cause that nothing lists.

    Whole cases are drawn, run and judged, and each find is made small and written as a case file with a script beside it.

    Exit 0 where nothing new was found, 1 where something was.
    """
    check_names([*(implementation or ()), *filter(None, [against])], (), own_adapters=bool(adapter))
    from conformance.errors import UsageError
    from conformance.execution.pool import Limits
    from conformance.files.whole import check_folder
    from conformance.planning.plan import Selection
    from conformance.run.interpreters import pairs

    check_folder(out)
    if against is not None and not against.strip():
        raise UsageError("--against: expected the name of an implementation")
    if every and against is None:
        raise UsageError("--every-difference: expected --against IMPLEMENTATION beside it")
    try:
        from conformance.search.fuzz import FuzzOptions
        from conformance.search.fuzz import fuzz as search
        from conformance.search.hunt import Effort
    except ModuleNotFoundError as error:
        raise _without_hypothesis(error) from error

    limit = 1000 if examples is None and seconds is None else examples
    options = FuzzOptions(
        selection=Selection(implementations=tuple(implementation or ()), modes=(mode,), devices=(device,)),
        interpreters=pairs("--python", python),
        adapters=tuple(adapter or ()),
        effort=Effort(examples=limit, seconds=seconds, shrinking=shrinking, seed=seed),
        out=out,
        limits=Limits(cell=cell_seconds),
        against=against,
        every=every,
    )
    if scheduler is None:
        raise SystemExit(search(options))
    from conformance.cluster.asking import check_elsewhere

    check_elsewhere({"--python": python})
    from conformance.search.elsewhere import on_cluster

    raise SystemExit(search(options, on_cluster(scheduler, options)))


def properties(
    implementation: Annotated[list[str] | None, typer.Option(metavar="GLOB")] = None,
    mode: Annotated[str, mode_option("In which mode.")] = "eager",
    device: Annotated[str, device_option("On which device.")] = "cpu",
    adapter: Annotated[
        list[str] | None, typer.Option("--adapter", metavar="FILE.py:NAME", help="Check this adapter alone.")
    ] = None,
    python: Annotated[
        list[str] | None, typer.Option("--python", metavar="GROUP=PATH", help="The interpreter of a framework group.")
    ] = None,
    examples: Annotated[int, typer.Option(parser=whole(1, EXAMPLES), metavar="N", help="Of each property.")] = 5,
    seed: Annotated[
        int | None,
        typer.Option(parser=whole(0, SEEDS), metavar="N", help="Draws other examples; omitted: always the same."),
    ] = None,
    within: Annotated[
        float | None,
        typer.Option(
            parser=decimal(1, SECONDS),
            metavar="SECONDS",
            help="Begin no further property after so many seconds, which are divided among the processes; those left are told.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="RUN", help="The run file to write.")] = Path(
        ".conformance/properties.jsonl"
    ),
) -> None:
    """Check identities between the results of related inputs, and write a run file with a row for each of them.

    Exit 1 where one does not hold and nothing that is known explains it.
    """
    check_names(implementation or (), (), own_adapters=bool(adapter))
    from conformance.execution.pool import Limits
    from conformance.planning.plan import Selection
    from conformance.run.interpreters import pairs
    from conformance.run.run_options import FOLDER

    try:
        from conformance.search.properties.processes import PropertyOptions
        from conformance.search.properties.processes import properties as checked
    except ModuleNotFoundError as error:
        raise _without_hypothesis(error) from error

    options = PropertyOptions(
        selection=Selection(implementations=tuple(implementation or ()), modes=(mode,), devices=(device,)),
        interpreters=pairs("--python", python),
        adapters=tuple(adapter or ()),
        examples=examples,
        seed=seed,
        out=out,
        limits=Limits(cell=60.0),
        folder=FOLDER,
        within=within,
    )
    raise SystemExit(checked(options))


def _without_hypothesis(error: ModuleNotFoundError) -> Exception:
    """Return what to tell where Hypothesis is not installed; any other error as it is."""
    from conformance.errors import UsageError

    if error.name != "hypothesis":
        return error
    return UsageError("search needs Hypothesis: pip install 'batchnorm-conformance[search]'")
