"""Sessions: `nox -s conformance` runs the matrix, `nox -s tests` the suite's own tests; `nox --list` the rest.

Options after `--`: `--group torch` (repeatable) narrows to framework groups, `--device gpu` takes the GPU pins;
anything else goes to `conformance run`.

What is installed stands in `locks`, with hashes: one file for the suite with all its tools, which share one environment,
and one for each group of frameworks. `nox -s lock` renews them, `nox -s newest` tries what they do not have yet.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import nox
from nox.command import CommandFailed

ROOT = Path(__file__).parent
RESULTS = ROOT / "results"
LOCKS = ROOT / "locks"
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
#: What pip would compile is several times what is ever imported, and takes it half of its time; Python compiles that.
QUICKLY = "--no-compile"
#: Seconds after which the short pass of throughput, at the end of the main job, begins nothing further; and after which
#: the check of identities there does not.
SHORT, SHORT_IDENTITIES = 240, 120
GROUPS = ("torch", "tensorflow", "jax", "portable")
#: What the environment of the suite has beside its own dependencies.
EXTRAS, TOOLS = (
    ("cluster", "regression", "report", "search", "throughput", "weights"),
    ("tests", "browser", "lint", "typing", "build"),
)
#: What no lock can hold: the index chooses between a build for the CPU and those for CUDA, which have other hashes.
BUILT_BY_INDEX = ("torch",)
#: What a build of those for CUDA requires, in versions that it says itself.
OF_SUCH_A_BUILD = re.compile(r"(torch|triton|(cuda|nvidia)-[\w-]+)==")

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_external_run = True
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "typing", "tests"]


@nox.session(venv_backend="none")
def conformance(session: nox.Session) -> None:
    """Run the matrix on every framework group, check identities, time the short cases, make the report: the main job."""
    _build(session)
    session.notify("matrix", session.posargs)


@nox.session
@nox.parametrize("group", [nox.param(group, id=group) for group in GROUPS])
def environment(session: nox.Session, group: str) -> None:
    """Install one group's locked packages; an environment that is ready is used as it is."""
    folder = _environment(session, group)
    pinned, wanted = _wanted(session, group)
    lock, unhashed = _lock_of(pinned), _unhashed(pinned)
    if _is_ready(session, group):
        session.log(f"ready: {', '.join(_pins(pinned))}")
        return
    ready = folder / "ready"
    ready.unlink(missing_ok=True)
    log = folder / "install.log"
    session.log(f"installing {', '.join(_pins(pinned))} as locked; log: {log}")
    with log.open("w") as output:
        for words in (["--no-deps", "--require-hashes", "-r", str(lock)], unhashed):
            if words:
                _install(session, _program("python", Path(session.bin)), *words, log=output)
    ready.write_text(wanted)


@nox.session(venv_backend="none")
def matrix(session: nox.Session) -> None:
    """Run the cells over the environments that are ready, time, and make the report; `conformance` calls it."""
    options = _asked(session)
    name = "run" if not session.posargs else "narrowed"
    out, pages = RESULTS / f"{name}.jsonl", RESULTS / ("report" if name == "run" else "report-narrowed")
    out.unlink(missing_ok=True)
    shutil.rmtree(pages, ignore_errors=True)
    runs = [str(out)]
    try:
        _run_and_time(session, options, runs, pages)
    finally:
        if out.is_file():
            _run(session, "conformance", "report", *runs, "--out", str(pages))


def _run_and_time(session: nox.Session, options: argparse.Namespace, runs: list[str], pages: Path) -> None:
    """Run the matrix and, whatever it found, check identities and time the short cases of a whole one; those join `runs`.

    A whole one has a first report in `pages` as soon as its smoke tier has run.
    """
    early = [] if options.rest else ["--first-report", str(pages)]
    failed: CommandFailed | None = None
    try:
        _run(session, "conformance", "run", "--out", runs[0], *early, *_interpreters(session, options), *options.rest)
    except CommandFailed as error:
        failed = error
    if not options.rest and Path(runs[0]).is_file():
        checked, timed = RESULTS / "properties.jsonl", RESULTS / "throughput.jsonl"
        try:
            _identities(session, options, checked, "--examples", "3", "--within", str(SHORT_IDENTITIES))
        except CommandFailed as error:
            failed = failed or error
        if checked.is_file():
            runs.append(str(checked))
        _time(session, options, timed, "--tier", "smoke", "--batches", "1", "--within", str(SHORT))
        runs.append(str(timed))
    if failed is not None:
        raise failed


@nox.session(venv_backend="none")
def throughput(session: nox.Session) -> None:
    """Time every case on every framework group, alone on the machine: `-- --tier full` and the like narrow or widen."""
    _build(session)
    session.notify("timing", session.posargs)


@nox.session(venv_backend="none")
def timing(session: nox.Session) -> None:
    """Time over the environments that are ready and make the report; `throughput` calls it."""
    options = _asked(session)
    _time(session, options, RESULTS / "throughput.jsonl", *options.rest)
    _report(session)


@nox.session(venv_backend="none")
def properties(session: nox.Session) -> None:
    """Check identities between related inputs on every framework group, and show them beside the last run."""
    _build(session)
    session.notify("identities", session.posargs)


@nox.session(venv_backend="none")
def identities(session: nox.Session) -> None:
    """Check them over the environments that are ready and make the report; `properties` calls it."""
    options = _asked(session)
    checked = RESULTS / "properties.jsonl"
    try:
        _identities(session, options, checked, *options.rest)
    finally:
        if checked.is_file():
            _report(session)


@nox.session(venv_backend="none")
def fuzz(session: nox.Session) -> None:
    """Search every framework group for what no case shows: exit 1 where something new was found."""
    _build(session)
    session.notify("search", session.posargs)


@nox.session(venv_backend="none")
def search(session: nox.Session) -> None:
    """Search over the environments that are ready; `fuzz` calls it."""
    options = _asked(session)
    pythons = (word for pair in _built(session, options) for word in ("--python", pair))
    _run(session, "conformance", "fuzz", "--out", str(RESULTS / "search"), *pythons, *options.rest)


@nox.session(venv_backend="none")
def report(session: nox.Session) -> None:
    """Make the HTML report again, of the run files named after `--` or of the last full run."""
    runs = session.posargs or [str(RESULTS / "run.jsonl")]
    _run(session, "conformance", "report", *runs, "--out", str(RESULTS / "report"))


@nox.session(venv_backend="none")
def regression(session: nox.Session) -> None:
    """Compare versions of one package: `-- --package flax --base 0.12.0 --head 0.12.8`, or a row: `--versions '>=0.11'`."""
    words = ("--environments", str(_folder(session) / "versions"), "--out", str(RESULTS / "regression"))
    _run(session, "conformance", "regression", *words, *session.posargs)


@nox.session(venv_backend="none")
def publish(session: nox.Session) -> None:
    """Build the site over all published runs; run files named after `--` are published first."""
    _run(session, "conformance", "publish", "--out", str(RESULTS / "site"), *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation as a site, with what is computed in it; a warning is an error."""
    staged = RESULTS / "docs"
    session.install("--no-deps", "--require-hashes", "-r", str(LOCKS / "docs.txt"))
    _run(session, "python", "-P", str(ROOT / "docs" / "site" / "stage.py"), str(staged))
    session.run("zensical", "build", "--strict", "--clean", "--config-file", str(staged / "zensical.toml"))


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run the suite's own tests: the core alone, no framework, no long search; a module's tests stay in one process."""
    # Many tests wait for a process that they started: one more than cores keeps the cores busy.
    parallel = ("-n", str((os.cpu_count() or 1) + 1), "--dist", "loadscope")
    _run(session, "pytest", "-m", "not frameworks and not browser and not search", *parallel, *session.posargs)


@nox.session(venv_backend="none")
def browser(session: nox.Session) -> None:
    """Run the tests of the report in Chromium: the one on PATH, else Playwright's own, else Debian's."""
    named = {"CONFORMANCE_CHROMIUM": _chromium(session)}
    _run(session, "pytest", "-m", "browser", *session.posargs, env=named)


@nox.session(venv_backend="none")
def adapters(session: nox.Session) -> None:
    """Run the contract tests of the adapters against the real frameworks."""
    _build(session)
    session.notify("contracts", session.posargs)


@nox.session(venv_backend="none")
def contracts(session: nox.Session) -> None:
    """Run the contract tests over the environments that are ready; `adapters` calls it. `-- -m "frameworks and search"`: the long ones."""
    options = _asked(session)
    pythons = {"CONFORMANCE_PYTHONS": "\n".join(_built(session, options))}
    _run(session, "pytest", "-m", "frameworks and not search", *options.rest, env=pythons)


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Check style and formatting, the workflows that the documentation hands out, and the action."""
    _run(session, "ruff", "check", ".")
    _run(session, "ruff", "format", "--check", ".")
    workflows = [str(path) for path in sorted((ROOT / "docs" / "examples").glob("*.yml"))]
    _run(session, "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    _run(session, "check-jsonschema", "--builtin-schema", "vendor.github-actions", str(ROOT / "action.yml"))


@nox.session(venv_backend="none")
def typing(session: nox.Session) -> None:
    """Check types, strictly."""
    _run(session, "mypy")


@nox.session
def lock(session: nox.Session) -> None:
    """Renew every lock to the newest that `pyproject.toml` allows; `-- --upgrade-package NAME` renews one package."""
    session.install(*_pins("lock"))
    words = session.posargs or ["--upgrade"]
    extras, tools = (f"--extra={extra}" for extra in EXTRAS), (f"--group={group}" for group in TOOLS)
    _compile(session, LOCKS / "suite.txt", "pyproject.toml", *extras, *tools, *words)
    _compile(session, LOCKS / "docs.txt", "--group=docs", *words)
    # In reverse, so that a group's own name stands for a lock that it shares with its pins for a GPU.
    names = (name for group in reversed(GROUPS) for name in (f"{group}-gpu", group))
    for path, group in {_lock_of(name): name for name in names}.items():
        _compile(session, path, f"--group={group}", "--group=timing", *words)
        if f"{group.removesuffix('-gpu')}-alone" in PYPROJECT["dependency-groups"]:
            _compile(session, path, "--no-deps", f"--group={group.removesuffix('-gpu')}-alone", *words, further=True)


@nox.session
@nox.parametrize("part", [nox.param(part, id=part) for part in ("suite", *GROUPS)])
def newest(session: nox.Session, part: str) -> None:
    """Try the newest releases of everything, each part in an environment of its own: what breaks there is a finding."""
    groups = TOOLS if part == "suite" else (part, "timing", "tests")
    ours = ("-e", f".[{','.join(EXTRAS)}]")
    session.install("--upgrade", "--upgrade-strategy=eager", *ours, *_unpinned(*groups))
    if part == "suite":
        session.run("mypy")
        session.run("pytest", "-m", "not frameworks and not browser", *session.posargs)
        return
    if f"{part}-alone" in PYPROJECT["dependency-groups"]:
        session.install("--upgrade", "--no-deps", *_unpinned(f"{part}-alone"))
    pair = f"{part}={_program('python', Path(session.bin))}"
    out, pages = RESULTS / f"newest-{part}.jsonl", RESULTS / f"newest-{part}"
    out.unlink(missing_ok=True)
    try:
        session.run(
            "conformance", "run", "--tier", "smoke", "--grouped", "--python", pair, "--out", str(out), *session.posargs
        )
    finally:
        if out.is_file():
            session.run("conformance", "report", str(out), "--out", str(pages))


@nox.session(name="release-check")
def release_check(session: nox.Session) -> None:
    """Build wheel and sdist, install the wheel apart from the checkout, and run a smoke tier there with another's adapter."""
    place = Path(session.create_tmp()).absolute() / "release"
    shutil.rmtree(place, ignore_errors=True)
    (place / "away").mkdir(parents=True)
    _run(session, "python", "-m", "hatchling", "build", "--directory", str(place))
    (wheel,), (sdist,) = place.glob("*.whl"), place.glob("*.tar.gz")
    session.install(f"{wheel}[report]", str(ROOT / "docs" / "example-adapter"))
    session.run("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(place / "again"), str(sdist))
    (again,) = (place / "again").glob("*.whl")
    if _files_of(wheel) != _files_of(again):
        session.error(f"{sdist.name} makes another wheel than the checkout")
    with session.chdir(place / "away"):
        session.run("conformance", "check")
        session.run("conformance", "check", "--adapter", "welford_norm.conformance_adapter:ADAPTER")
        rows = ("--implementation", "numpy.*", "--implementation", "welford_norm.*")
        session.run("conformance", "run", "--tier", "smoke", *rows, "--out", "run.jsonl", "--", "-q")
        session.run("conformance", "report", "run.jsonl", "--out", "report")


def _files_of(wheel: Path) -> dict[str, int]:
    """Return the files of a wheel with their checksums, without the record that lists them."""
    with zipfile.ZipFile(wheel) as archive:
        return {file.filename: file.CRC for file in archive.infolist() if not file.filename.endswith("/RECORD")}


def _asked(session: nox.Session) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"nox -s {session.name} --", allow_abbrev=False)
    parser.add_argument("--group", action="append", choices=GROUPS, help="a framework group; omitted: all")
    parser.add_argument("--device", choices=("cpu", "gpu"), help="which pins, and which cells")
    options, rest = parser.parse_known_args(session.posargs)
    options.group = options.group or list(GROUPS)
    options.rest = [*rest, *(["--device", options.device] if options.device else [])]
    return options


def _folder(session: nox.Session) -> Path:
    """Return where nox keeps the environments."""
    return Path(session.cache_dir).parent


def _environment(session: nox.Session, group: str) -> Path:
    return _folder(session) / f"environment-{group}"


def _wanted(session: nox.Session, group: str) -> tuple[str, str]:
    """Return the name of a group's pins, and what stands in its environment once they are installed."""
    pinned = f"{group}-gpu" if _asked(session).device == "gpu" else group
    return pinned, "\n".join([hashlib.sha256(_lock_of(pinned).read_bytes()).hexdigest(), *_unhashed(pinned)])


def _is_ready(session: nox.Session, group: str) -> bool:
    ready = _environment(session, group) / "ready"
    return ready.is_file() and ready.read_text() == _wanted(session, group)[1]


def _build(session: nox.Session) -> None:
    """Build the environments of the groups asked for side by side, and meanwhile the suite's own.

    One that cannot be built fails nothing here: what runs over them shows it.
    """
    folder = _folder(session)
    nox_here = (sys.executable, "-m", "nox", "--noxfile", __file__, "--envdir", str(folder))
    building: dict[str, subprocess.Popen[bytes]] = {}
    for group in _asked(session).group:
        if _is_ready(session, group):
            continue
        log = folder / f"environment-{group}.log"
        session.log(f"building environment({group}); log: {log}")
        with log.open("w") as output:
            words = (*nox_here, "--session", f"environment({group})", "--", *session.posargs)
            building[group] = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT)
    try:
        _suite(session)
    finally:
        for group, process in building.items():
            session.log(f"environment({group}): {'not built' if process.wait() else 'built'}")


def _program(name: str, programs: Path) -> str:
    """Return the path of a program in the folder of an environment's programs; one that is not there fails when run."""
    return shutil.which(name, path=str(programs)) or str(programs / name)


def _programs(environment: Path) -> Path:
    return environment / ("Scripts" if sys.platform == "win32" else "bin")


def _interpreters(session: nox.Session, options: argparse.Namespace) -> list[str]:
    """Return the options that name each group's interpreter, or the log of one that was not built."""
    words: list[str] = []
    for group in options.group:
        folder = _environment(session, group)
        python = _program("python", _programs(folder))
        built = (folder / "ready").is_file()
        words += ["--python", f"{group}={python}"] if built else ["--unbuilt", f"{group}={folder / 'install.log'}"]
    return words


def _built(session: nox.Session, options: argparse.Namespace) -> list[str]:
    """Return each group that was built with its interpreter, as GROUP=PATH."""
    words = _interpreters(session, options)
    return [pair for option, pair in zip(words[::2], words[1::2], strict=True) if option == "--python"]


def _report(session: nox.Session) -> None:
    """Make the report of what there is: the last full run, and what was timed and checked since."""
    runs = [RESULTS / f"{name}.jsonl" for name in ("run", "throughput", "properties")]
    there = [str(path) for path in runs if path.is_file()]
    _run(session, "conformance", "report", *there, "--out", str(RESULTS / "report"))


def _identities(session: nox.Session, options: argparse.Namespace, out: Path, *words: str) -> None:
    out.unlink(missing_ok=True)
    pythons = (word for pair in _built(session, options) for word in ("--python", pair))
    _run(session, "conformance", "properties", "--out", str(out), *pythons, *words)


def _time(session: nox.Session, options: argparse.Namespace, out: Path, *words: str) -> None:
    pythons = (word for pair in _built(session, options) for word in ("--python", pair))
    _run(session, "conformance", "throughput", "--out", str(out), *pythons, *words)


def _run(session: nox.Session, program: str, *words: str, env: Mapping[str, str] | None = None) -> None:
    """Run a program of the suite's environment, which is built or brought up to date first.

    Python keeps bytecode there, whatever a person has set: nothing is compiled in these environments before it is imported.
    """
    program = _program(program, _suite(session))
    session.run(program, *words, env={"PYTHONDONTWRITEBYTECODE": "", **(env or {})}, external=True)


def _suite(session: nox.Session) -> Path:
    """Return the folder of the programs of the suite's environment, which every session without one of its own shares."""
    home = _folder(session) / "suite"
    python, stamp, lock = _program("python", _programs(home)), home / "installed", LOCKS / "suite.txt"
    wanted = hashlib.sha256(lock.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if not (stamp.is_file() and stamp.read_text() == wanted):
        session.run(sys.executable, "-m", "virtualenv", "--quiet", "--clear", str(home), external=True)
        for words in (["--require-hashes", "-r", str(lock)], ["--no-build-isolation", "-e", str(ROOT)]):
            _install(session, python, "--quiet", "--no-deps", *words)
        stamp.write_text(wanted)
    return Path(python).parent


def _install(session: nox.Session, python: str, *words: str, log: IO[str] | None = None) -> None:
    """Install by uv where it is present, which takes a fraction of the time, and by pip where it is not or cannot."""
    stderr = None if log is None else subprocess.STDOUT
    pip = (python, "-m", "pip")
    installer = runpy.run_path(str(ROOT / "conformance" / "regression" / "installer.py"))
    uv = installer["uv_command"](Path(python), pip, hashed="--require-hashes" in words)
    if uv is not None:
        try:
            env = installer["uv_variables"](pip)
            session.run(*uv, QUICKLY, *words, external=True, env=env, stdout=log, stderr=stderr)
        except CommandFailed:
            session.warn("uv could not install this: pip tries")
        else:
            return
    session.run(*pip, "install", QUICKLY, *words, external=True, stdout=log, stderr=stderr)


def _pins(*groups: str) -> tuple[str, ...]:
    """Return the requirements of groups of `pyproject.toml`."""
    return nox.project.dependency_groups(PYPROJECT, *groups)


def _unhashed(group: str) -> list[str]:
    """Return the pins of a group that are installed without a hash, and with what their build requires."""
    return [pin for pin in _pins(group) if re.split(r"[^\w-]", pin, maxsplit=1)[0] in BUILT_BY_INDEX]


def _unhashed_in(lock: Path) -> bool:
    return lock.stem in PYPROJECT["dependency-groups"] and bool(_unhashed(lock.stem))


def _unpinned(*groups: str) -> list[str]:
    """Return the requirements of groups without the versions that were tested."""
    return [pin.partition("==")[0] for pin in _pins(*groups)]


def _lock_of(group: str) -> Path:
    """Return the lock of a group; pins for a GPU that are no others share the plain ones'."""
    plain = group.removesuffix("-gpu")
    return LOCKS / f"{plain if _pins(plain) == _pins(group) else group}.txt"


def _compile(session: nox.Session, path: Path, *words: str, further: bool = False) -> None:
    """Write a lock for every platform and every Python that is supported, or add to it what stands for itself."""
    written = Path(session.create_tmp()) / path.name if further else path
    always = ("--universal", "--python-version=3.11", "--generate-hashes", "--no-header", "--quiet")
    session.run("uv", "pip", "compile", *always, *words, "-o", str(written), silent=True)
    entries = re.split(r"(?m)^(?=\w)", written.read_text())[1:]
    entries += re.split(r"(?m)^(?=\w)", path.read_text())[1:] if further else []
    if _unhashed_in(path):
        entries = [entry for entry in entries if not OF_SUCH_A_BUILD.match(entry)]
    path.write_text(_heading(path) + "".join(sorted(entries)))


def _heading(path: Path) -> str:
    """Return the first lines of a lock."""
    lines = [
        "Made by `nox -s lock` from pyproject.toml, where a person edits versions; this file is replaced.",
        f"To install it alone: pip install --no-deps --require-hashes -r locks/{path.name}",
    ]
    if _unhashed_in(path):
        lines += [
            "Not here: torch, and what its builds for CUDA require. The index chooses the build, as one for the CPU, and",
            "with it the hash, so the noxfile installs the pin of pyproject.toml afterwards, without one.",
        ]
    return "".join(f"# {line}\n" for line in lines)


def _chromium(session: nox.Session) -> str:
    """Return the path of a Chromium that starts, which is installed where there is none."""
    present = os.environ.get("CONFORMANCE_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if present:
        return present
    python = _program("python", _suite(session))
    session.run(python, "-m", "playwright", "install", "chromium", external=True, success_codes=(0, 1))
    where = "from playwright.sync_api import sync_playwright as s\nwith s() as p: print(p.chromium.executable_path)"
    own = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    if Path(own).is_file() and subprocess.run([own, "--version"], capture_output=True).returncode == 0:
        return own
    if sys.platform == "linux" and shutil.which("apt-get") and os.geteuid() == 0:
        session.run("apt-get", "update", "-qq", external=True)
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        session.run("apt-get", "install", "-y", "-qq", "chromium", external=True, env=quiet, silent=True)
    return shutil.which("chromium") or session.error("no Chromium: install it, or name it in CONFORMANCE_CHROMIUM")
