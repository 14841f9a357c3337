"""What is timed: one pass of one cell; and what came of it, as a line of a run file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, cast

import msgspec

from conformance.operations import OPERATIONS
from conformance.planning.plan import Cell
from conformance.runfile.line import Dtype
from conformance.runfile.numbers import number
from conformance.runfile.throughput_structs import (
    BatchStatistics,
    BatchTimes,
    Measurement,
    PassName,
    Shares,
    ThroughputLine,
    TimingStanding,
    WarmUp,
)
from conformance.throughput.contention import Batch, Disturbance, never_quiet
from conformance.throughput.limit import Evidence, Standing, fractions_of, standing_of, tensor_bytes
from conformance.throughput.verifying import Accuracy

#: Pass -> the pass whose bytes must move.
PASSES: Mapping[PassName, PassName] = {
    "infer": "infer",
    "infer_into": "infer",
    "train_forward": "train_forward",
    "train": "train",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """One pass of one cell."""

    cell: Cell
    name: PassName

    @property
    def id(self) -> str:
        """Unique in a run, and the same in every run."""
        return _id(self.cell, self.name)

    @property
    def row(self) -> tuple[str, str, int | None]:
        """The column, the pass and the number of threads, which have one smallest case."""
        return self.cell.column, self.name, self.cell.case.threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured of a subject."""

    batches: Sequence[Batch]
    #: Seconds of start, first and second call; bytes by which one call's memory grows; graphs compiled.
    warmed: Mapping[str, Any]
    #: What pytest-benchmark says of each batch.
    statistics: Sequence[Mapping[str, Any]]
    #: Of each void sample, what disturbed it.
    voids: Sequence[Sequence[Disturbance]]
    accuracy: Accuracy
    evidence: Evidence


def passes_of(cell: Cell) -> tuple[PassName, ...]:
    """Return the passes of the case's steps that the implementation offers to be timed.

    A kernel that is given its buffer is called as it is: in no other mode than eager.
    """
    kinds = {step.step for step in cell.case.performed}
    wanted = [
        name for name in PASSES if name.partition("_")[0] in kinds and (name != "infer_into" or cell.mode == "eager")
    ]
    return tuple(name for name in wanted if name in cell.implementation.timed)


def can_be_timed(cell: Cell) -> bool:
    """Return whether the implementation can express the case and offers a pass of it to be timed."""
    return cell.unsupported is None and bool(passes_of(cell))


def measured_line(subject: Subject, measured: Measured) -> ThroughputLine:
    """Return the line of a subject that was measured."""
    traffic = OPERATIONS[subject.cell.case.op].traffic[PASSES[subject.name]]
    tensor = tensor_bytes(subject.cell.case.configuration)
    fractions = fractions_of(traffic, tensor, measured.batches)
    standing, why = standing_of(fractions, measured.batches, measured.evidence)
    measurement = Measurement(
        seconds=median(batch.seconds for batch in measured.batches),
        fractions=Shares(compulsory=fractions.compulsory, streaming=fractions.streaming),
        warmed=msgspec.convert(dict(measured.warmed), WarmUp),
        verdict=measured.accuracy.verdict,
        score=number(measured.accuracy.score),
        batches=tuple(
            BatchTimes(seconds=batch.seconds, before=batch.bandwidths.before, after=batch.bandwidths.after)
            for batch in measured.batches
        ),
        statistics=tuple(_statistics(statistics) for statistics in measured.statistics),
        conditions=tuple(batch.conditions for batch in measured.batches if batch.conditions is not None),
        tensor_bytes=tensor,
        traffic=Shares(compulsory=traffic.compulsory, streaming=traffic.streaming),
    )
    line = _line(subject.cell, subject.name, standing.value, why, measured.voids)
    return msgspec.structs.replace(line, measurement=measurement)


def _statistics(statistics: Mapping[str, Any]) -> BatchStatistics:
    return msgspec.convert({name: statistics[name] for name in BatchStatistics.__struct_fields__}, BatchStatistics)


def voided_line(subject: Subject, voids: Sequence[Sequence[Disturbance]]) -> ThroughputLine:
    """Return the line of a subject of which every sample was void: it has no number."""
    return _line(subject.cell, subject.name, Standing.VOIDED.value, never_quiet(voids), voids)


def unmeasured_line(
    cell: Cell, name: PassName, why: str, voids: Sequence[Sequence[Disturbance]] = ()
) -> ThroughputLine:
    """Return the line of a subject that was not measured; of a cell without passes, `name` is empty."""
    return _line(cell, name, "unmeasured", why, voids)


def _line(
    cell: Cell, name: PassName, standing: TimingStanding, why: str, voids: Sequence[Sequence[Disturbance]]
) -> ThroughputLine:
    configuration = cell.case.configuration
    return ThroughputLine(
        timed=_id(cell, name),
        case=cell.case.id,
        implementation=cell.implementation.name,
        mode=cell.mode,
        device=cell.device,
        environment=cell.key.name,
        pass_=name,
        op=configuration.op,
        dtype=cast("Dtype", configuration.dtype),
        shape=configuration.shape,
        standing=standing,
        threads=cell.case.threads,
        feature_axes=configuration.feature_axes,
        why=why,
        voided=tuple(tuple(reason.value for reason in reasons) for reasons in voids),
    )


def _id(cell: Cell, name: PassName) -> str:
    threads = cell.case.threads
    return f"{cell.id}::{name}" if threads is None else f"{cell.id}::{name}::{threads}-threads"
