"""Sessions: `nox -s conformance` runs the matrix, `nox -s tests` the suite's own tests; `nox --list` the rest.

Options after `--`: `--group torch` (repeatable) narrows to framework groups, `--device gpu` takes the GPU pins;
anything else goes to `conformance run`.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import nox
from nox.command import CommandFailed

ROOT = Path(__file__).parent
RESULTS = ROOT / "results"
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
#: Seconds after which the short pass of throughput, at the end of the main job, begins nothing further.
SHORT = 150
GROUPS = ("torch", "tensorflow", "jax", "portable")

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_external_run = True
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "typing", "tests"]


@nox.session
def conformance(session: nox.Session) -> None:
    """Run the matrix on every framework group, time the short cases, and make the HTML report: the main job."""
    for group in _asked(session).group:
        session.notify(f"environment({group})", session.posargs)
    session.notify("matrix", session.posargs)


@nox.session
@nox.parametrize("group", [nox.param(group, id=group) for group in GROUPS])
def environment(session: nox.Session, group: str) -> None:
    """Install one group's pinned packages; an environment that is ready is used as it is."""
    folder = _environment(session, group)
    pins = nox.project.dependency_groups(PYPROJECT, _pinned(session, group), "timing")
    alone = _alone(group)
    wanted = "\n".join([*pins, *alone])
    ready = folder / "ready"
    if ready.is_file() and ready.read_text() == wanted:
        session.log(f"ready: {', '.join([*pins, *alone])}")
        return
    ready.unlink(missing_ok=True)
    log = folder / "install.log"
    session.log(f"installing {', '.join([*pins, *alone])}; log: {log}")
    with log.open("w") as output:
        for packages in ([*pins, "numpy", "ml_dtypes"], ["--no-deps", *alone] if alone else []):
            if packages:
                words = ("python", "-m", "pip", "install", *packages)
                session.run(*words, stdout=output, stderr=subprocess.STDOUT)
    ready.write_text(wanted)


@nox.session
def matrix(session: nox.Session) -> None:
    """Run the cells over the environments that are ready, time, and make the report; `conformance` calls it."""
    options = _asked(session)
    _install(session, ".[report,throughput]")
    name = "run" if not session.posargs else "narrowed"
    out, pages = RESULTS / f"{name}.jsonl", RESULTS / ("report" if name == "run" else "report-narrowed")
    out.unlink(missing_ok=True)
    shutil.rmtree(pages, ignore_errors=True)
    runs = [str(out)]
    try:
        _run_and_time(session, options, runs)
    finally:
        if out.is_file():
            session.run("conformance", "report", *runs, "--out", str(pages))


def _run_and_time(session: nox.Session, options: argparse.Namespace, runs: list[str]) -> None:
    """Run the matrix and, whatever it found, time the short cases of a whole one; what was timed joins `runs`."""
    failed: CommandFailed | None = None
    try:
        session.run("conformance", "run", "--out", runs[0], *_interpreters(session, options), *options.rest)
    except CommandFailed as error:
        failed = error
    if not options.rest and Path(runs[0]).is_file():
        timed = RESULTS / "throughput.jsonl"
        _time(session, options, timed, "--tier", "smoke", "--within", str(SHORT))
        runs.append(str(timed))
    if failed is not None:
        raise failed


@nox.session
def throughput(session: nox.Session) -> None:
    """Time every case on every framework group, alone on the machine: `-- --tier full` and the like narrow or widen."""
    for group in _asked(session).group:
        session.notify(f"environment({group})", session.posargs)
    session.notify("timing", session.posargs)


@nox.session
def timing(session: nox.Session) -> None:
    """Time over the environments that are ready and make the report; `throughput` calls it."""
    options = _asked(session)
    _install(session, ".[report,throughput]")
    timed = RESULTS / "throughput.jsonl"
    _time(session, options, timed, *options.rest)
    run = RESULTS / "run.jsonl"
    runs = [str(each) for each in (run, timed) if each.is_file()]
    session.run("conformance", "report", *runs, "--out", str(RESULTS / "report"))


@nox.session
def report(session: nox.Session) -> None:
    """Make the HTML report again, of the run files named after `--` or of the last full run."""
    _install(session, ".[report]")
    runs = session.posargs or [str(RESULTS / "run.jsonl")]
    session.run("conformance", "report", *runs, "--out", str(RESULTS / "report"))


@nox.session
def regression(session: nox.Session) -> None:
    """Compare two versions of one package: `-- --package flax --base 0.12.0 --head 0.12.8`, and `--bisect`."""
    _install(session, ".[report]")
    kept = Path(session.cache_dir).parent / "versions"
    session.run(
        "conformance", "regression", "--environments", str(kept), "--out", str(RESULTS / "regression"), *session.posargs
    )


@nox.session
def publish(session: nox.Session) -> None:
    """Build the site over all published runs; run files named after `--` are published first."""
    _install(session, ".[report]")
    session.run("conformance", "publish", "--out", str(RESULTS / "site"), *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the suite's own tests: the core alone, no framework."""
    _install(session, ".[report,throughput]", *nox.project.dependency_groups(PYPROJECT, "tests"))
    session.run("pytest", "-m", "not frameworks and not browser", *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """Run the tests of the report in the Chromium on PATH, or in the one CONFORMANCE_CHROMIUM names."""
    _install(session, ".[report,throughput]", *nox.project.dependency_groups(PYPROJECT, "tests", "browser"))
    session.run("pytest", "-m", "browser", *session.posargs)


@nox.session
def adapters(session: nox.Session) -> None:
    """Run the contract tests of the adapters against the real frameworks."""
    for group in _asked(session).group:
        session.notify(f"environment({group})", session.posargs)
    session.notify("contracts", session.posargs)


@nox.session
def contracts(session: nox.Session) -> None:
    """Run the contract tests over the environments that are ready; `adapters` calls it."""
    options = _asked(session)
    _install(session, ".[report,throughput]", *nox.project.dependency_groups(PYPROJECT, "tests"))
    pairs = _built(session, options)
    session.run("pytest", "-m", "frameworks", *options.rest, env={"CONFORMANCE_PYTHONS": "\n".join(pairs)})


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting, and the workflow that the documentation hands out."""
    _install(session, *nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    workflow = ROOT / "docs" / "examples" / "framework-regression.yml"
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(workflow))


@nox.session
def typing(session: nox.Session) -> None:
    """Check types, strictly."""
    groups = nox.project.dependency_groups(PYPROJECT, "typing", "tests")
    _install(session, ".[report,throughput]", *groups, "nox")
    session.run("mypy")


def _asked(session: nox.Session) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"nox -s {session.name} --", allow_abbrev=False)
    parser.add_argument("--group", action="append", choices=GROUPS, help="a framework group; omitted: all")
    parser.add_argument("--device", choices=("cpu", "gpu"), help="which pins, and which cells")
    options, rest = parser.parse_known_args(session.posargs)
    options.group = options.group or list(GROUPS)
    options.rest = [*rest, *(["--device", options.device] if options.device else [])]
    return options


def _pinned(session: nox.Session, group: str) -> str:
    return f"{group}-gpu" if _asked(session).device == "gpu" else group


def _alone(group: str) -> tuple[str, ...]:
    """Return the packages of a group that are installed without their dependencies."""
    name = f"{group}-alone"
    return nox.project.dependency_groups(PYPROJECT, name) if name in PYPROJECT["dependency-groups"] else ()


def _environment(session: nox.Session, group: str) -> Path:
    return Path(session.cache_dir).parent / f"environment-{group}"


def _interpreters(session: nox.Session, options: argparse.Namespace) -> list[str]:
    """Return the options that name each group's interpreter, or the log of one that was not built."""
    words: list[str] = []
    for group in options.group:
        folder = _environment(session, group)
        python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        built = (folder / "ready").is_file()
        words += ["--python", f"{group}={python}"] if built else ["--unbuilt", f"{group}={folder / 'install.log'}"]
    return words


def _built(session: nox.Session, options: argparse.Namespace) -> list[str]:
    """Return each group that was built with its interpreter, as GROUP=PATH."""
    words = _interpreters(session, options)
    return [pair for option, pair in zip(words[::2], words[1::2], strict=True) if option == "--python"]


def _time(session: nox.Session, options: argparse.Namespace, out: Path, *words: str) -> None:
    pythons = (word for pair in _built(session, options) for word in ("--python", pair))
    session.run("conformance", "throughput", "--out", str(out), *pythons, *words)


def _install(session: nox.Session, *packages: str) -> None:
    """Install into a session's environment unless the same was installed there before."""
    wanted = hashlib.sha256("\n".join([*packages, (ROOT / "pyproject.toml").read_text()]).encode()).hexdigest()
    stamp = Path(session.create_tmp()).parent / "installed"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    stamp.unlink(missing_ok=True)
    session.install(*(word for each in packages for word in (["-e", each] if each.startswith(".") else [each])))
    stamp.write_text(wanted)
