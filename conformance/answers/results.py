"""What somebody computed of test vectors, elsewhere and in any language, judged into a run file like any other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from msgspec import UNSET
from pydantic import ValidationError

from conformance.answers import safetensors
from conformance.answers.own_numbers import declarations, key_of, offered
from conformance.answers.vector_files import INDEX, read_index, read_vector
from conformance.answers.vector_structs import (
    CaseResults,
    IndexEntry,
    ResultsHeader,
    StepResults,
    VectorArray,
    VectorIndex,
)
from conformance.errors import Place, UsageError
from conformance.judging.judge import judge
from conformance.operations import OPERATIONS
from conformance.outcome import Outcome, Produced, Refused, Unsupported
from conformance.planning.plan import Cell, Offer, Selection
from conformance.precision import rounded
from conformance.protocol import Declared
from conformance.reference.expected import References
from conformance.reference.inputs import inputs_of
from conformance.runfile import lines
from conformance.runfile.notes import describe
from conformance.runfile.structs import CaseLine, Record
from conformance.runfile.writing import RunWriter
from conformance.spec.case import Case
from conformance.spec.divergences import Known
from conformance.spec.loader import Located, Spec, load_clauses, load_sections
from conformance.spec.locations import spec_folder
from conformance.verdict import Verdict

Array = np.ndarray[Any, np.dtype[Any]]
_Value = TypeVar("_Value")
#: The exception's type of what another language refused.
_REFUSAL = "Refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A file of results, read."""

    path: Path
    header: ResultsHeader
    #: Case -> its line's number and what it says.
    by_case: Mapping[str, tuple[int, CaseResults]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What judging gave: how many cells of each verdict, and a note on each that nothing foresees."""

    verdicts: Mapping[Verdict, int]
    notes: tuple[str, ...]

    @property
    def text(self) -> str:
        """The notes, then the counts on one line."""
        counts = ", ".join(f"{count} {verdict}" for verdict, count in self.verdicts.items())
        return "\n".join([*self.notes, counts])


def judge_results(vectors: Path, path: Path, out: Path) -> Summary:
    """Judge the results at `path` by the vectors, and write the run file `out`. Raises `UsageError`."""
    index, results = read_index(vectors), read_results(path)
    known = {entry.id for entry in index.cases}
    for case, (number, _) in results.by_case.items():
        if case not in known:
            raise UsageError(f"{path}:{number}: case: {case!r} is none of {vectors / INDEX}")
    entries = [entry for entry in index.cases if entry.op == results.header.op]
    if not entries:
        raise UsageError(f"{path}:1: op: {results.header.op!r} is of no case of {vectors / INDEX}")
    return _recorded(vectors, index, entries, results, out)


def read_results(path: Path) -> Results:
    """Return a file of results: a line that says whose they are, then one line a case. Raises `UsageError`."""
    try:
        texts = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not texts:
        raise UsageError(f"{path}:1: expected a line with implementation, library, version and state")
    header = _decoded(texts[0], ResultsHeader, path, 1)
    if header.op not in OPERATIONS:
        raise UsageError(f"{path}:1: op: expected one of {', '.join(OPERATIONS)}; got {header.op!r}")
    by_case: dict[str, tuple[int, CaseResults]] = {}
    for number, text in enumerate(texts[1:], 2):
        if text.strip():
            line = _decoded(text, CaseResults, path, number)
            if line.case in by_case:
                raise UsageError(f"{path}:{number}: case: {line.case!r} stands in line {by_case[line.case][0]} already")
            by_case[line.case] = number, line
    return Results(path=path, header=header, by_case=by_case)


def _decoded(text: bytes, kind: type[_Value], path: Path, number: int) -> _Value:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path}:{number}: {str(error) or 'nested too deep'}") from error


def _recorded(vectors: Path, index: VectorIndex, entries: Sequence[IndexEntry], results: Results, out: Path) -> Summary:
    profile = _profile(results)
    lacks = OPERATIONS[results.header.op].quantities.keys() - {
        name for _, line in results.by_case.values() for step in line.steps for name in step.quantities
    }
    implementation = replace(
        offered(results.header.op, profile, lacks=lacks, name=results.header.implementation),
        modes=(results.header.mode,),
        devices=(results.header.device,),
    )
    offer = Offer(
        key=key_of(results.header.implementation),
        library=results.header.library,
        versions={results.header.library: results.header.version},
        settings={},
        host={},
        implementations=(implementation,),
        reasons={},
    )
    references = References()
    cells = [
        Cell(
            case=_case(vectors, entry),
            implementation=implementation,
            mode=results.header.mode,
            device=results.header.device,
            key=offer.key,
            unsupported=None,
        )
        for entry in entries
    ]
    records = [_record(cell, results, references) for cell in cells]
    semantics = spec_folder() / "semantics.md"
    spec = Spec(cases=(), clauses=load_clauses(semantics), sections=load_sections(semantics), hash=index.spec)
    with RunWriter(out, narrowed=True) as writer:
        header = lines.header_line(spec, Selection(), (), len(entries), narrowed=True)
        writer.add(msgspec.structs.replace(header, started=time.strftime("%Y-%m-%dT%H:%M:%S%z")))
        writer.add(lines.environment_line(offer))
        for cell in cells:
            writer.add(lines.case_line(Located(case=cell.case, file=vectors, place=Place(file=str(vectors)))))
        for record in records:
            writer.add(record)
        writer.close_run(ended=True, finished=time.strftime("%Y-%m-%dT%H:%M:%S%z"))
        verdicts = {verdict: writer.counts[verdict] for verdict in Verdict if writer.counts[verdict]}
    words = lines.recorded_catalogue()
    return Summary(verdicts=verdicts, notes=tuple(describe(record, words) for record in records if not record.expected))


def _profile(results: Results) -> list[Declared]:
    try:
        stated = declarations(results.header.dialect)
    except UsageError as error:
        raise UsageError(f"{results.path}:1: {error}") from error
    stated = [replace(field, error=_REFUSAL if field.value == "error" else None) for field in stated]
    return [*stated, *declarations({} if results.header.state == "own" else {"state": "caller"})]


def _case(vectors: Path, entry: IndexEntry) -> Case:
    """Return the case of a file of vectors. Raises `UsageError` where this suite makes other arrays of its recipes."""
    line: CaseLine = read_vector(vectors, entry).case
    try:
        case = lines.case_from(line)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(f"{vectors / entry.file}: case.{place}: {first['msg']}") from error
    made = tuple("" if step.input is None else step.checksum for step in inputs_of(case).steps)
    if (case.id, made) != (entry.id, entry.inputs):
        raise UsageError(f"{vectors / entry.file}: its arrays are not those of the index; export them again")
    return case


def _record(cell: Cell, results: Results, references: References) -> Record:
    number, line = results.by_case.get(cell.case.id, (0, None))
    if line is None:
        outcomes: tuple[Outcome, ...] = (Unsupported(reason="has no results of this case"),)
    elif line.unsupported:
        outcomes = (Unsupported(reason=line.unsupported),)
    else:
        outcomes = tuple(_outcomes(cell, line, f"{results.path}:{number}", results.path.parent))
    return lines.record_line(cell, judge(cell, outcomes, references), Known())


def _outcomes(cell: Cell, line: CaseResults, place: str, folder: Path) -> Iterator[Outcome]:
    kinds = [step.step for step in cell.case.performed]
    if len(line.steps) != len(kinds):
        raise UsageError(f"{place}: steps: {cell.case.id} has {len(kinds)}, got {len(line.steps)}")
    tensors = {} if line.tensors is UNSET else _tensors(folder, line.tensors, place)
    yield Produced(quantities={}, state=inputs_of(cell.case).initial, seconds=0.0)
    state_names = OPERATIONS[cell.case.op].state(cell.case.configuration)
    for step, given in enumerate(line.steps):
        arrays = {
            name: _array(value, tensors, f"{place}: steps[{step}].{name}") for name, value in _known(cell, given, place)
        }
        state = {name: value for name, value in arrays.items() if name in state_names}
        rest = {name: value for name, value in arrays.items() if name not in state_names}
        if given.refused is not UNSET:
            yield Refused(types=(_REFUSAL,), message=given.refused, trace="", state=state or None, seconds=0.0)
        elif cell.implementation.keeps_state:
            yield Produced(quantities=rest, state=state, seconds=0.0)
        else:
            # By the reference's gradients, and judging would take the implementation's own.
            descends = kinds[step] == "sgd"
            yield Produced(quantities={} if descends else arrays, state={}, seconds=0.0)


def _known(cell: Cell, given: StepResults, place: str) -> Iterator[tuple[str, VectorArray]]:
    known = OPERATIONS[cell.case.op].quantities
    for name, value in given.quantities.items():
        if name not in known:
            raise UsageError(f"{place}: expected quantities among {', '.join(known)}; got {name!r}")
        yield name, value


def _tensors(folder: Path, name: str, place: str) -> dict[str, Array]:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{place}: tensors: {name!r} is outside the folder of the results")
    return safetensors.read(path)


def _array(value: VectorArray, tensors: Mapping[str, Array], place: str) -> Array:
    """Return an array of the results, its numbers rounded to its dtype. Raises `UsageError`."""
    if value.tensor is not UNSET:
        if value.tensor not in tensors:
            raise UsageError(f"{place}: tensor: there is no {value.tensor!r} in the file of tensors")
        array = tensors[value.tensor]
    else:
        numbers = [_number(one, place) for one in (() if value.values is UNSET else value.values)]
        array = rounded(np.array(numbers, dtype=np.float64), value.dtype)
    if array.size != np.prod(value.shape, dtype=int):
        raise UsageError(f"{place}: {array.size} values do not make the shape {value.shape}")
    return array.reshape(value.shape)


def _number(value: str | float, place: str) -> float:
    try:
        return float.fromhex(value) if isinstance(value, str) else float(value)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{place}: expected hexadecimal floats or numbers, got {value!r}") from error
