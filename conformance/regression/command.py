"""`conformance regression`: the command line of regression checks, and the files that one leaves behind."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conformance.compare.values import FailOn, Policy
from conformance.errors import UsageError
from conformance.files.whole import check_folder
from conformance.planning.known_names import check_names
from conformance.regression.every import Every
from conformance.run.choice_option import device_option, mode_option
from conformance.run.number_option import VERSIONS, whole
from conformance.runfile.terminal import plain
from conformance.spec.tiers import Tier

if TYPE_CHECKING:
    from conformance.regression.pins import Pins, Source
    from conformance.regression.regression import Request
    from conformance.regression.row import Span
    from conformance.regression.version import Asked


_Package = Annotated[str, typer.Option(metavar="NAME", help="A package of the pinned groups.")]
_Head = Annotated[str | None, typer.Option(metavar="VERSION|PATH", help="A version, a wheel or a checkout.")]
_Base = Annotated[str | None, typer.Option(metavar="VERSION|PATH", help="The same; omitted: as pinned.")]
_Versions = Annotated[
    str | None, typer.Option(metavar="RANGE", help="A row of released versions in place of two: '>=0.6,<0.11'.")
]
_Last = Annotated[int | None, typer.Option(parser=whole(1, VERSIONS), metavar="N", help="The last N of a row.")]
_Every = Annotated[Every | None, typer.Option(help="Of each minor or major release the newest alone.")]
_Nightly = Annotated[bool, typer.Option("--nightly", help="The newest build of a night ends the row.")]
_Index = Annotated[str, typer.Option("--index-url", metavar="URL", help="Where builds of a night are.")]
_Group = Annotated[list[str] | None, typer.Option(help="A framework group; omitted: all that pin it.")]
_Globs = Annotated[list[str] | None, typer.Option(metavar="GLOB")]
_Mode = Annotated[list[str] | None, mode_option()]
_Device = Annotated[str | None, device_option("Which pins, and which cells.")]
_Tier = Annotated[Tier, typer.Option(help="How much of the matrix.")]
_Bisect = Annotated[bool, typer.Option("--bisect", help="Find the first version that changed a cell.")]
_FailOn = Annotated[list[FailOn] | None, typer.Option(metavar="CHANGE", help="As of compare.")]
_Json = Annotated[bool, typer.Option("--json", help="For a program.")]
_Environments = Annotated[Path, typer.Option(metavar="DIR", help="Where they are kept.")]
_Out = Annotated[Path, typer.Option(metavar="DIR", help="Where run files and reports go.")]
_Scheduler = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="A Dask cluster whose workers see --environments, to run on.")
]


def regression(
    package: _Package,
    head: _Head = None,
    base: _Base = None,
    versions: _Versions = None,
    last: _Last = None,
    every: _Every = None,
    nightly: _Nightly = False,
    index_url: _Index = "",
    group: _Group = None,
    case: _Globs = None,
    implementation: _Globs = None,
    mode: _Mode = None,
    device: _Device = None,
    tier: _Tier = Tier.STANDARD,
    bisect: _Bisect = False,
    fail_on: _FailOn = None,
    as_json: _Json = False,
    environments: _Environments = Path(".conformance/versions"),
    out: _Out = Path("results/regression"),
    scheduler: _Scheduler = None,
) -> None:
    """Compare two versions of one package, or a row of them: the same cells, in environments that differ in it.

    Exit 1 where something regressed or moved: a dialect that became another one, or none, gives users other numbers.
    Of a row the newest version counts, against the one before it.

    The other packages stay at their pins. Where a version does not go with them they move as little as pip finds,
    and the report tells what moved.
    """
    check_names(implementation or (), case or (), own_adapters=False)
    from conformance.regression.pins import source
    from conformance.regression.regression import Request, pinned
    from conformance.regression.version import Asked

    row = versions is not None or last is not None or every is not None or nightly
    _check_options(row=row, head=head, bisect=bisect, nightly=nightly, index_url=index_url)
    if versions is not None and not versions.strip():
        raise UsageError("--versions: expected a range of versions, such as '>=0.6,<0.11', got nothing")
    for folder in (out, environments):
        check_folder(folder)
    if scheduler is not None:
        from conformance.cluster.asking import check_scheduler

        check_scheduler(scheduler)  # before hours are spent on environments
    pins = _pins(package, group or (), device)
    options = [("--implementation", implementation), ("--mode", mode), ("--device", [device] if device else [])]
    narrowing = [word for name, values in options for value in values or () for word in (name, value)]
    asked = Asked(
        package=package,
        pins=pins,
        cases=tuple(case or ()),
        selection=("--tier", tier.value, *narrowing),
        environments=environments.resolve(),
        out=out,
        scheduler=scheduler,
    )
    policy = Policy(fail_on=tuple(dict.fromkeys(fail_on or ())))
    if row:
        named = [source(text) for text in (base, head) if text is not None]
        releases = "" if versions is None and (last or every) else versions
        span = _span(
            package,
            releases,
            every,
            last,
            named or ([pinned(package, pins)] if releases is None else []),
            nightly=nightly,
            index_url=index_url,
        )
        raise SystemExit(_followed(asked, span, policy, as_json=as_json))
    request = Request(
        cells=asked, base=pinned(package, pins) if base is None else source(base), head=source(str(head)), policy=policy
    )
    raise SystemExit(_checked(request, bisect=bisect, as_json=as_json))


def _check_options(*, row: bool, head: str | None, bisect: bool, nightly: bool, index_url: str) -> None:
    """Raise `UsageError` for options that do not go together."""
    if index_url and not nightly:
        raise UsageError("--index-url: names where builds of a night are, and goes with --nightly")
    if row and bisect:
        raise UsageError("--bisect: looks between two versions, --base and --head, and not in a row of them")
    if not row and head is None:
        raise UsageError("--head: expected a version, a wheel or a checkout, or --versions for a row of releases")


def _pins(package: str, groups: Sequence[str], device: str | None) -> tuple[Pins, ...]:
    """Return the pins of the groups that take part. Raises `UsageError`."""
    from conformance.planning.discovery import keys
    from conformance.regression.regression import asked_pins

    known = sorted({key.group for key in keys({}) if key.group is not None})
    return asked_pins(package, groups, known, gpu=device == "gpu")


def _span(
    package: str,
    within: str | None,
    every: Every | None,
    last: int | None,
    named: Sequence[Source],
    *,
    nightly: bool,
    index_url: str,
) -> Span:
    """Return which versions make the row. Raises `UsageError`."""
    from conformance.regression.regression import project
    from conformance.regression.row import Span, nightly_builds

    builds = nightly_builds(project(), package, index_url) if nightly else None
    return Span(within=within, every=every or Every.RELEASE, last=last, named=tuple(named), nightly=builds)


def _followed(asked: Asked, span: Span, policy: Policy, *, as_json: bool) -> int:
    """Follow findings through a row of versions, write what was found, and return the exit code."""
    from conformance.files.json_text import text_of
    from conformance.files.whole import write_whole
    from conformance.regression.history_page import check_possible, write
    from conformance.regression.history_text import text
    from conformance.regression.row import run_row, versions_of

    check_possible(asked.out / "history")
    history = run_row(asked, versions_of(asked.package, span), policy)
    document = text_of(history)
    write_whole(asked.out / "history.json", document.encode(errors="backslashreplace"))
    page = write(history, asked.out / "history")
    print(document if as_json else f"{plain(text(history))}{page}\n", end="")
    return 1 if history.regression else 0


def _checked(request: Request, *, bisect: bool, as_json: bool) -> int:
    """Check, write what was found, and return the exit code."""
    from conformance.files.json_text import text_of
    from conformance.regression.progress import phase
    from conformance.regression.regression import check, located, versions_between
    from conformance.regression.written import write

    if bisect:
        versions_between(request.package, request.base, request.head)  # before hours are spent in vain
    checked = check(request)
    if bisect:
        checked = located(request, checked)
        if checked.bisected is None:
            print(f"{request.package}: no cell changed its verdict, so there is no version to find", file=sys.stderr)
    with phase("report"):
        shown = write(checked, request.cells.out)
    print(text_of(checked.comparison) if as_json else plain(shown), end="")
    return 1 if checked.comparison.regression else 0
