"""The suite as a Python package: judge numbers of your own, run cells, read spec and run files.

    from conformance.api import assert_conforms, judge

Everything here is typed and stays. Whatever is wrong with an argument or a file is a `ConformanceError` of one line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from numpy.typing import ArrayLike

from conformance.answers.assertion import assert_conforms
from conformance.answers.libraries import Libraries
from conformance.answers.own_numbers import PassKind, configuration_of, of_case, of_pass
from conformance.answers.translating import translate as _translate
from conformance.answers.translation import Translation
from conformance.errors import ConformanceError, UsageError, WorkerError
from conformance.execution.execute import execute
from conformance.execution.pool import Workers, usual_count
from conformance.execution.survey import survey
from conformance.judging.judge import judge as _judge_cell
from conformance.judging.judgement import Judged, Judgement, StepJudgement
from conformance.planning.discovery import keys
from conformance.planning.plan import Cell, Offer, Selection, plan
from conformance.protocol import Configuration
from conformance.reference.expected import References
from conformance.reference.inputs import Inputs, StepInputs
from conformance.reference.inputs import inputs_of as case_inputs
from conformance.runfile.reading import read as read_run
from conformance.runfile.reading import read_all as read_runs
from conformance.runfile.run import Run
from conformance.spec.case import Case
from conformance.spec.loader import Spec
from conformance.spec.loader import load as _load
from conformance.spec.locations import spec_folder
from conformance.spec.own_files import case_files
from conformance.verdict import Verdict

__all__ = [
    "Case",
    "Cell",
    "Configuration",
    "ConformanceError",
    "Inputs",
    "Judged",
    "Judgement",
    "Run",
    "Selection",
    "Spec",
    "StepInputs",
    "StepJudgement",
    "Translation",
    "UsageError",
    "Verdict",
    "assert_conforms",
    "case_inputs",
    "configuration_of",
    "judge",
    "load_spec",
    "read_run",
    "read_runs",
    "run_cells",
    "translate",
]


def judge(
    case_or_configuration: Case | Configuration,
    inputs: Inputs | Mapping[str, ArrayLike],
    outputs: Sequence[Mapping[str, ArrayLike]] | Mapping[str, ArrayLike],
    *,
    step: PassKind | None = None,
    dialect: Mapping[str, str | int | bool] | None = None,
) -> Judgement:
    """Return what numbers mean that you computed: verdict, score, worst element and cause of each quantity.

    Parameters
    ----------
    case_or_configuration
        A case of the spec, of which every step was performed; or a configuration (`configuration_of`) of one pass.
    inputs
        Of a case, `case_inputs(case)`, on which it was performed. Of a configuration, by name: `input`, and as far as
        there are `upstream`, `mask`, and the state before the pass (`gamma`, `beta`, `moving_mean`, `moving_variance`,
        one value per feature).
    outputs
        By name what came: `output` and `grad_input` of the input's shape; `grad_gamma`, `grad_beta`, `batch_mean`,
        `batch_variance` and the state afterwards, one value per feature. Of a case, one such mapping for each step, its
        repetitions written out. What is left out is not judged.
    step
        Of a configuration: whether the pass was in training (`train`) or not (`infer`).
    dialect
        What your implementation documents to do otherwise than the spec: `{"moving_correction": 1}` and the like.

    Raises
    ------
    UsageError
        Where names, shapes or dtypes do not fit one another, or the inputs are not those of the case.

    Notes
    -----
    A score is the error over the bound that every healthy algorithm keeps on this very input; 1 is the limit
    (`docs/tolerances.md`).

    """
    match case_or_configuration, inputs, outputs:
        case Case() as case, Inputs(), _ if not isinstance(outputs, Mapping):
            if _checksums(inputs) != _checksums(case_inputs(case)):
                raise UsageError(f"inputs: not those of {case.id}; expected case_inputs(case)")
            return of_case(case, outputs, dialect).judge()
        case Case() as case, _, _:
            raise UsageError(f"{case.id}: expected case_inputs(case), and a list with a mapping for each step")
        case Configuration() as configuration, Mapping(), Mapping() if step is not None:
            return of_pass(configuration, inputs, outputs, step, dialect).judge()
        case _:
            raise UsageError("of a configuration: expected inputs and outputs by name, and step='train' or 'infer'")


def load_spec(files: Iterable[Path] = ()) -> Spec:
    """Return the shipped spec, or case files and folders of your own. Raises `SpecErrors` with every error, `UsageError`."""
    return _load(spec_folder(), case_files(files))


def run_cells(
    spec: Spec,
    selection: Selection,
    *,
    adapters: Iterable[str] = (),
    interpreters: Mapping[str, str] | None = None,
    workers: int | None = None,
    folder: Path = Path(".conformance"),
) -> Iterator[tuple[Cell, Judgement]]:
    """Yield the selected cells as they are judged, each with its judgement.

    `adapters` are `path/file.py:NAME` or `package.module:NAME`, alone where some are named; `interpreters` maps a group
    of frameworks to the Python that has it, and `workers` are the processes at work at once, one more than cores unless said. A
    library that is not installed has no cells. Raises `UsageError`, and `WorkerError` where what was asked for does not start.
    """
    with Workers(workers or usual_count(), folder) as pool:
        offers = []
        wanted = keys(interpreters or {}, adapters)
        asked = {key.name for key in wanted if key.asked}
        for answer in survey(wanted, [located.case.configuration for located in spec.cases], pool):
            match answer:
                case Offer():
                    offers.append(answer)
                case WorkerError() if answer.worker in asked or answer.missing is None:
                    raise answer
                case _:
                    pass
        references = References()
        for cell, outcomes in execute(plan(spec.cases, offers, selection), pool):
            yield cell, _judge_cell(cell, outcomes, references)


def translate(
    source: str,
    target: str,
    arguments: Mapping[str, object],
    *,
    rank: int = 4,
    features: int | None = None,
    adapters: Iterable[str] = (),
    interpreters: Mapping[str, str] | None = None,
    folder: Path = Path(".conformance"),
) -> Translation:
    """Return a layer of one library in the words of another: both calls, what cannot be carried over, and the proof.

    `source` and `target` are implementations or libraries, `arguments` the source's own by name, `rank` the number of axes
    of the input, `features` that of its features (5 unless an argument says). `adapters` and `interpreters` are those of
    `run_cells`. Raises `UsageError`, also where the target cannot express the layer.
    """
    with Workers(usual_count(), folder) as pool:
        libraries = Libraries(interpreters or {}, adapters, pool)
        given = {name: str(value) for name, value in arguments.items()}
        rows = libraries.row(source), libraries.row(target)
        return _translate(*rows, given, libraries, rank=rank, features=features)


def _checksums(inputs: Inputs) -> list[str]:
    return [step.checksum for step in inputs.steps]
