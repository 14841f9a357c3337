"""How the command line meets what is given wrongly: with one line, exit code 2, within two seconds, with nothing left behind."""

from __future__ import annotations

import contextlib
import gc
import gzip
import io
import itertools
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from unittest.mock import patch

from conformance import cli
from conformance.errors import SpecErrors
from conformance.spec import loader
from tests.bad_inputs.bad_input import BadInput
from tests.bad_inputs.case_files import case_files, is_wrong, shipped
from tests.bad_inputs.command_lines import lines
from tests.many_cells import write_many
from tests.mutated_inputs.command_lines import workless

#: Of processor time, since the machine may be busy with other work.
SECONDS = 2.0


def furnished(folder: Path) -> None:
    """Make what the lines name."""
    (folder / "folder").mkdir()
    (folder / "full").mkdir()
    (folder / "full" / "thesis.txt").write_text("a text\n")
    (folder / "text.txt").write_text("a text\n")
    (folder / "empty.jsonl").touch()
    for suffix in ("jsonl", "pt", "h5", "npz", "keras", "safetensors"):
        (folder / f"noise.{suffix}").write_bytes(bytes(range(256)) * 8)
    whole = write_many(folder / "run.jsonl", 20).read_bytes()
    (folder / "cut.jsonl").write_bytes(whole[: len(whole) // 2])
    with gzip.open(folder / "bomb.jsonl.gz", "wb") as packed:
        for _ in range(40):
            packed.write(b" " * 2**20)
    (folder / "results.jsonl").write_text('{"kind": "header"}\n')


def complaint(bad: BadInput, folder: Path) -> str:
    """Return how the input was met otherwise than with one line, exit code 2, at once and leaving nothing; else nothing."""
    before, began = _tree(folder), time.process_time()
    code, message = _met(bad, folder)
    seconds = time.process_time() - began
    left = sorted(_tree(folder) ^ before)
    for name, _, _ in left:
        _remove(folder / name)
    message_lines = message.strip().splitlines()
    faults = {
        f"exit code {code}": code != 2,
        f"{len(message_lines)} lines": not 1 <= len(message_lines) <= (20 if bad.is_file else 1),
        "a traceback": "Traceback" in message,
        "taken for right": "work begins" in message,
        "raw control characters": "\x1b" in message,
        f"{seconds:.1f} s": seconds > SECONDS,
        f"left {[name for name, _, _ in left]}": bool(left),
    }
    failed = [fault for fault, is_so in faults.items() if is_so]
    return f"{', '.join(failed)}: {message[-600:]!r}" if failed else ""


def _met(bad: BadInput, folder: Path) -> tuple[object, str]:
    if bad.is_file:
        file = folder / "own.yaml"
        file.write_bytes(bad.text.encode(errors="surrogatepass"))
        try:
            loader.load_file(file, shipped().clauses)
        except SpecErrors as errors:
            return 2, str(errors)
        else:
            return 0, "work begins"
        finally:
            file.unlink()
    said, code = io.StringIO(), None
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(said),
        workless(),
        patch.object(sys, "argv", ["conformance", *bad.words]),
    ):
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
    gc.enable()
    return code, said.getvalue()


def _tree(folder: Path) -> set[tuple[str, int, int]]:
    """Return the files and folders with their sizes and times, but for the suite's own logs."""
    paths = (path for path in folder.rglob("*") if ".conformance" not in path.parts)
    return {
        (str(path.relative_to(folder)), path.lstat().st_size if path.is_file() else 0, path.lstat().st_mtime_ns)
        for path in paths
        if path.is_file() or not any(path.iterdir())
    }


def _remove(path: Path) -> None:
    """Remove what was left, unless it was there before."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    elif path.name.startswith("new"):
        path.unlink(missing_ok=True)


def everything() -> tuple[BadInput, ...]:
    """Return all that may be wrong, each once."""
    by_input = {(bad.words, bad.text): bad for bad in itertools.chain(lines(), case_files())}
    return tuple(by_input.values())


def tried(inputs: Iterable[BadInput]) -> Iterator[tuple[BadInput, str]]:
    """Yield each that is wrong, with what was wrong about how it was met; empty where nothing was."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        furnished(folder)
        for bad in filter(is_wrong, inputs):
            yield bad, complaint(bad, folder)
