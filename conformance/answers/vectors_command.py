"""`conformance export` and `conformance judge`: test vectors, and what another program computed of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from conformance.errors import UsageError


def export(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write, in place of earlier vectors there.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE|FOLDER]...", help="Case files of your own; omitted: the shipped spec."),
    ] = None,
    case: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="The cases to export.")] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="ONNX models with expected outputs as well.")] = False,
) -> None:
    """Write cases as test vectors for other languages: inputs, what must come out, bounds, and other dialects."""
    from conformance.answers.vector_files import write
    from conformance.planning.plan import Selection
    from conformance.spec.loader import load
    from conformance.spec.locations import spec_folder
    from conformance.spec.own_files import case_files

    spec = load(spec_folder(), case_files(files or []))
    selection = Selection(cases=tuple(case or ()))
    chosen = [located for located in spec.cases if selection.takes_case(located.case)]
    if not chosen:
        raise UsageError(f"nothing selected: no case matches {', '.join(case or ())}")
    print(write(spec, chosen, out, onnx=onnx))


def judge(
    vectors: Annotated[Path, typer.Argument(metavar="VECTORS", help="The folder that export wrote.")],
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="What was computed of it: JSON Lines.")],
    out: Annotated[Path, typer.Option(metavar="RUN", help="The run file to write: a row of a report.")],
) -> None:
    """Judge what another program computed of test vectors, into a run file like any other.

    Exits 1 where something deviates that its dialect does not foresee.
    """
    from conformance.answers.results import judge_results

    summary = judge_results(vectors, results, out)
    print(summary.text)
    if summary.notes:
        raise SystemExit(1)
