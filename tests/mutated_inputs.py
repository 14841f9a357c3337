"""Case files, answers of workers and command lines that somebody or something spoiled: one seeded change or some each.

    python -m tests.mutated_inputs {specs,frames,lines} COUNT [SEED]

tries so many, prints what ended otherwise than in an answer or a refusal, and how long and large the worst was. The tests try
a few of each.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import io
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from conformance import cli
from conformance.answers import native_learning, vector_files
from conformance.errors import SpecErrors, UsageError
from conformance.execution.answer import AnswerError, outcome_of, stretches_of
from conformance.execution.pool import Workers
from conformance.operations import OPERATIONS
from conformance.planning.offer import offer_from
from conformance.reproduce import evidence
from conformance.run import recorded_costs, session
from conformance.search.properties import recorded
from conformance.spec import divergences, loader, tiers
from conformance.spec.locations import spec_folder
from conformance.throughput import running
from conformance.worker import wire
from tests.fake_cells import key

#: What a person, a program or a broken disk writes in place of a value.
VALUES = (
    "null", "true", "~", "", "''", "0", "-1", "1e400", "1e-400", "-.inf", ".nan", "1_0.00", "٣", "9" * 400, "0x10", "1:30",
    "2026-11-30", "[]", "{}", "[[]]", "[1, 2, 3]", "{a: b}", "&a [*a]", "*nowhere", "!!python/object:os.system x", "!!binary eA==",
    "<<: *a", "'\\0'", '"\\ud800"', "../../x", "a/b::c", "⊘" * 200, "normal", "train", "float32", "float99", "\t", "#", "|", ">", "%",
)  # fmt: skip
ATOMS: tuple[Any, ...] = (
    None, True, 0, -1, 2**70, 10**400, 0.5, 1e308, "", "x", "float99", "\ud800", "\x00", "⊘" * 300, "a/b::c", [], [[]], [None], {},
    {"$array": ["float32", [2]]}, {"$array": ["O", [1]]}, {"$array": ["float32", [-1]]}, {"$array": ["float32", [2**40, 2**40]]},
    {"$array": ["V0", [9]]}, {"$array": []},
)  # fmt: skip
#: Of processor time, since the machine may be busy with other work.
SECONDS = 10.0


# Case files


@cache
def _cases() -> tuple[str, ...]:
    """Return the text of every shipped case, each a file of its own."""
    texts = [file.read_text(encoding="utf-8") for file in sorted((spec_folder() / "cases").glob("*.yaml"))]
    return tuple(part for text in texts for part in re.split(r"(?m)^(?=- id:)", text) if part.startswith("- id:"))


@cache
def _clauses() -> dict[str, str]:
    return loader.load_clauses(spec_folder() / "semantics.md")


def spoiled_case(draw: random.Random) -> bytes:
    """Return a shipped case with up to three changes."""
    text = draw.choice(_cases()).encode()
    for _ in range(draw.randint(1, 3)):
        text = draw.choice((_flipped, _cut, _doubled, _revalued, _revalued, _revalued, _rekeyed, _indented))(text, draw)
    return text


def _flipped(text: bytes, draw: random.Random) -> bytes:
    position = draw.randrange(len(text) + 1)
    return text[:position] + bytes([draw.randrange(256)]) + text[position + draw.randint(0, 1) :]


def _cut(text: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(text) + 1)
    return text[:start] + text[start + draw.randint(1, 60) :]


def _doubled(text: bytes, draw: random.Random) -> bytes:
    lines = text.splitlines(keepends=True) or [b"\n"]
    start = draw.randrange(len(lines))
    part = lines[start : start + draw.randint(1, 5)]
    return b"".join([*lines[:start], *part * draw.choice((2, 2, 50)), *lines[start:]])


def _revalued(text: bytes, draw: random.Random) -> bytes:
    return _replaced(rb"(?<=[:\[,] )[^\n,\]}]+", text, draw.choice(VALUES).encode(errors="surrogatepass"), draw)


def _rekeyed(text: bytes, draw: random.Random) -> bytes:
    return _replaced(rb"\w+(?=:)", text, draw.choice(VALUES).encode(errors="surrogatepass"), draw)


def _indented(text: bytes, draw: random.Random) -> bytes:
    return _replaced(rb"(?m)^ *", text, b" " * draw.randint(0, 6), draw)


def _replaced(pattern: bytes, text: bytes, new: bytes, draw: random.Random) -> bytes:
    places = list(re.finditer(pattern, text))
    if not places:
        return text
    place = draw.choice(places)
    return text[: place.start()] + new + text[place.end() :]


def read_case(text: bytes, folder: Path) -> None:
    """Read a case file as `check` and `run` do."""
    file = folder / "own.yaml"
    file.write_bytes(text)
    with contextlib.suppress(SpecErrors):
        loader.load_file(file, _clauses())


# Answers of workers


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
            frame = draw.choice((_flipped, _cut))(frame, draw)
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


# Command lines


_WORDS = (
    "list", "check", "run", "report", "compare", "regression", "publish", "export", "judge", "translate", "explain", "fuzz",
    "properties", "reproduce", "throughput", "cases", "implementations", "clauses", "causes", "--json", "--python", "--adapter", "--case",
    "--implementation", "--mode", "--device", "--tier", "--workers", "--out", "--resume", "--cell-seconds", "--profile", "--unbuilt",
    "--grouped", "--base", "--new", "--format", "--data", "--got", "--expected", "--from", "--to", "--momentum", "--run", "--whole",
    "--reports", "--machine", "--narrowed", "--seed", "--examples", "--seconds", "--shrinking", "--package", "--head", "--partial",
    "--single-file", "--baseline", "--base-python", "--fail-on", "--epsilon", "--help", "--", "-k", "-x", "eager", "cpu", "smoke",
    "keras", "torch", "text", "json", "run.jsonl", "text.txt", "own.yaml", "folder", "[[1], [5]]", "0.9, 4.7", "moving.*",
)  # fmt: skip
_ODD = (
    "", " ", "0", "-1", "1e400", "nan", "inf", "1_0", "٣", "9" * 400, "=", "torch=", "=x", "torch=folder", "torch=text.txt",
    "torch=/dev/null", "/dev/null", "/dev/zero", "/", "~", ".", "..", "folder/", "text.txt/x", "absent/x/y", "x" * 300, "\x1b[2J", "\udcff",
    "*", "[", "[[[", "[[nan]]", "[[1], [2, 3]]", "{}", "null", "[" * 3000, "a::b", "::", "x.py:ADAPTER", "text.txt:A", "os:path", "-", "--no",
    "%s", "{0}", "\\", "'", '"', "javascript:alert(1)", "é", "⊘" * 100,
)  # fmt: skip


class WorkBeginsError(UsageError):
    """Everything was checked, and work would begin: nothing of it is tried here."""


def spoiled_line(draw: random.Random) -> bytes:
    """Return a command with up to eight words, as JSON."""
    words = [draw.choice(_WORDS[:15])]
    words += [draw.choice(_ODD if draw.random() < 0.35 else _WORDS) for _ in range(draw.randint(0, 8))]
    return json.dumps(words).encode()


def run_line(line: bytes, folder: Path) -> None:
    """Meet a command line as `conformance` does, up to where work begins. Raises `AssertionError`."""
    words = [word.replace("\x00", "") for word in json.loads(line)]
    told = io.StringIO()
    _belongings(folder)
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(told),
        contextlib.redirect_stderr(told),
        workless(),
        patch.object(sys, "argv", ["conformance", *words]),
    ):
        code: object = None
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
    gc.enable()
    assert code in (0, 1, 2), (code, told.getvalue()[-2000:])
    assert "Traceback" not in told.getvalue(), told.getvalue()[-2000:]


def _belongings(folder: Path) -> None:
    (folder / "folder").mkdir(exist_ok=True)
    (folder / "text.txt").write_text("a text\n", encoding="utf-8")
    (folder / "own.yaml").write_text("- id: own.one\n", encoding="utf-8")
    (folder / "run.jsonl").write_text('{"kind":"header"}\n', encoding="utf-8")


@contextlib.contextmanager
def workless() -> Iterator[None]:
    """Read the shipped spec once, and refuse where a process would be started or every case be written out."""

    def begins(*_: Any, **__: Any) -> None:
        raise WorkBeginsError("work begins")

    def load(folder: Path, files: Any = ()) -> Any:
        return _load(folder, files) if files else _loaded(folder)

    with contextlib.ExitStack() as patches:
        patches.enter_context(patch.object(Workers, "__init__", begins))
        patches.enter_context(patch.object(subprocess, "Popen", begins))
        patches.enter_context(patch.object(vector_files, "_write_case", begins))
        for module, writes in ((native_learning, "write_calls"), (recorded_costs, "write_costs")):
            patches.enter_context(patch.object(module, writes, begins))
        for module in (loader, session, running, evidence, recorded):
            patches.enter_context(patch.object(module, "load", load))
        for module in (session, divergences, recorded):
            patches.enter_context(patch.object(module, "load_divergences", lambda *_: []))
        for module in (session, running, tiers):
            patches.enter_context(patch.object(module, "load_tiers", lambda *_: tiers.Tiers()))
        yield


_load = loader.load
_loaded = cache(_load)

Kind = tuple[Callable[[random.Random], bytes], Callable[[bytes, Path], None]]
KINDS: dict[str, Kind] = {
    "specs": (spoiled_case, read_case),
    "frames": (spoiled_frame, take_frame),
    "lines": (spoiled_line, run_line),
}


def attempts(kind: str, seed: int, count: int) -> Iterator[tuple[bytes, str, float]]:
    """Yield each spoiled input with how its treatment failed, if it did, and the seconds that it took.

    What takes more than `SECONDS` fails so.
    """
    make, treat = KINDS[kind]
    draw = random.Random(seed)
    signal.signal(signal.SIGPROF, _hung)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(count):
            spoiled, failure, began = make(draw), "", time.process_time()
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                treat(spoiled, Path(folder))
            except Exception:  # noqa: BLE001 - whatever ends it is what is looked for
                failure = traceback.format_exc()
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            yield spoiled, failure, time.process_time() - began


def main(kind: str, count: int, seed: int = 1) -> None:
    """Try so many, and tell what failed, hung or grew."""
    slowest, failed = 0.0, 0
    for number, (spoiled, failure, seconds) in enumerate(attempts(kind, seed, count), 1):
        slowest = max(slowest, seconds)
        if failure:
            failed += 1
            print(f"--- {number}: {spoiled!r}\n{failure}", flush=True)
        if number % 5_000 == 0 or number == count:
            held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(
                f"{kind}, seed {seed}: {number} tried, {failed} failed, slowest {slowest:.2f} s, {held:.2f} GiB",
                flush=True,
            )


def _hung(*_: object) -> None:
    raise TimeoutError(f"no end within {SECONDS} s")


if __name__ == "__main__":
    os.nice(19)
    main(sys.argv[1], *map(int, sys.argv[2:]))
