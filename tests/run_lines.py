"""Run files by hand: lines that tell the little that a test is about, as format 1 wrote them, which is shorter."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from conformance.runfile.numbers import finite
from conformance.runfile.reading import parse, read
from conformance.runfile.run import Run
from conformance.runfile.structs import FORMAT, AnyLine
from conformance.runfile.writing import Judges, RunWriter

Line = dict[str, Any]

TORCH = "torch.nn.BatchNorm"
FLAX = "flax.linen.BatchNorm"
KERAS = "keras.layers.BatchNormalization+jax"
LIBRARIES = {TORCH: "torch", FLAX: "flax", KERAS: "keras"}
STATUSES = {"deviates": "failed", "crashed": "failed", "timed_out": "failed", "unsupported": "skipped"}


def configuration(**other: Any) -> Line:
    """Return what a small case in float32 asks of an implementation."""
    dtype = other.get("dtype", "float32")
    return {
        "op": "batch_norm", "shape": [2, 3], "feature_axes": [1], "dtype": dtype, "parameter_dtype": dtype,
        "decay": 0.9, "epsilon": 0.001, "scale": True, "center": True, **other,
    }  # fmt: skip


def case_line(name: str = "a.one", **other: Any) -> Line:
    """Return a case of one inference in float32."""
    dtype = other.pop("dtype", "float32")
    return {
        "id": name,
        "family": name.partition(".")[0],
        "title": f"The title of {name}.",
        "source": "a page",
        "clauses": ["3.1"],
        "op": "batch_norm",
        "configuration": configuration(dtype=dtype),
        "initial": {},
        "steps": [{"step": "infer", "input": {"kind": "ramp", "start": 1.0}}],
        "formulas": {"infer": "y = (x-M)/√(V+ε)"},
        "published": [],
        **other,
    }


def record_line(verdict: str = "conforms", score: Any = 0.5, *, of: str = "a.one", **other: Any) -> Line:
    """Return a cell of torch in eager mode on the CPU, unless told otherwise."""
    implementation, mode = other.pop("implementation", TORCH), other.pop("mode", "eager")
    judged = {"quantity": "output", "verdict": verdict, "score": score, "dtype": "float32", "shape": [2, 3]}
    step = {"number": 1, "kind": "infer", "verdict": verdict, "expected": True, "seconds": 0.25}
    status = STATUSES.get(verdict, "passed")
    return {
        "cell": f"{of}::{implementation}-{mode}-cpu",
        "case": of,
        "implementation": implementation,
        "mode": mode,
        "device": "cpu",
        "environment": LIBRARIES[implementation],
        "verdict": verdict,
        "expected": status != "failed",
        "diagnosis": "",
        "grade": "",
        "again": None,
        "divergence": [],
        "score": score,
        "steps": [{**step, "quantities": [judged]}],
        "status": status,
        **other,
    }


def environment_line(implementation: str = TORCH, version: str = "2.13.0", **other: Any) -> Line:
    """Return the environment of that implementation."""
    library = LIBRARIES[implementation]
    offered = {"name": implementation, "op": "batch_norm", "modes": ["eager", "compiled"], "devices": ["cpu"]}
    return {
        "id": library,
        "group": library,
        "adapter": f"{library}.py",
        "process": {},
        "library": library,
        "versions": {library: version, "numpy": "2.4.6"},
        "settings": {"threads": "1"},
        "host": {"system": "Linux"},
        "implementations": [{**offered, "profile": [], "documentation": ""}],
        **other,
    }


def header_line(**other: Any) -> Line:
    """Return the header of a run of everything."""
    return {
        "format": 1,
        "suite": "0.1.0",
        "spec": "abc",
        "narrowed": False,
        "selection": {"cases": [], "pytest": []},
        "clauses": {"1.1": "Scope", "3.1": "Mean"},
        "host": {"system": "Linux"},
        "started": "2026-01-02T03:04:05+0000",
        **other,
    }


def run_of(
    *records: Line, cases: tuple[Line, ...] = (), environments: tuple[Line, ...] = (), name: str = "run.jsonl",
    ended: bool = True, **header: Any,
) -> Run:  # fmt: skip
    """Return a run of those records, with a case line for every case that is named."""
    given = {each["id"]: each for each in cases}
    named = dict.fromkeys(record["case"] for record in records)
    used = dict.fromkeys(record["implementation"] for record in records)
    footer = {"recorded": len(records), "ended": True, "finished": "2026-01-02T03:05:06+0000"}
    lines = [
        ("header", header_line(**{"planned": len(records), **header})),
        *(("environment", line) for line in environments or tuple(environment_line(each) for each in used or (TORCH,))),
        *(("case", line) for line in ({each: case_line(each) for each in named} | given).values()),
        *(("record", line) for line in records),
        *([("footer", footer)] if ended else []),
    ]
    return parse(raw_of(lines), Path(name))


def raw_of(lines: Iterable[tuple[str, Line]]) -> bytes:
    """Return lines, each with its kind, as the bytes of a run file."""
    texts = [json.dumps(finite({"kind": kind, **line}), allow_nan=False) for kind, line in lines]
    return "".join(f"{text}\n" for text in texts).encode()


def write_run(run: Run, folder: Path) -> Path:
    """Write the run under its own name into the folder and return the file."""
    path = folder / run.path.name
    kind = Judges.TIMINGS if run.times else Judges.CELLS
    with RunWriter(path, kind) as writer:
        writer.add(msgspec.structs.replace(run.header, format=FORMAT))
        lines: list[AnyLine] = [*run.environments, *run.cases.values(), *run.records, *run.throughput]
        for line in lines:
            writer.add(line)
        if run.footer is not None:
            writer.add(run.footer)
    assert len(read(path).records) == len(run.records)
    return path


def strict(text: str) -> Any:
    """Return what strict JSON says, which has no NaN and no infinity."""

    def lacking(name: str) -> None:
        raise AssertionError(name)

    return json.loads(text, parse_constant=lacking)
