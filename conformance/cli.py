"""The command line: `conformance list | check | run | report | compare | reproduce | explain`.

Exit codes: 0; 1 unexpected verdicts; 2 the user's mistake, or nothing selected; 3 the suite failed, or
planned is not recorded; 130 interrupted.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.core import TyperCommand

from conformance import __version__
from conformance.answers.explain_command import explain
from conformance.answers.translation_command import SETTINGS as TRANSLATE_SETTINGS
from conformance.answers.translation_command import translate
from conformance.answers.vectors_command import export, judge
from conformance.cluster.command import cluster
from conformance.compare.command import compare
from conformance.errors import ConformanceError, StorageError, SuiteError, UsageError
from conformance.planning.known_names import check_names
from conformance.publish.command import publish
from conformance.regression.command import regression
from conformance.run.choice_option import device_option, mode_option
from conformance.run.interpreters import pairs
from conformance.run.listing import Listable, rows_of
from conformance.run.number_option import SECONDS, WORKERS, decimal, whole
from conformance.runfile.merge_command import merge
from conformance.runfile.terminal import plain
from conformance.search.command import fuzz, properties
from conformance.spec.tiers import Tier
from conformance.throughput.command import throughput

if TYPE_CHECKING:
    from conformance.runfile.run import Run

#: What Typer raises of a command line; it has no public name, since one release takes it from Click and another has its own.
_Misused: Any = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="conformance",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"conformance {__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and leave.")
    ] = False,
) -> None:
    """Judge how frameworks compute batch normalization and mean centering."""


_Files = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[FILE|FOLDER]...", help="Case files of your own; omitted: the shipped spec."),
]
_Python = Annotated[
    list[str] | None, typer.Option("--python", metavar="GROUP=PATH", help="The interpreter of a framework group.")
]
_Adapter = Annotated[
    list[str] | None, typer.Option("--adapter", metavar="FILE.py:NAME", help="Judge this adapter alone.")
]


def main() -> None:
    """Run the command line; what a person got wrong is one line and exit code 2."""
    try:
        code = app(standalone_mode=False)
    except _Misused as error:
        if not sys.argv[1:]:
            error.show()
            raise SystemExit(2) from error
        _refuse(" ".join(error.format_message().split()), 2, error)
    except (SuiteError, StorageError) as error:
        _refuse(str(error), 3, error)
    except ConformanceError as error:
        _refuse(str(error), 2, error)
    except (KeyboardInterrupt, typer.Abort):
        raise SystemExit(130) from None
    except OSError as error:
        # Whichever file was asked about first: no name of ours is as long.
        if error.errno == errno.ENAMETOOLONG:
            _refuse(f"{str(error.filename)[:80]}…: longer than a name of a file may be", 2, error)
        _fault(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is no verdict
        _fault(error)
    raise SystemExit(code if isinstance(code, int) else 0)


def _fault(error: Exception) -> NoReturn:
    """Tell of a fault of the suite. Python would exit with 1, by which CI takes it for an unexpected verdict."""
    traceback.print_exc()
    _refuse(f"the suite's own fault: {type(error).__name__}", 3, error)


def _refuse(message: str, code: int, error: Exception) -> NoReturn:
    print(f"error: {plain(message)}", file=sys.stderr)
    raise SystemExit(code) from error


app.command()(throughput)


@app.command("list")
def list_(
    what: Listable,
    as_json: Annotated[bool, typer.Option("--json", help="For a program.")] = False,
    python: _Python = None,
    adapter: _Adapter = None,
) -> None:
    """List the cases, the implementations found, the clauses of the semantics, or the causes of deviations.

    On a terminal it is a table; in a pipe each is one line, its fields apart by tabs.
    """
    rows = rows_of(what, pairs("--python", python), adapter or [])
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    texts = [[", ".join(value) if isinstance(value, list) else str(value) for value in row.values()] for row in rows]
    if not sys.stdout.isatty():
        for row_texts in texts:
            print("\t".join(plain(" ".join(text.split())) for text in row_texts))
        return
    table = Table(*rows[0] if rows else [])
    for row_texts in texts:
        table.add_row(*map(escape, map(plain, row_texts)))
    Console().print(table)


@app.command()
def check(
    files: _Files = None,
    write_schema: Annotated[bool, typer.Option(help="Write the published JSON Schemas beside the spec.")] = False,
    write_calls: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Write spec/calls.json anew from runs of spec/calls.yaml."),
    ] = None,
    write_costs: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Write spec/costs.json anew: what cells cost in these runs."),
    ] = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="Compare the reference with exact rational arithmetic as well.")
    ] = False,
    adapter: Annotated[
        list[str] | None,
        typer.Option("--adapter", metavar="FILE.py:NAME", help="Ask an adapter the contract's questions."),
    ] = None,
    python: _Python = None,
) -> None:
    """Validate spec files, published numbers, causes and divergences: file:line:column, key, what was expected.

    With --adapter, that adapter is asked what every one is asked, whatever its numbers are; exit code 1 where it fails.
    """
    if adapter or python:
        _check_adapters(adapter or [], files, python)
        return
    from conformance.reference.published import check as check_published
    from conformance.spec.causes import load_causes
    from conformance.spec.divergences import load_divergences
    from conformance.spec.loader import load
    from conformance.spec.locations import spec_folder
    from conformance.spec.own_files import case_files
    from conformance.spec.tiers import load_tiers
    from conformance.throughput.running import check_timed

    if write_schema:
        from conformance.publish.schemas import write_schemas

        print(*write_schemas(spec_folder()), sep="\n")
        return
    if write_calls:
        from conformance.answers.native_learning import write_calls as write_native_calls

        print(write_native_calls(spec_folder(), _complete(write_calls)))
        return
    if write_costs:
        from conformance.run.recorded_costs import write_costs as write_cell_costs

        print(write_cell_costs(spec_folder(), _complete(write_costs)))
        return
    spec = load(spec_folder(), case_files(files or []))
    for warning in check_published(spec):
        print(plain(f"warning: {warning}"), file=sys.stderr)
    ids = [] if files else [entry.case.id for entry in spec.cases]
    causes = load_causes(spec_folder() / "causes.yaml", spec.clauses)
    entries = load_divergences(spec_folder() / "divergences.yaml", ids, causes)
    if not files:
        load_tiers(spec_folder() / "tiers.yaml", ids)
        check_timed()
    print(
        f"{len(spec.cases)} cases, {len(spec.clauses)} clauses, {len(causes)} causes, {len(entries)} divergences: in order"
    )
    if reference:
        from conformance.reference.crosscheck import check as check_references

        print(check_references([entry.case for entry in spec.cases]))


def _complete(paths: list[Path]) -> list[Run]:
    """Return the runs. Raises `UsageError` where one did not end: what is written from it would lack the rest."""
    from conformance.runfile.reading import read

    runs = [read(path) for path in paths]
    for run in runs:
        if not run.complete:
            raise UsageError(f"{run.path}: holds {run.progress} and is no complete run")
    return runs


def _check_adapters(adapters: list[str], files: list[Path] | None, python: list[str] | None) -> None:
    """Print what the adapters' answers break, and exit with 1 where there is anything."""
    from conformance.contract.checking import check as check_contract
    from conformance.execution.pool import Limits
    from conformance.run.programs import check_interpreters
    from conformance.run.session import FOLDER

    if files:
        raise UsageError("check: expected case files or --adapter, not both")
    if not adapters:
        raise UsageError("check: --python says where --adapter runs, and there is none")
    interpreters = pairs("--python", python)
    check_interpreters(interpreters, adapters)
    checked = check_contract(adapters, interpreters, FOLDER, Limits())
    for complaint in checked.complaints:
        print(plain(complaint))
    print(f"answers: {checked.answers}, of implementations: {len(checked.implementations)}", end="; ")
    print(f"complaints: {len(checked.complaints)}" if checked.complaints else "in order")
    raise SystemExit(1 if checked.complaints else 0)


class _WithPytest(TyperCommand):
    """A command whose words after `--` are pytest's, whatever arguments it takes itself."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what stands before `--`, and keep the rest as the context's further words."""
        end = args.index("--") if "--" in args else len(args)
        rest = super().parse_args(ctx, args[:end])
        ctx.args.extend(args[end + 1 :])
        return rest


@app.command(cls=_WithPytest, context_settings={"allow_extra_args": True})
def run(  # noqa: PLR0913, PLR0917 - one parameter per option
    context: typer.Context,
    files: _Files = None,
    implementation: Annotated[list[str] | None, typer.Option(metavar="GLOB")] = None,
    case: Annotated[list[str] | None, typer.Option(metavar="GLOB")] = None,
    mode: Annotated[list[str] | None, mode_option()] = None,
    device: Annotated[list[str] | None, device_option()] = None,
    tier: Annotated[Tier, typer.Option(help="How much of the matrix.")] = Tier.STANDARD,
    adapter: _Adapter = None,
    python: _Python = None,
    unbuilt: Annotated[
        list[str] | None, typer.Option(metavar="GROUP=LOG", help="A group whose environment was not built.")
    ] = None,
    grouped: Annotated[
        bool, typer.Option("--grouped", help="Leave out what is of no group, so that runs of several groups merge.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(parser=whole(1, WORKERS), metavar="N", help="Processes alive at once; omitted: one per core."),
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
    from conformance.execution.pool import Limits
    from conformance.planning.plan import Selection
    from conformance.planning.shards import shard_of
    from conformance.run.session import RunOptions
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
        workers=workers or os.cpu_count() or 1,
        out=out,
        resume=resume,
        shard=None if shard is None else shard_of(shard),
        limits=Limits(cell=cell_seconds),
        first_report=first_report,
        profile=profile,
        pytest_arguments=tuple(context.args),
    )
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


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Run files, or folders of them.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write, in place of an earlier report there.")],
    partial: Annotated[bool, typer.Option(help="Show a run that did not end, marked as that.")] = False,
    single_file: Annotated[bool, typer.Option(help="Write one HTML file, named by --out, to mail.")] = False,
    baseline: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="What its comparison page begins with: as --base of compare."),
    ] = None,
    search: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="What `fuzz` left: the largest scores that it found stand beside the cases'."),
    ] = None,
) -> None:
    """Make the report of run files: a site of static pages, no network, no framework."""
    # A run of many cells is millions of small objects, none of them garbage before the end: looking for some among
    # them again and again costs as much as all the rest.
    gc.disable()
    from conformance.report import write
    from conformance.report.searched import read_searches
    from conformance.runfile.reading import read_all
    from conformance.runfile.results_reading import load

    searches = read_searches(search or ())
    older = load(baseline, partial=partial) if baseline else None
    print(write(read_all(runs), out, partial=partial, single_file=single_file, baseline=older, searches=searches))


app.command()(merge)
app.command()(compare)
app.command()(regression)
app.command()(publish)
app.command()(export)
app.command()(judge)
app.command(context_settings=TRANSLATE_SETTINGS)(translate)
app.command()(explain)
app.command()(fuzz)
app.command()(properties)
app.command()(cluster)


@app.command()
def reproduce(
    cell: Annotated[
        str, typer.Argument(metavar="CELL", help="As printed in a failure: case::implementation-mode-device.")
    ],
    runs: Annotated[
        list[Path] | None, typer.Option("--run", metavar="RUN", help="Where it was recorded; omitted: performed now.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The file to write; omitted: printed.")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="Every step, beyond the first that deviates.")] = False,
    python: _Python = None,
    adapter: _Adapter = None,
) -> None:
    """Print a cell as a script of native calls and NumPy, which shows what was recorded and what is right.

    It needs the library alone, exits 1 where a number is outside its bound, and may be pasted as it is.
    """
    from conformance.files.whole import write_whole
    from conformance.reproduce import performed, recorded, script
    from conformance.run.session import FOLDER

    evidence = recorded(cell, runs) if runs else performed(cell, pairs("--python", python), adapter or [], FOLDER)
    text = script(evidence, whole=whole)
    if out is None:
        print(text, end="")
        return
    write_whole(out, text.encode())


if __name__ == "__main__":
    main()
