"""Cases and cells for the tests of the core, made from the few words that matter to each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conformance.errors import Place
from conformance.planning.discovery import WorkerKey
from conformance.planning.plan import Cell, Offer, Offered
from conformance.protocol import Declared
from conformance.spec.case import Case
from conformance.spec.loader import Located

NORMAL = {"kind": "normal", "seed": 11, "mean": 2.0}
UPSTREAM = {"kind": "normal", "seed": 12, "mean": 0.5}
TRAIN = {"step": "train", "input": NORMAL, "upstream": UPSTREAM}
INFER = {"step": "infer", "input": {"kind": "normal", "seed": 13}}
DYADIC = {"step": "train", "input": {"kind": "dyadic", "seed": 7}, "upstream": {"kind": "ramp", "start": -3.0}}
RELOAD = {"step": "reload"}
FREEZE = {"step": "freeze"}
SGD = {"step": "sgd", "learning_rate": 0.5}
ALL_STEPS = ("freeze", "infer", "reload", "sgd", "train", "unfreeze")


def case(*steps: dict[str, Any], **fields: Any) -> Case:
    """Return a case of those steps: one train step of 8 values of each of 3 features unless told otherwise."""
    return Case.model_validate(
        {
            "id": "fake.case",
            "title": "A case made for a test.",
            "source": "a test",
            "clauses": ["1.1"],
            "op": "batch_norm",
            "shape": [8, 3],
            "feature_axes": [-1],
            "steps": list(steps or (TRAIN,)),
            **fields,
        }
    )


def located(made: Case) -> Located:
    """Return the case with a place in a file that does not exist."""
    return Located(case=made, file=Path("fake.yaml"), place=Place(file="fake.yaml"))


def key(**fields: Any) -> WorkerKey:
    """Return a worker's key."""
    return WorkerKey(
        **{
            "name": "fake",
            "group": None,
            "adapter": "fake.py",
            "attribute": "ADAPTER",
            "interpreter": "python",
            "environment": (),
            "dtypes": None,
            "asked": False,
            **fields,
        }
    )


def offered(**fields: Any) -> Offered:
    """Return an implementation that offers every step in float32, eagerly, on the CPU."""
    return Offered(
        **{
            "name": "fake.BatchNorm",
            "op": "batch_norm",
            "modes": ("eager",),
            "devices": ("cpu",),
            "dtypes": ("float32", "float64", "float16", "bfloat16"),
            "steps": ALL_STEPS,
            "lacks": (),
            "profile": (),
            "documentation": "",
            **fields,
        }
    )


def offer(*implementations: Offered, cases: int = 1, **fields: Any) -> Offer:
    """Return a worker's offer of those implementations, which support every one of `cases` cases."""
    return Offer(
        **{
            "key": key(),
            "library": "fake",
            "versions": {"fake": "1.0"},
            "settings": {},
            "host": {},
            "implementations": implementations,
            "reasons": {each.name: [None] * cases for each in implementations},
            **fields,
        }
    )


def cell(made: Case, mode: str = "eager", **fields: Any) -> Cell:
    """Return the cell of that case for an implementation made of `fields`."""
    return Cell(case=made, implementation=offered(**fields), mode=mode, device="cpu", key=key(), unsupported=None)


def declared(field: str, value: str | int | bool, source: Any = "documentation", error: str | None = None) -> Declared:
    """Return one field of a profile."""
    return Declared(field=field, value=value, source=source, where="a page", error=error)
