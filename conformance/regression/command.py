"""`conformance regression`: the command line of regression checks, and the files that one leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from conformance.compare.values import FailOn
from conformance.spec.tiers import Tier


def regression(
    package: Annotated[str, typer.Option(metavar="NAME", help="A package of the pinned groups.")],
    head: Annotated[str, typer.Option(metavar="VERSION|PATH", help="A version, a wheel or a checkout.")],
    base: Annotated[str | None, typer.Option(metavar="VERSION|PATH", help="The same; omitted: as pinned.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="A framework group; omitted: all that pin it.")] = None,
    case: Annotated[list[str] | None, typer.Option(metavar="GLOB")] = None,
    implementation: Annotated[list[str] | None, typer.Option(metavar="GLOB")] = None,
    mode: Annotated[list[str] | None, typer.Option(metavar="MODE", help="eager, compiled or xla.")] = None,
    device: Annotated[str | None, typer.Option(metavar="cpu|gpu", help="Which pins, and which cells.")] = None,
    tier: Annotated[Tier, typer.Option(help="How much of the matrix.")] = Tier.STANDARD,
    bisect: Annotated[bool, typer.Option("--bisect", help="Find the first version that changed a cell.")] = False,
    fail_on: Annotated[list[FailOn] | None, typer.Option(metavar="CHANGE", help="As of compare.")] = None,
    environments: Annotated[Path, typer.Option(metavar="DIR", help="Where they are kept.")] = Path(
        ".conformance/versions"
    ),
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where run files and reports go.")] = Path(
        "results/regression"
    ),
) -> None:
    """Compare two versions of one package: the same cells, in environments that differ in it; exit 1 on a regression.

    The other packages stay at their pins. Where a version does not go with them they move as little as pip finds,
    and the report tells what moved.
    """
    from conformance.compare.values import Policy
    from conformance.errors import UsageError
    from conformance.planning.discovery import keys
    from conformance.regression.pins import source
    from conformance.regression.regression import Request, asked_pins, check, located, pinned, versions_between
    from conformance.regression.written import write

    if device not in (None, "cpu", "gpu"):
        raise UsageError(f"--device {device}: expected cpu or gpu")
    groups_known = sorted({key.group for key in keys({}) if key.group is not None})
    pins = asked_pins(package, group or (), groups_known, gpu=device == "gpu")
    options = [("--implementation", implementation), ("--mode", mode), ("--device", [device] if device else [])]
    request = Request(
        package=package,
        base=source(base) if base else pinned(package, pins),
        head=source(head),
        pins=pins,
        cases=tuple(case or ()),
        selection=(
            "--tier",
            tier.value,
            *(word for name, values in options for value in values or () for word in (name, value)),
        ),
        policy=Policy(fail_on=tuple(dict.fromkeys(fail_on or ()))),
        environments=environments.resolve(),
        out=out,
    )
    if bisect:
        versions_between(package, request.base, request.head)  # before hours are spent on what cannot be bisected
    checked = check(request)
    if bisect:
        checked = located(request, checked)
        if checked.bisected is None:
            print(f"{package}: no cell changed its verdict, so there is no version to find")
    print(write(checked, out), end="")
    raise SystemExit(1 if checked.comparison.regression else 0)
