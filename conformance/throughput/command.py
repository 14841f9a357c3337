"""The options of `conformance throughput`; what they lead to is imported when it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from conformance.planning.known_names import check_names
from conformance.run.choice_option import device_option, mode_option
from conformance.run.number_option import SECONDS, decimal, whole
from conformance.spec.tiers import Tier


def throughput(
    implementation: Annotated[list[str] | None, typer.Option(metavar="GLOB")] = None,
    case: Annotated[list[str] | None, typer.Option(metavar="GLOB")] = None,
    mode: Annotated[list[str] | None, mode_option()] = None,
    device: Annotated[list[str] | None, device_option()] = None,
    tier: Annotated[Tier, typer.Option(help="How many of the cases.")] = Tier.STANDARD,
    adapter: Annotated[
        list[str] | None, typer.Option("--adapter", metavar="FILE.py:NAME", help="Time this adapter alone.")
    ] = None,
    python: Annotated[
        list[str] | None, typer.Option("--python", metavar="GROUP=PATH", help="The interpreter of a framework group.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="RUN", help="The run file to write.")] = Path(
        ".conformance/throughput.jsonl"
    ),
    batches: Annotated[
        int,
        typer.Option(
            parser=whole(1, 10_000), metavar="N", help="Batches of each call at least, in turn with all others."
        ),
    ] = 2,
    seconds: Annotated[
        float, typer.Option(parser=decimal(0.001, SECONDS), metavar="SECONDS", help="Of one batch.")
    ] = 0.15,
    within: Annotated[
        float | None,
        typer.Option(parser=decimal(1, SECONDS), metavar="SECONDS", help="Begin nothing after so many seconds."),
    ] = None,
) -> None:
    """Time the cases of throughput and write a run file, of which a report is made together with others.

    Nothing else should use the machine meanwhile: what was disturbed is measured again, and has no number in the end.
    """
    check_names(implementation or (), case or (), own_adapters=bool(adapter), folder="throughput")
    from conformance.execution.pool import Limits
    from conformance.planning.plan import Selection
    from conformance.run.interpreters import pairs
    from conformance.throughput.measuring import Effort
    from conformance.throughput.running import TimingOptions, run

    options = TimingOptions(
        selection=Selection(
            implementations=tuple(implementation or ()),
            cases=tuple(case or ()),
            modes=tuple(mode or ()),
            devices=tuple(device or ()),
            tier=tier,
        ),
        adapters=tuple(adapter or ()),
        interpreters=pairs("--python", python),
        out=out,
        effort=Effort(batches=batches, seconds=seconds),
        limits=Limits(cell=120.0),
        within=within,
    )
    raise SystemExit(run(options))


def compare_speed(
    base: dict[str, str],
    new: dict[str, str],
    implementations: tuple[str, ...],
    cases: tuple[str, ...],
    form: str,
    out: Path | None,
) -> int:
    """Compare the speed of two interpreters, write what was found, and return the exit code: 1 on a regression."""
    from conformance.files.json_text import text_of
    from conformance.files.whole import write_whole
    from conformance.planning.plan import Selection
    from conformance.throughput.comparing import Speed
    from conformance.throughput.pairing import compared, surveyed
    from conformance.throughput.telling import speed_text

    selection = Selection(implementations=implementations, cases=cases)
    speed = Speed(findings=compared(surveyed(base, (), selection), surveyed(new, (), selection)))
    text = text_of(speed) if form == "json" else speed_text(speed, marked=form == "markdown")
    if out is None:
        print(text, end="")
    else:
        write_whole(out, text.encode())
    return 1 if speed.regression else 0
