"""Running the script of a recorded cell as a stranger would, and holding it against the record."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from conformance.reproduce import Evidence, script

Run = Callable[[str, str, Path], subprocess.CompletedProcess[str]]
#: Seconds that a script may take.
LIMIT = 120
#: -I would not keep an installation of ours beside the framework out of sight: a blocked import does.
BLOCKED = "import sys, runpy; sys.modules['conformance'] = None; "
#: A process that has the imports of many scripts behind it, and performs each that it is told of in a copy of itself:
#: beside the copy waits another, which writes how it ended.
HOST = """
import os, signal, traceback
exec(sys.argv[1])
signal.signal(signal.SIGCHLD, signal.SIG_IGN)

def perform(folder):
    code = 1
    try:
        signal.alarm(int(sys.argv[2]))
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for name, number in ("stdout", 1), ("stderr", 2):
            os.dup2(os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT), number)
        os.chdir(os.path.join(folder, "empty"))
        runpy.run_path(os.path.join(folder, "reproduced.py"), run_name="__main__")
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

for line in sys.stdin:
    folder = line.rstrip("\\n")
    if os.fork():
        continue
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    script = os.fork()
    if not script:
        perform(folder)
    code = os.waitstatus_to_exitcode(os.waitpid(script, 0)[1])
    with open(os.path.join(folder, "partial"), "w") as file:
        file.write(str(code))
    os.rename(file.name, os.path.join(folder, "code"))
    os._exit(0)
"""


def run(text: str, interpreter: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in an empty folder, with nothing of ours to import; the interpreter's path may be relative."""
    file = _put(text, folder)
    return subprocess.run(
        [
            str(Path(interpreter).absolute()),
            "-I",
            "-c",
            BLOCKED + "runpy.run_path(sys.argv[1], run_name='__main__')",
            file,
        ],
        cwd=folder / "empty",
        env=_outside(),
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )


class Hosts:
    """Processes that import once what many scripts import, and run each of them in a fork.

    Scripts share one where interpreter and environment variables are the same, so that each still begins in a process
    that has done nothing but imports.
    """

    def __init__(self) -> None:
        self._hosts: dict[tuple[str, str], subprocess.Popen[str]] = {}
        self._guard = threading.Lock()

    def run(self, text: str, interpreter: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run a script in a fork of the host that has its imports; see `run`."""
        file = _put(text, folder)
        variables, imports = _prelude(text)
        with self._guard:
            host = self._hosts.get((interpreter, variables)) or self._started(interpreter, variables, imports)
            assert host.stdin is not None
            host.stdin.write(f"{folder.absolute()}\n")
            host.stdin.flush()
        while not (folder / "code").exists():
            assert host.poll() is None, "the process that scripts are copies of ended"
            time.sleep(0.02)
        said = {name: (folder / name).read_text(encoding="utf-8") for name in ("stdout", "stderr")}
        return subprocess.CompletedProcess([interpreter, str(file)], int((folder / "code").read_text()), **said)

    def close(self) -> None:
        """End them."""
        for host in self._hosts.values():
            host.communicate()

    def _started(self, interpreter: str, variables: str, imports: str) -> subprocess.Popen[str]:
        host = subprocess.Popen(
            [str(Path(interpreter).absolute()), "-I", "-c", BLOCKED + HOST, f"{variables}\n{imports}", str(LIMIT)],
            env=_outside(),
            stdin=subprocess.PIPE,
            text=True,
        )
        self._hosts[interpreter, variables] = host
        return host


def complaint(evidence: Evidence, interpreter: str, folder: Path, perform: Run = run) -> str:
    """Return where the script's outcome is not the recorded one; empty where it nowhere is."""
    text = script(evidence, whole=True)
    done = perform(text, interpreter, folder)
    said = f"{done.stdout}\n{done.stderr}"
    if done.returncode != int(not evidence.record.expected):
        return f"exit code {done.returncode} for {evidence.record.verdict}:\n{said}"
    numbers = re.findall(r"^(?:ok|NO) step .*: .*, (as recorded|recorded .*);$", done.stdout, re.MULTILINE)
    asked = sum(_rows(statement) for statement in ast.parse(text).body)
    if len(numbers) != asked or set(numbers) - {"as recorded"}:
        return f"{asked} numbers recorded, seen {numbers}:\n{said}"
    return ""


def _put(text: str, folder: Path) -> Path:
    (folder / "empty").mkdir(exist_ok=True)
    file = folder / "reproduced.py"
    file.write_text(text, encoding="utf-8")
    return file


def _outside() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _prelude(text: str) -> tuple[str, str]:
    """Return the first statements of a script: those that set environment variables, and the imports."""
    variables, imports = ["import os"], list[str]()
    for statement in ast.parse(text).body[1:]:
        match statement:
            case ast.Import() | ast.ImportFrom():
                imports.append(ast.unparse(statement))
            case ast.AugAssign():
                variables.append(ast.unparse(statement))
            case _:
                break
    return "\n".join(variables), "\n".join(imports)


def _rows(statement: ast.stmt) -> int:
    """Return how many numbers a statement lists, if it is the list of them."""
    match statement:
        case ast.Assign(targets=[ast.Name(id="ELEMENTS")], value=ast.List(elts=rows)):
            return len(rows)
        case _:
            return 0
