"""Runs of many cells, made up: what a report must bear in number, and in hostile text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from conformance.runfile import format_1
from conformance.runfile.structs import FORMAT
from conformance.runfile.writing import RunWriter
from tests.run_lines import header_line

Line = dict[str, Any]

LIBRARIES = {"alpha": "1.0", "beta": "2.1", "gamma": "3.2", "delta": "4.0+cpu", "epsilon": "5.5"}
MODES = ("eager", "compiled")
DTYPES = ("float64", "float32", "float16", "bfloat16")
CLAUSES = {
    f"{section}.{number}": f"Fact {number} of section {section}" for section in range(2, 18) for number in range(1, 5)
}
COLUMNS = [
    (f"{library}.nn.{kind}", library, mode) for library in LIBRARIES for kind in ("Layer", "function") for mode in MODES
]
HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(1)> \"quoted\" 'single' &amp; `tick` ${x}",
    "\u202e\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u2067right to left\u2069 \u2028 \u2029 end",
    "long " + "x" * 10_000,
    "]]> <!-- --> <style>*{display:none}</style> {{ 7 * 7 }} {% raw %}",
)


def write_many(path: Path, cells: int) -> Path:
    """Write a complete run of so many cells, the last cases' texts hostile; the same arguments are the same bytes."""
    count = -(-cells // len(COLUMNS))
    about = header_line(
        planned=cells, clauses=CLAUSES, sections={str(section): f"Section {section}" for section in range(2, 18)}
    )
    with RunWriter(path) as run:
        run.add(msgspec.structs.replace(decoded("header", about), format=FORMAT))
        for library, version in LIBRARIES.items():
            run.add(decoded("environment", environment(library, version)))
        for number in range(count):
            hostile = HOSTILE[number - count] if count - number <= len(HOSTILE) else ""
            run.add(decoded("case", case(number, hostile=hostile)))
        for line in records(cells):
            run.add(decoded("record", line))
        run.close_run(ended=True, finished="2026-01-02T05:06:07+0000")
    return path


def decoded(kind: str, line: Line) -> Any:
    """Return a line that is told as format 1 had it."""
    return format_1.decode(json.dumps({"kind": kind, **line}).encode())


def environment(library: str, version: str) -> Line:
    """Return the environment of a library, with what it offers."""
    offered = {"op": "batch_norm", "modes": MODES, "devices": ["cpu"], "profile": [], "documentation": ""}
    return {
        "id": library,
        "group": library,
        "adapter": f"{library}.py",
        "process": {"THREADS": "1"},
        "library": library,
        "versions": {library: version},
        "settings": {"deterministic": "yes"},
        "host": {"system": "Linux"},
        "implementations": [{"name": f"{library}.nn.{kind}", **offered} for kind in ("Layer", "function")],
    }


def name_of(number: int) -> str:
    """Return a case's id; every tenth is on the ladder."""
    return f"{'stability' if number % 10 == 0 else 'family' + str(number % 7)}.case-{number}"


def case(number: int, *, hostile: str = "") -> Line:
    """Return a case."""
    numbers = list(CLAUSES)
    ratio = {"ratio": 2.0 ** (number // 10 % 12)} if number % 10 == 0 else {"mean": 0.5}
    return {
        "id": name_of(number),
        "family": name_of(number).partition(".")[0],
        "title": hostile or f"The fact that number {number} is about holds for batches of {number % 50 + 2} rows.",
        "source": "A page of a book, chapter 3",
        "clauses": [numbers[number % len(numbers)], numbers[(number * 7 + 3) % len(numbers)]],
        "op": "batch_norm",
        "configuration": {
            "op": "batch_norm", "shape": [8, 3], "feature_axes": [1], "dtype": DTYPES[number % 4],
            "parameter_dtype": DTYPES[number % 4], "decay": 0.9, "epsilon": 0.001, "scale": True, "center": True,
        },
        "initial": {"moving_mean": {"kind": "constant", "value": 0.5}},
        "steps": [{"step": kind, "input": {"kind": "normal", "seed": number, **ratio}} for kind in ("train", "infer")],
        "formulas": {"train": "y = (x-μ)/√(σ²+ε)", "infer": "y = (x-M)/√(V+ε)"},
        "published": [],
    }  # fmt: skip


def records(cells: int) -> Iterator[Line]:
    """Yield the records, case by case."""
    for position in range(cells):
        number, column = divmod(position, len(COLUMNS))
        yield record(number, column, hostile=HOSTILE[position % 4] if cells - position <= 40 else "")


def record(number: int, column: int, *, hostile: str = "") -> Line:
    """Return one cell: one in 13 deviates and is known, one in 97 unexpectedly, one in 11 is unsupported."""
    implementation, library, mode = COLUMNS[column]
    mixed = (number * 31 + column * 17) % 9973
    verdict, status = (
        ("crashed", "failed") if hostile
        else ("unsupported", "skipped") if mixed % 11 == 0
        else ("deviates", "failed") if mixed % 97 == 0
        else ("deviates", "xfailed") if mixed % 13 == 0
        else ("dialect", "passed") if mixed % 7 == 0
        else ("conforms", "passed")
    )  # fmt: skip
    known = [{"reason": f"Known reason {mixed % 5}.", "diagnosis": "one-pass variance", "upstream": None}]
    ran = verdict != "unsupported"
    return {
        "cell": f"{name_of(number)}::{implementation}-{mode}-cpu",
        "case": name_of(number),
        "implementation": implementation,
        "mode": mode,
        "device": "cpu",
        "environment": library,
        "call": f"{implementation}(features=3, momentum=0.9, eps=0.001)" if ran else "",
        "verdict": verdict,
        "expected": status != "failed",
        "diagnosis": f"correction {mixed % 3}" if verdict == "deviates" else "",
        "grade": ("ADWOF"[mixed % 5] if number % 10 == 0 and ran else ""),
        "observed": {},
        "again": None,
        "divergence": known if status == "xfailed" else [],
        "score": mixed / (10 if verdict == "deviates" else 10_000) if ran else None,
        "steps": list(_steps(number, verdict, mixed, hostile)),
        "status": status,
    }


def _steps(number: int, verdict: str, mixed: int, hostile: str) -> Iterator[Line]:
    if verdict == "unsupported":
        message = f"takes no rank {mixed % 4}"
        yield {"number": 0, "kind": "start", "verdict": verdict, "expected": True, "message": message, "quantities": []}
        return
    for position, kind in enumerate(("start", "train", "infer")):
        worst = {"index": [mixed % 8, 1], "expected": 1.0 + mixed / 7, "observed": 1.0 + mixed / 7.001, "allowed": 1e-7}
        quantities = [
            {
                "quantity": name,
                "verdict": verdict if position else "exact",
                "score": mixed / 10_000,
                "worst": worst,
                "dtype": DTYPES[number % 4],
                "shape": [8, 3],
            }
            for name in ("output", "moving_mean", "moving_variance")
        ]
        line: Line = {
            "number": position,
            "kind": kind,
            "verdict": verdict if position else "exact",
            "expected": True,
            "seconds": 0.001 * (mixed % 9 + 1),
            "quantities": quantities,
        }
        yield {**line, "message": hostile} if hostile and position == 1 else line
