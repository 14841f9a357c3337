"""Command lines that somebody spoiled, and meeting them up to where work begins."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from conformance import cli
from conformance.answers import native_learning, vector_files
from conformance.errors import UsageError
from conformance.execution.pool import Workers
from conformance.reproduce import evidence
from conformance.run import recorded_costs, session
from conformance.search.properties import processes
from conformance.spec import divergences, loader, tiers
from conformance.throughput import running

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
        for module in (loader, session, running, evidence, processes):
            patches.enter_context(patch.object(module, "load", load))
        for module in (session, divergences, processes):
            patches.enter_context(patch.object(module, "load_divergences", lambda *_: []))
        for module in (session, running, tiers):
            patches.enter_context(patch.object(module, "load_tiers", lambda *_: tiers.Tiers()))
        yield


_load = loader.load
_loaded = cache(_load)
