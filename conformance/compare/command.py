"""`conformance compare`: the command line of two runs, or of the speed of two interpreters."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from conformance.compare.values import Comparison, FailOn, Policy
from conformance.errors import UsageError
from conformance.run.interpreters import pairs
from conformance.run.number_option import DRIFT, decimal
from conformance.runfile.terminal import plain


class Form(StrEnum):
    """How a comparison is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"
    JUNIT = "junit"


_Base = Annotated[list[Path] | None, typer.Option(metavar="RUN", help="Run files, folders of them, or a results.json.")]
_New = Annotated[list[Path] | None, typer.Option(metavar="RUN", help="The same, of what is compared with it.")]
_BasePython = Annotated[
    list[str] | None, typer.Option(metavar="GROUP=PATH", help="In place of runs: compare the speed of this")
]
_NewPython = Annotated[list[str] | None, typer.Option(metavar="GROUP=PATH", help="interpreter and of this.")]
_Implementation = Annotated[list[str] | None, typer.Option(metavar="GLOB", help="What is timed.")]
_Case = Annotated[list[str] | None, typer.Option(metavar="GLOB", help="The cases that time it.")]
_Form = Annotated[
    Form,
    typer.Option(
        "--format", metavar="text|markdown|json|junit", help="For a terminal, a pull request, a program or CI."
    ),
]
_Out = Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there; omitted: print it.")]
_FailOn = Annotated[list[FailOn] | None, typer.Option(metavar="CHANGE", help="Count it as a regression too; repeats.")]
_DriftFactor = Annotated[
    float, typer.Option(metavar="X", parser=decimal(1, DRIFT), help="A score drifted that grew so much,")
]
_DriftFloor = Annotated[float, typer.Option(metavar="X", parser=decimal(0, DRIFT), help="to such a part of its bound.")]
_Partial = Annotated[bool, typer.Option(help="Take runs that did not end, said on the face of it.")]


def compare(
    base: _Base = None,
    new: _New = None,
    base_python: _BasePython = None,
    new_python: _NewPython = None,
    implementation: _Implementation = None,
    case: _Case = None,
    form: _Form = Form.TEXT,
    out: _Out = None,
    fail_on: _FailOn = None,
    drift_factor: _DriftFactor = 2.0,
    drift_floor: _DriftFloor = 0.1,
    partial: _Partial = False,
) -> None:
    """Tell what changed between two runs, worst first; exit 1 where something regressed or moved.

    A regression, expected or not, is:

    - a verdict that stands worse than it did, best to worst: exact and conforms; dialect; unsupported, undecided
    and announced refusals; refused and deviates; timed out; crashed. What was unsupported had nothing to lose.

    - exact that became conforms where clause 13.4 demands exact results.

    - a grade of stability that fell, over the cells that both runs have.

    - an environment that worked and fails; cells that are gone though the run has their case.

    Moved is a cell that agrees as before and by another convention: a dialect that became another one, or none, and
    numbers that follow a dialect now. Its users get other numbers.

    Told, and a regression only where --fail-on names it:

    - a score that grew without another verdict (drift); exact that became conforms elsewhere (exactness).

    - new or newly supported cells that disagree (appeared); cells that are gone since the run was narrowed, is
    partial or of another tier, or lacks the case or the environment (vanished).

    With two interpreters in place of two runs, their speed is compared, in pairs of fresh processes: a regression is
    a call that became slower, or whose error grew.
    """
    if base_python or new_python:
        if base or new:
            raise UsageError("compare: expected runs (--base, --new) or interpreters (--base-python, --new-python)")
        raise SystemExit(_speed(base_python, new_python, implementation, case, form, out))
    if not (base and new):
        raise UsageError("compare: expected --base RUN and --new RUN, or --base-python and --new-python")
    if implementation or case:
        raise UsageError(
            "compare: --implementation and --case say what is timed, beside --base-python and --new-python"
        )
    policy = Policy(drift_factor=drift_factor, drift_floor=drift_floor, fail_on=tuple(dict.fromkeys(fail_on or ())))
    comparison = _compared(base, new, policy, partial)
    _give(_written(comparison, form), out)
    raise SystemExit(1 if comparison.regression else 0)


def _speed(
    base_python: list[str] | None,
    new_python: list[str] | None,
    implementation: list[str] | None,
    case: list[str] | None,
    form: Form,
    out: Path | None,
) -> int:
    """Compare the speed of two interpreters and return the exit code."""
    if not (base_python and new_python):
        raise UsageError("compare: expected --base-python and --new-python")
    from conformance.throughput.command import compare_speed

    sides = pairs("--base-python", base_python), pairs("--new-python", new_python)
    return compare_speed(*sides, tuple(implementation or ()), tuple(case or ()), form.value, out)


def _compared(base: Sequence[Path], new: Sequence[Path], policy: Policy, partial: bool) -> Comparison:
    import gc

    from conformance.compare.comparison import compare as compare_results
    from conformance.runfile.results_reading import load

    gc.disable()  # as in `report`: millions of objects, none of them garbage before the end
    return compare_results(load(list(base), partial=partial), load(list(new), partial=partial), policy)


def _give(text: str, out: Path | None) -> None:
    from conformance.files.whole import write_whole

    if out is None:
        sys.stdout.write(text)
    else:
        write_whole(out, text.encode())


def _written(comparison: Comparison, form: Form) -> str:
    from conformance.compare.junit import junit
    from conformance.compare.markdown import markdown
    from conformance.compare.text import text
    from conformance.files.json_text import text_of

    match form:
        case Form.TEXT:
            return plain(text(comparison))
        case Form.MARKDOWN:
            return markdown(comparison)
        case Form.JSON:
            return text_of(comparison)
        case Form.JUNIT:
            return junit(comparison)
