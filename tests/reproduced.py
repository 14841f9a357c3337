"""Running the script of a recorded cell as a stranger would, and holding it against the record."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from pathlib import Path

from conformance.reproduce import Evidence, script


def run(text: str, interpreter: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in an empty folder, with nothing of ours to import; the interpreter's path may be relative."""
    file = folder / "reproduced.py"
    file.write_text(text, encoding="utf-8")
    empty = folder / "empty"
    empty.mkdir(exist_ok=True)
    # -I would not keep an installation of ours beside the framework out of sight: a blocked import does.
    blocked = "import sys, runpy; sys.modules['conformance'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"
    return subprocess.run(
        [str(Path(interpreter).absolute()), "-I", "-c", blocked, str(file)],
        cwd=empty,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def complaint(evidence: Evidence, interpreter: str, folder: Path) -> str:
    """Return where the script's outcome is not the recorded one; empty where it nowhere is."""
    text = script(evidence, whole=True)
    done = run(text, interpreter, folder)
    said = f"{done.stdout}\n{done.stderr}"
    if done.returncode != int(not evidence.record.expected):
        return f"exit code {done.returncode} for {evidence.record.verdict}:\n{said}"
    numbers = re.findall(r"^(?:ok|NO) step .*: .*, (as recorded|recorded .*);$", done.stdout, re.MULTILINE)
    asked = sum(_rows(statement) for statement in ast.parse(text).body)
    if len(numbers) != asked or set(numbers) - {"as recorded"}:
        return f"{asked} numbers recorded, seen {numbers}:\n{said}"
    return ""


def _rows(statement: ast.stmt) -> int:
    """Return how many numbers a statement lists, if it is the list of them."""
    match statement:
        case ast.Assign(targets=[ast.Name(id="ELEMENTS")], value=ast.List(elts=rows)):
            return len(rows)
        case _:
            return 0
