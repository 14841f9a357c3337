"""The lines of a run file, made from environments, cases and judged cells."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import msgspec
from msgspec import UNSET

from conformance import __version__
from conformance.cause import Cause, Parameter
from conformance.errors import WorkerError
from conformance.execution.timeline import Timeline
from conformance.judging.judgement import Judged, Judgement, StepJudgement
from conformance.operations import OPERATIONS
from conformance.operations.layout import index_of
from conformance.operations.score import Worst
from conformance.planning.discovery import WorkerKey
from conformance.planning.plan import Cell, Offer, Selection
from conformance.precision import extended
from conformance.protocol import Configuration
from conformance.reference.inputs import Inputs, StepInputs, inputs_of
from conformance.runfile.numbers import finite, not_finite, number
from conformance.runfile.structs import (
    FORMAT,
    Alternatives,
    CaseLine,
    CatalogueEntry,
    EnvironmentLine,
    Header,
    Letter,
    ListedDivergence,
    NativeCall,
    QuantityRecord,
    Record,
    RecordedCause,
    RecordedConfiguration,
    RecordedOffer,
    RecordedSelection,
    RecordedTerm,
    ReferenceArithmetic,
    StepRecord,
    WorstElement,
)
from conformance.runfile.timeline_structs import RecordedLane, RecordedTimeline
from conformance.spec.case import Case
from conformance.spec.causes import catalogue
from conformance.spec.data_kinds import load_data_kinds
from conformance.spec.divergences import Known, Listed
from conformance.spec.loader import Located, Spec
from conformance.spec.locations import spec_folder
from conformance.verdict import Standing


def header_line(spec: Spec, selection: Selection, arguments: Sequence[str], planned: int, narrowed: bool) -> Header:
    """Return what was run; `started` is added by the caller, so that this stays a function of its arguments."""
    return Header(
        format=FORMAT,
        suite=__version__,
        spec=spec.hash,
        planned=planned,
        narrowed=narrowed,
        tier=selection.tier.value,
        selection=RecordedSelection(
            implementations=tuple(selection.implementations),
            cases=tuple(selection.cases),
            modes=tuple(selection.modes),
            devices=tuple(selection.devices),
            pytest=tuple(arguments),
        ),
        clauses=dict(spec.clauses),
        sections=dict(spec.sections),
        host={
            "python": platform.python_version(),
            "system": platform.system(),
            "release": platform.release(),
            "machine": platform.machine(),
            "cores": os.cpu_count(),
        },
        dialects={name: asdict(operation.dialect) for name, operation in OPERATIONS.items()},
        reference=ReferenceArithmetic(bits=extended().bits, kind=extended().kind),
        causes=dict(recorded_catalogue()),
        data_kinds=dict(load_data_kinds(spec_folder() / "data-kinds.yaml")),
    )


def environment_line(offer: Offer) -> EnvironmentLine:
    """Return the process that ran an adapter: versions, settings, and what it offers, with its profiles."""
    key = offer.key
    return EnvironmentLine(
        id=key.name,
        group=key.group,
        adapter=key.file_name,
        process=dict(key.environment),
        threads=key.threads,
        library=offer.library,
        versions=_texts(offer.versions),
        settings=_texts(offer.settings),
        host=_texts(offer.host),
        sources=dict(offer.sources),
        implementations=tuple(msgspec.convert(asdict(offered), RecordedOffer) for offered in offer.implementations),
    )


def failure_line(error: WorkerError, key: WorkerKey) -> EnvironmentLine:
    """Return an environment that did not start, with the reason."""
    return EnvironmentLine(
        id=key.name,
        group=key.group,
        adapter=key.file_name,
        process=dict(key.environment),
        threads=key.threads,
        failed=error.message,
    )


def unbuilt_line(group: str, log: str) -> EnvironmentLine:
    """Return a group whose environment was not built, with the installer's last lines."""
    return EnvironmentLine(id=group, group=group, failed=f"was not built; the installer's log ends:\n{log}")


def absent_line(group: str, why: str) -> EnvironmentLine:
    """Return a group that nothing can run where the run is, with the reason."""
    return EnvironmentLine(id=group, group=group, failed=why)


def case_line(located: Located) -> CaseLine:
    """Return a case with its formulas and its data's recipes."""
    case = located.case
    formulas = OPERATIONS[case.op].formulas
    kinds = dict.fromkeys(step.step for step in case.performed)
    return CaseLine(
        id=case.id,
        family=case.family,
        title=case.title,
        source=case.source,
        clauses=tuple(case.clauses),
        op=case.op,
        configuration=msgspec.convert(finite(asdict(case.configuration)), RecordedConfiguration),
        initial={name: finite(recipe.model_dump(exclude_none=True)) for name, recipe in case.initial.items()},
        steps=tuple(finite(step.model_dump(exclude_none=True)) for step in case.steps),
        formulas={kind: formulas[kind] for kind in kinds},
        published=tuple(finite(published.model_dump(exclude_none=True)) for published in case.expected),
        threads=UNSET if case.threads is None else case.threads,
    )


def case_from(line: CaseLine) -> Case:
    """Return the case that a run file's line describes, whatever the spec says by now. Raises `ValidationError`."""
    fields = not_finite(msgspec.to_builtins(line))
    names = ("id", "title", "source", "clauses", "op", "initial", "steps")
    return Case.model_validate({**{name: fields[name] for name in names}, **fields["configuration"]})


@functools.cache
def recorded_catalogue() -> Mapping[str, CatalogueEntry]:
    """Return the shipped catalogue of causes as a run file holds it."""
    return {
        id_: CatalogueEntry(
            words=entry.words,
            one=entry.one or "",
            varies=entry.varies,
            instead=entry.instead,
            seen=entry.seen,
            clause=entry.clause,
            symptom=entry.symptom,
        )
        for id_, entry in catalogue().items()
    }


def record_line(
    cell: Cell, judgement: Judgement, known: Known, stale: Sequence[Listed] = (), inputs: Inputs | None = None
) -> Record:
    """Return a judged cell; `known` is what the divergences say of it, `stale` those that it no longer shows.

    `inputs` are the arrays that it was performed on, where those are not made by the recipes of its case.
    """
    performed = (inputs or inputs_of(cell.case)).steps
    call = next((step.call for step in judgement.steps if step.call), None)
    return Record(
        cell=cell.id,
        case=cell.case.id,
        implementation=cell.implementation.name,
        mode=cell.mode,
        device=cell.device,
        environment=cell.key.name,
        verdict=judgement.verdict,
        standing=standing_of(judgement, known, stale),
        steps=tuple(
            _step(step, performed[step.number - 1] if step.number else None, cell.case.configuration)
            for step in judgement.steps
        ),
        call=None if call is None else NativeCall(**call),
        diagnosis=tuple(recorded_causes(explanation.alternatives) for explanation in judgement.diagnosis),
        grade=cast("Letter", judgement.grade),
        observed=dict(judgement.observed),
        again=judgement.again,
        divergence=tuple(_divergence(cause, entry) for cause, entry in known.by_entry),
        score=number(_score(judgement)),
    )


def standing_of(judgement: Judgement, known: Known, stale: Sequence[Listed]) -> Standing:
    """Return how a cell stands to what was expected of it; one that no longer shows what it is to witness does not."""
    if stale:
        return Standing.UNEXPECTED
    if judgement.verdict.agrees:
        return Standing.AGREES
    if not judgement.verdict.judged:
        return Standing.APART
    if known.wholly:
        return Standing.KNOWN
    return Standing.DOCUMENTED if judgement.expected else Standing.UNEXPECTED


def recorded_causes(causes: Iterable[Cause]) -> Alternatives:
    """Return causes that fit equally well, as a run file holds them."""
    return tuple(
        RecordedCause(
            id=cause.id,
            parameters={name: _parameter(value) for name, value in cause.parameters},
            quantities=cause.quantities,
        )
        for cause in causes
    )


def _parameter(value: Parameter) -> Any:
    match value:
        case tuple():
            return tuple(
                RecordedTerm(name=term.name, observed=term.observed, right=term.right, digits=term.digits)
                for term in value
            )
        case _:
            return finite(value)


def _divergence(cause: Cause, entry: Listed) -> ListedDivergence:
    listed = entry.divergence
    return ListedDivergence(cause=cause.id, reason=listed.reason, diagnosis=listed.diagnosis, upstream=listed.upstream)


def _score(judgement: Judgement) -> float | None:
    scores = [judged.score for step in judgement.steps for judged in step.quantities if judged.score is not None]
    return max(scores, default=None)


def _step(step: StepJudgement, inputs: StepInputs | None, configuration: Configuration) -> StepRecord:
    has_input = inputs is not None and inputs.input is not None
    shape = inputs.input.shape if inputs is not None and inputs.input is not None else configuration.shape
    return StepRecord(
        number=step.number,
        kind=step.kind,
        verdict=step.verdict,
        expected=step.expected,
        quantities=tuple(_quantity(judged, configuration, shape) for judged in step.quantities),
        seconds=None if step.seconds is None else round(step.seconds, 6),
        message=step.message,
        raised=step.raised,
        deadline=step.deadline,
        inputs=inputs.checksum if inputs is not None and has_input else "",
    )


def _quantity(judged: Judged, configuration: Configuration, shape: tuple[int, ...]) -> QuantityRecord:
    # State that must stay and stayed has no worst element that says anything.
    kept = (
        judged.quantity in OPERATIONS[configuration.op].initial
        and judged.worst is not None
        and not judged.worst.allowed
    )
    says_something = judged.worst is not None and judged.score is not None and (judged.score or not kept)
    return QuantityRecord(
        quantity=judged.quantity,
        verdict=judged.verdict,
        score=number(judged.score),
        by_grade={grade: number(score) for grade, score in judged.narrower.items()},
        worst=_worst(judged.worst, judged.quantity, configuration, shape) if says_something and judged.worst else None,
        fields=tuple(judged.fields),
        causes=recorded_causes(judged.causes),
        also=recorded_causes(judged.also),
        bits=judged.bits,
        dtype=judged.dtype,
        shape=tuple(judged.shape),
    )


def _worst(worst: Worst, quantity: str, configuration: Configuration, shape: tuple[int, ...]) -> WorstElement:
    kind = OPERATIONS[configuration.op].quantities[quantity].shape
    return WorstElement(
        index=index_of(worst.position, kind, configuration, shape),
        expected=number(worst.expected),
        observed=number(worst.observed),
        allowed=number(worst.allowed),
    )


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}


def timeline_part(timeline: Timeline) -> RecordedTimeline | None:
    """Return what each process did and when, in hundredths of a second; None where no process of this machine took part."""
    if not timeline.lanes:
        return None
    return RecordedTimeline(
        seconds=round(timeline.seconds, 2),
        own=timeline.own,
        lanes=tuple(
            RecordedLane(
                name=lane.name,
                began=round(max(0.0, lane.began), 2),
                ended=round(max(0.0, lane.ended), 2),
                cells=lane.cells,
                calls=round(lane.calls, 2),
                importing=round(lane.importing, 2),
                processor=round(lane.processor, 2),
                compiling=None if lane.compiling is None else round(max(0.0, lane.compiling), 2),
                parts=lane.parts,
            )
            for lane in timeline.lanes
        ),
    )
