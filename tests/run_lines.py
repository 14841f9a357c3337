"""Run files by hand: lines that tell the little that a test is about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from conformance.runfile.run_file import FORMAT, Run, RunWriter, read

Line = dict[str, Any]

TORCH = "torch.nn.BatchNorm"
FLAX = "flax.linen.BatchNorm"
LIBRARIES = {TORCH: "torch", FLAX: "flax"}
STATUSES = {"deviates": "failed", "crashed": "failed", "timed_out": "failed", "unsupported": "skipped"}


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
        "configuration": {"op": "batch_norm", "shape": [2, 3], "dtype": dtype, "epsilon": 0.001},
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
        "format": FORMAT,
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
    return Run(
        path=Path(name),
        header=header_line(**{"planned": len(records), **header}),
        environments=environments or tuple(environment_line(each) for each in used or (TORCH,)),
        cases={**{each: case_line(each) for each in named}, **given},
        records=records,
        footer=footer if ended else None,
    )


def write_run(run: Run, folder: Path) -> Path:
    """Write the run under its own name into the folder and return the file."""
    path = folder / run.path.name
    with RunWriter(path) as writer:
        writer.add("header", run.header)
        for line in run.environments:
            writer.add("environment", line)
        for line in run.cases.values():
            writer.add("case", line)
        for line in run.records:
            writer.add("record", line)
        if run.footer is not None:
            writer.add("footer", run.footer)
    assert len(read(path).records) == len(run.records)
    return path


def strict(text: str) -> Any:
    """Return what strict JSON says, which has no NaN and no infinity."""

    def lacking(name: str) -> None:
        raise AssertionError(name)

    return json.loads(text, parse_constant=lacking)
