"""What is timed: one pass of one cell; and what came of it, as a line of a run file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from conformance.operations import OPERATIONS
from conformance.planning.plan import Cell
from conformance.runfile.run_file import number
from conformance.throughput.limit import Batch, Evidence, fractions_of, standing_of, tensor_bytes
from conformance.throughput.verifying import Accuracy

Line = dict[str, Any]

#: Pass -> the pass whose bytes must move.
PASSES: Mapping[str, str] = {
    "infer": "infer",
    "infer_into": "infer",
    "train_forward": "train_forward",
    "train": "train",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """One pass of one cell."""

    cell: Cell
    name: str

    @property
    def id(self) -> str:
        """Unique in a run, and the same in every run."""
        return f"{self.cell.id}::{self.name}"

    @property
    def row(self) -> tuple[str, str]:
        """The column and the pass, which have one smallest case."""
        return self.cell.column, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured of a subject."""

    batches: Sequence[Batch]
    #: Seconds of start, first and second call; bytes by which one call's memory grows; graphs compiled.
    warmed: Mapping[str, Any]
    #: What pytest-benchmark says of each batch.
    statistics: Sequence[Mapping[str, Any]]
    accuracy: Accuracy
    evidence: Evidence


def passes_of(cell: Cell) -> tuple[str, ...]:
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


def measured_line(subject: Subject, measured: Measured) -> Line:
    """Return the line of a subject that was measured."""
    traffic = OPERATIONS[subject.cell.case.op].traffic[PASSES[subject.name]]
    tensor = tensor_bytes(subject.cell.case.configuration)
    fractions = fractions_of(traffic, tensor, measured.batches)
    standing, why = standing_of(fractions, measured.batches, measured.evidence)
    return {
        **_described(subject.cell, subject.name),
        "standing": standing.value,
        "why": why,
        "seconds": median(each.seconds for each in measured.batches),
        "batches": [asdict(each) for each in measured.batches],
        "statistics": [dict(each) for each in measured.statistics],
        "warmed": dict(measured.warmed),
        "tensor_bytes": tensor,
        "traffic": asdict(traffic),
        "fractions": asdict(fractions),
        "verdict": measured.accuracy.verdict.value,
        "score": number(measured.accuracy.score),
    }


def unmeasured_line(cell: Cell, name: str, why: str) -> Line:
    """Return the line of a subject that was not measured; of a cell without passes, `name` is empty."""
    return {**_described(cell, name), "standing": "unmeasured", "why": why}


def _described(cell: Cell, name: str) -> Line:
    configuration = cell.case.configuration
    return {
        "timed": f"{cell.id}::{name}",
        "case": cell.case.id,
        "implementation": cell.implementation.name,
        "mode": cell.mode,
        "device": cell.device,
        "environment": cell.key.name,
        "pass": name,
        "op": configuration.op,
        "dtype": configuration.dtype,
        "shape": list(configuration.shape),
        "feature_axes": list(configuration.feature_axes),
    }
