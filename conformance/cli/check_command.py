"""`conformance check`: whether the files of a spec are in order, and whether an adapter keeps its contract."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conformance.cli.arguments import Files, Python
from conformance.errors import UsageError
from conformance.run.interpreters import pairs
from conformance.runfile.terminal import plain

if TYPE_CHECKING:
    from conformance.runfile.run import Run


def check(
    files: Files = None,
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
    python: Python = None,
) -> None:
    """Validate spec files, published numbers, causes and divergences: file:line:column, key, what was expected.

    With --adapter, that adapter is asked what every one is asked, whatever its numbers are; exit code 1 where it fails.
    """
    if adapter or python:
        _check_adapters(adapter or [], files, python)
        return
    if write_schema or write_calls or write_costs:
        _write_computed(write_calls, write_costs, schema=write_schema)
        return
    from conformance.reference.published import check as check_published
    from conformance.spec.causes import load_causes
    from conformance.spec.divergences import load_divergences
    from conformance.spec.loader import load
    from conformance.spec.locations import spec_folder
    from conformance.spec.own_files import case_files
    from conformance.spec.tiers import load_tiers
    from conformance.throughput.running import check_timed

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


def _write_computed(calls: list[Path] | None, costs: list[Path] | None, *, schema: bool) -> None:
    """Write what of the spec is computed, the first that is asked for, and print where it is."""
    from conformance.spec.locations import spec_folder

    if schema:
        from conformance.publish.schemas import write_schemas

        print(*write_schemas(spec_folder()), sep="\n")
    elif calls:
        from conformance.answers.native_learning import write_calls

        print(write_calls(spec_folder(), _complete(calls)))
    elif costs:
        from conformance.run.recorded_costs import write_costs

        print(write_costs(spec_folder(), _complete(costs)))


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
    from conformance.run.run_options import FOLDER

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
