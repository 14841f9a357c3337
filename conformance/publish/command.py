"""`conformance publish`: the command line of published runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def publish(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN…]", help="Run files to publish together; omitted: none.")
    ] = None,
    reports: Annotated[Path, typer.Option(metavar="DIR", help="Where published runs are kept.")] = Path("reports"),
    out: Annotated[Path, typer.Option(metavar="DIR", help="The site, in place of an earlier one there.")] = Path(
        "results/site"
    ),
    machine: Annotated[str | None, typer.Option(metavar="NAME", help="Omitted: system and processor.")] = None,
    narrowed: Annotated[bool, typer.Option("--narrowed", help="Publish a narrowed run, marked as that.")] = False,
    address: Annotated[str, typer.Option(metavar="URL", help="Where the site will stand, for the feed.")] = "",
    docs: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The documentation as `nox -s docs` builds it, to be part of the site."),
    ] = None,
) -> None:
    """Build the site over all published runs: reports, the history of every cell, a feed, badges.

    Runs that are named are published with it: kept whole and compressed in a folder by date and machine, once the site stands.
    """
    import gc

    from conformance.publish.archive import added
    from conformance.publish.card import BROWSER, chromium
    from conformance.publish.site import write

    gc.disable()  # as in `report`: millions of objects, none of them garbage before the end
    browser = chromium()
    if browser is None:
        typer.echo(f"no picture for links to the site: no Chromium on PATH, and {BROWSER} names none", err=True)
    if not runs:
        print(write(reports, out, address=address, documentation=docs, browser=browser))
        return
    with added(runs, reports, machine=machine, narrowed=narrowed) as new:
        page = write(reports, out, address=address, documentation=docs, new=new, browser=browser)
    print(reports / new.name, page, sep="\n")
