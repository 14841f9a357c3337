"""`conformance regression`: the command line of regression checks, and the files that one leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conformance.compare.values import FailOn
from conformance.planning.known_names import check_names
from conformance.run.choice_option import device_option, mode_option
from conformance.runfile.terminal import plain
from conformance.spec.tiers import Tier

if TYPE_CHECKING:
    from conformance.regression.pins import Pins
    from conformance.regression.regression import Request


_Package = Annotated[str, typer.Option(metavar="NAME", help="A package of the pinned groups.")]
_Head = Annotated[str, typer.Option(metavar="VERSION|PATH", help="A version, a wheel or a checkout.")]
_Base = Annotated[str | None, typer.Option(metavar="VERSION|PATH", help="The same; omitted: as pinned.")]
_Group = Annotated[list[str] | None, typer.Option(help="A framework group; omitted: all that pin it.")]
_Globs = Annotated[list[str] | None, typer.Option(metavar="GLOB")]
_Mode = Annotated[list[str] | None, mode_option()]
_Device = Annotated[str | None, device_option("Which pins, and which cells.")]
_Tier = Annotated[Tier, typer.Option(help="How much of the matrix.")]
_Bisect = Annotated[bool, typer.Option("--bisect", help="Find the first version that changed a cell.")]
_FailOn = Annotated[list[FailOn] | None, typer.Option(metavar="CHANGE", help="As of compare.")]
_Environments = Annotated[Path, typer.Option(metavar="DIR", help="Where they are kept.")]
_Out = Annotated[Path, typer.Option(metavar="DIR", help="Where run files and reports go.")]


def regression(
    package: _Package,
    head: _Head,
    base: _Base = None,
    group: _Group = None,
    case: _Globs = None,
    implementation: _Globs = None,
    mode: _Mode = None,
    device: _Device = None,
    tier: _Tier = Tier.STANDARD,
    bisect: _Bisect = False,
    fail_on: _FailOn = None,
    environments: _Environments = Path(".conformance/versions"),
    out: _Out = Path("results/regression"),
) -> None:
    """Compare two versions of one package: the same cells, in environments that differ in it.

    Exit 1 where something regressed or moved: a dialect that became another one, or none, gives users other numbers.

    The other packages stay at their pins. Where a version does not go with them they move as little as pip finds,
    and the report tells what moved.
    """
    check_names(implementation or (), case or (), own_adapters=False)
    from conformance.compare.values import Policy
    from conformance.regression.pins import source
    from conformance.regression.regression import Request, pinned

    pins = _pins(package, group or (), device)
    options = [("--implementation", implementation), ("--mode", mode), ("--device", [device] if device else [])]
    narrowing = [word for name, values in options for value in values or () for word in (name, value)]
    request = Request(
        package=package,
        base=source(base) if base else pinned(package, pins),
        head=source(head),
        pins=pins,
        cases=tuple(case or ()),
        selection=("--tier", tier.value, *narrowing),
        policy=Policy(fail_on=tuple(dict.fromkeys(fail_on or ()))),
        environments=environments.resolve(),
        out=out,
    )
    raise SystemExit(_checked(request, bisect=bisect))


def _pins(package: str, groups: Sequence[str], device: str | None) -> tuple[Pins, ...]:
    """Return the pins of the groups that take part. Raises `UsageError`."""
    from conformance.planning.discovery import keys
    from conformance.regression.regression import asked_pins

    known = sorted({key.group for key in keys({}) if key.group is not None})
    return asked_pins(package, groups, known, gpu=device == "gpu")


def _checked(request: Request, *, bisect: bool) -> int:
    """Check, write what was found, and return the exit code."""
    from conformance.regression.progress import phase
    from conformance.regression.regression import check, located, versions_between
    from conformance.regression.written import write

    if bisect:
        versions_between(request.package, request.base, request.head)  # before hours are spent in vain
    checked = check(request)
    if bisect:
        checked = located(request, checked)
        if checked.bisected is None:
            print(f"{request.package}: no cell changed its verdict, so there is no version to find")
    with phase("report"):
        shown = write(checked, request.out)
    print(plain(shown), end="")
    return 1 if checked.comparison.regression else 0
