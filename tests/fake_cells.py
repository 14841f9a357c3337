"""Cells of the dying adapter: as many as a test needs, some of them fatal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from conformance.planning.discovery import WorkerKey
from conformance.planning.plan import Cell, Offered
from conformance.spec.case import Case

DYING = Path(__file__).parent / "faults" / "dying.py"
FATAL_DECAY = 0.125


def key(name: str = "dying", interpreter: str = sys.executable, **environment: str) -> WorkerKey:
    """Return the worker key of the dying adapter under some environment variables."""
    return WorkerKey(
        name=name,
        group=None,
        adapter=str(DYING),
        attribute="ADAPTER",
        interpreter=interpreter,
        environment=tuple(sorted(environment.items())),
        dtypes=None,
        asked=True,
    )


def case(name: str, *, fatal: bool = False, again: bool = False, shape: Sequence[int] = (4, 3)) -> Case:
    """Return a case of one train step, whose decay is fatal or not."""
    return Case.model_validate(
        {
            "id": f"fake.{name}",
            "title": "A case made for a test of the runner.",
            "source": "none: it tests the runner",
            "clauses": ["1.1"],
            "op": "batch_norm",
            "shape": list(shape),
            "feature_axes": [-1],
            "decay": FATAL_DECAY if fatal else 0.5,
            "again": again,
            "steps": [
                {"step": "train", "input": {"kind": "normal", "seed": 1}, "upstream": {"kind": "normal", "seed": 2}}
            ],
        }
    )


def cell(way: str, name: str, *, fatal: bool = False, worker: WorkerKey | None = None) -> Cell:
    """Return the cell of one case for the implementation that dies that way."""
    implementation = Offered(
        name=f"dying.{way}",
        op="batch_norm",
        modes=("eager",),
        devices=("cpu",),
        dtypes=("float32",),
        steps=("train",),
        lacks=(),
        profile=(),
        documentation="",
    )
    return Cell(
        case=case(name, fatal=fatal),
        implementation=implementation,
        mode="eager",
        device="cpu",
        key=worker or key(),
        unsupported=None,
    )


def row(way: str, count: int, fatal: int, worker: WorkerKey | None = None, prefix: str = "") -> list[Cell]:
    """Return `count` cells in order, the one at index `fatal` fatal."""
    return [cell(way, f"{prefix}{index}", fatal=index == fatal, worker=worker) for index in range(count)]
