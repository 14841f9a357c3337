"""Answers of workers that something spoiled, and taking them as a run does."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from conformance.errors import UsageError
from conformance.execution.answer import AnswerError, outcome_of, stretches_of
from conformance.operations import OPERATIONS
from conformance.planning.offer import offer_from
from conformance.worker import wire
from tests.fake_cells import key
from tests.mutated_inputs.changed_bytes import cut, flipped

ATOMS: tuple[Any, ...] = (
    None, True, 0, -1, 2**70, 10**400, 0.5, 1e308, "", "x", "float99", "\ud800", "\x00", "⊘" * 300, "a/b::c", [], [[]], [None], {},
    {"$array": ["float32", [2]]}, {"$array": ["O", [1]]}, {"$array": ["float32", [-1]]}, {"$array": ["float32", [2**40, 2**40]]},
    {"$array": ["V0", [9]]}, {"$array": []},
)  # fmt: skip


@cache
def _answers() -> tuple[tuple[str, Any], ...]:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    produced = {
        "quantities": {"output": array, "grad_gamma": array[0]},
        "state": {"moving_mean": array[1]},
        "seconds": 0.25,
        "compilations": 1,
        "overwritten": ["input"],
        "call": {"path": "torch.nn.BatchNorm1d", "keywords": {"eps": "1e-05"}, "function": False},
    }
    refused = {
        "refused": {"types": ["ValueError", "Exception"], "message": "no", "trace": "…", "mistake": ""},
        "state": {"moving_mean": array[1]},
        "seconds": 0.5,
    }
    implementation = {
        "name": "fake.BatchNorm", "op": "batch_norm", "modes": ["eager"], "devices": ["cpu"], "dtypes": ["float32"],
        "steps": ["train"], "lacks": [], "profile": [], "documentation": "", "timed": [], "functions": {}, "names": {},
    }  # fmt: skip
    offer = {
        "library": "fake", "versions": {"fake": "1"}, "settings": {}, "host": {"python": "3.11"},
        "implementations": [implementation], "sources": {"fake": "x = 1\n"},
    }  # fmt: skip
    return (("step", produced), ("step", refused), ("done", [[0.0, 1.0, 0.5]]), ("offer", offer))


def spoiled_frame(draw: random.Random) -> bytes:
    """Return an answer's frame, spoiled as a value or in its bytes, with the kind of answer before it."""
    kind, answer = copy.deepcopy(draw.choice(_answers()))
    for _ in range(draw.randint(0, 2)):
        answer = _revalued_part(answer, draw)
    try:
        frame = wire.encode(answer)
    except (ValueError, TypeError):
        frame = json.dumps(str(answer)).encode()
    if draw.random() < 0.5:
        for _ in range(draw.randint(1, 4)):
            frame = draw.choice((flipped, cut))(frame, draw)
    return f"{kind}\n".encode() + frame


def _revalued_part(value: Any, draw: random.Random) -> Any:
    places = list(_places(value))
    if not places:
        return draw.choice(ATOMS)
    container, name = draw.choice(places)
    match draw.randrange(4):
        case 0 if isinstance(container, dict):
            container[draw.choice(("", "x", "output", "$array", "\ud800", "moving_mean"))] = container.pop(name)
        case 1:
            del container[name]
        case _:
            container[name] = copy.deepcopy(draw.choice(ATOMS))
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield value, name
        yield from _places(item)


def take_frame(frame: bytes, folder: Path) -> None:
    """Take an answer as the run does."""
    kind, _, rest = frame.partition(b"\n")
    with contextlib.suppress(wire.FrameError, AnswerError, UsageError):
        message = wire.take(bytearray(rest))
        match kind:
            case b"step" if isinstance(message, dict):
                outcome_of(message, OPERATIONS["batch_norm"].quantities)
            case b"done":
                stretches_of(message)
            case b"offer":
                offer_from(key(), message, {"fake.BatchNorm": [None]}, 1)
            case _:
                pass
