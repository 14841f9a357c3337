"""The command line: `conformance list`, `check`, `run`, `report`, `reproduce` and what other packages bring.

Exit codes: 0; 1 unexpected verdicts; 2 the user's mistake, or nothing selected; 3 the suite failed, or
planned is not recorded; 130 interrupted.
"""

from __future__ import annotations

import errno
import gc
import json
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from conformance import __version__
from conformance.answers.explain_command import explain
from conformance.answers.translation_command import SETTINGS as TRANSLATE_SETTINGS
from conformance.answers.translation_command import translate
from conformance.answers.vectors_command import export, judge
from conformance.cli.arguments import Adapter, Python
from conformance.cli.check_command import check
from conformance.cli.run_command import WithPytest, run
from conformance.cluster.command import cluster
from conformance.compare.command import compare
from conformance.errors import ConformanceError, StorageError, SuiteError
from conformance.publish.command import publish
from conformance.regression.command import regression
from conformance.run.interpreters import pairs
from conformance.run.listing import Listable, rows_of
from conformance.runfile.merge_command import merge
from conformance.runfile.terminal import plain
from conformance.search.command import fuzz, properties
from conformance.throughput.command import throughput

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


def main() -> None:
    """Run the command line; what a person got wrong is one line and exit code 2."""
    # Reading the spec makes some 100,000 objects that stay: looking at them after every 700 new ones is a third of the time.
    gc.set_threshold(20_000)
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
    python: Python = None,
    adapter: Adapter = None,
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


app.command()(check)
app.command(cls=WithPytest, context_settings={"allow_extra_args": True})(run)


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
    python: Python = None,
    adapter: Adapter = None,
) -> None:
    """Print a cell as a script of native calls and NumPy, which shows what was recorded and what is right.

    It needs the library alone, exits 1 where a number is outside its bound, and may be pasted as it is.
    """
    from conformance.files.whole import write_whole
    from conformance.reproduce import performed, recorded, script
    from conformance.run.run_options import FOLDER

    evidence = recorded(cell, runs) if runs else performed(cell, pairs("--python", python), adapter or [], FOLDER)
    text = script(evidence, whole=whole)
    if out is None:
        print(text, end="")
        return
    write_whole(out, text.encode())
