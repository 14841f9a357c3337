"""`conformance run`: the cells selected, performed, judged and written to a run file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from conformance.cli.arguments import Adapter, Files, Python
from conformance.errors import UsageError
from conformance.planning.known_names import check_names
from conformance.run.choice_option import device_option, mode_option
from conformance.run.interpreters import pairs
from conformance.run.number_option import SECONDS, WORKERS, decimal, whole
from conformance.spec.tiers import Tier


class WithPytest(TyperCommand):
    """A command whose words after `--` are pytest's, whatever arguments it takes itself."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what stands before `--`, and keep the rest as the context's further words."""
        end = args.index("--") if "--" in args else len(args)
        rest = super().parse_args(ctx, args[:end])
        ctx.args.extend(args[end + 1 :])
        return rest


def run(
    context: typer.Context,
    files: Files = None,
    implementation: Annotated[list[str] | None, typer.Option(metavar="GLOB")] = None,
    case: Annotated[list[str] | None, typer.Option(metavar="GLOB")] = None,
    mode: Annotated[list[str] | None, mode_option()] = None,
    device: Annotated[list[str] | None, device_option()] = None,
    tier: Annotated[Tier, typer.Option(help="How much of the matrix.")] = Tier.STANDARD,
    adapter: Adapter = None,
    python: Python = None,
    unbuilt: Annotated[
        list[str] | None, typer.Option(metavar="GROUP=LOG", help="A group whose environment was not built.")
    ] = None,
    grouped: Annotated[
        bool, typer.Option("--grouped", help="Leave out what is of no group, so that runs of several groups merge.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            parser=whole(1, WORKERS), metavar="N", help="Processes at work at once; omitted: one more than cores."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="RUN", help="The run file to write.")] = None,
    resume: Annotated[bool, typer.Option(help="Complete the run file --out.")] = False,
    shard: Annotated[
        str | None, typer.Option(metavar="K/N", help="The K-th of N shares of about the same cost, for `merge`.")
    ] = None,
    cell_seconds: Annotated[
        float, typer.Option(parser=decimal(0.1, SECONDS), metavar="SECONDS", help="A cell's deadline.")
    ] = 180.0,
    first_report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Make a report there as soon as the smoke tier has run.")
    ] = None,
    profile: Annotated[bool, typer.Option("--profile", help="Print at the end where the time went.")] = False,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="The scheduler of a Dask cluster to run on, as tcp://HOST:PORT."),
    ] = None,
    environment: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP=NAME", help="With --scheduler: an environment that `regression` built."),
    ] = None,
) -> None:
    """Run the cells selected, of cases of your own or of the shipped ones, and write a run file.

    What follows `--` goes to pytest: -k, -x, --lf, --junitxml and the like.
    """
    check_names(implementation or (), case or (), own_adapters=bool(adapter), folder=None if files else "cases")
    from conformance.execution.pool import Limits, usual_count
    from conformance.planning.plan import Selection
    from conformance.planning.shards import shard_of
    from conformance.run.run_options import RunOptions
    from conformance.run.session import run as run_cells
    from conformance.spec.own_files import case_files

    options = RunOptions(
        files=tuple(case_files(files or [])),
        selection=Selection(
            implementations=tuple(implementation or ()),
            cases=tuple(case or ()),
            modes=tuple(mode or ()),
            devices=tuple(device or ()),
            tier=tier,
        ),
        adapters=tuple(adapter or ()),
        grouped=grouped,
        interpreters=pairs("--python", python),
        unbuilt={group: Path(log) for group, log in pairs("--unbuilt", unbuilt).items()},
        workers=workers or usual_count(),
        out=out,
        resume=resume,
        shard=None if shard is None else shard_of(shard),
        limits=Limits(cell=cell_seconds),
        first_report=first_report,
        profile=profile,
        pytest_arguments=tuple(context.args),
    )
    if first_report is not None:
        from conformance.files.whole import check_folder
        from conformance.report.folder import check

        check_folder(first_report)
        check(first_report)
    environments = pairs("--environment", environment)
    if scheduler is None:
        if environments:
            raise UsageError("--environment: is what workers of a cluster have, and goes with --scheduler")
        ran = run_cells(options)
    else:
        from conformance.cluster.asking import check_elsewhere, performer_of

        check_elsewhere({"--python": python, "--workers": workers, "--profile": profile})
        named = environments if environments or unbuilt else None
        ran = run_cells(options, performer_of(scheduler, options.limits, named))
    if sys.stdout.isatty() and ran.file is not None:
        from conformance.report.ending import ending
        from conformance.runfile.reading import read

        print(ending(read(ran.file)))
    raise SystemExit(ran.exit_code)
