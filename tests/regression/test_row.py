"""A row of versions from end to end, with environments and runs made by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.version import Version

from conformance.compare.values import Policy
from conformance.errors import UsageError
from conformance.regression import row, version
from conformance.regression.environments import Built, Environment, Unbuilt
from conformance.regression.every import Every
from conformance.regression.history_text import course
from conformance.regression.pins import Nightly, NightlyBuilds, Pins, Released, Source, source
from conformance.regression.row import Span, nightly_builds, run_row, versions_of
from conformance.regression.version import Asked
from tests.regression.test_following import RIGHT, WRONG
from tests.run_lines import run_of, write_run
from tests.tiny_wheels import write_wheel

NOTHING = run_of(environments=({"id": "torch", "group": "torch", "adapter": None, "failed": "no"},), narrowed=True)
SPAN = Span(within=None, every=Every.RELEASE, last=None, named=(), nightly=None)
BUILDS = NightlyBuilds(distribution="torch", index="file:///nights")


@pytest.fixture(name="asked")
def _asked(tmp_path: Path) -> Asked:
    return Asked(
        package="torch",
        pins=(Pins(group="torch", together=("torch==3",)),),
        cases=(),
        selection=(),
        environments=tmp_path / "environments",
        out=tmp_path / "out",
    )


@pytest.fixture(name="index", autouse=True)
def _index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three releases and a build of a night; the second release does not install, and from the third on epsilon is wrong."""

    def build(pins: Pins, package: str, at: Source, folder: Path, stopped: Callable[[], bool]) -> Environment:
        if str(at) == "2":
            return Unbuilt(group=pins.group, log=Path("2"), reason="ERROR: no such version")
        versions = {package: str(at)}
        return Built(group=pins.group, python=Path(str(at)), kept="as pinned", versions=versions, seconds=0.0)

    def run_cells(
        file: Path,
        environments: Sequence[Environment],
        selection: Sequence[str],
        reached: Callable[[int, int], None],
        scheduler: str | None,
    ) -> bool:
        (environment,) = environments
        at = environment.versions["torch"] if isinstance(environment, Built) else "2"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_run(replace({"1": RIGHT, "2": NOTHING}.get(at, WRONG), path=file), file.parent)
        return True

    monkeypatch.setattr(version, "build", build)
    monkeypatch.setattr(version, "run_cells", run_cells)
    monkeypatch.setattr(row, "released", lambda package: tuple(map(Version, ("1", "2", "3"))))
    monkeypatch.setattr(row, "newest_nightly", lambda builds: Nightly(version=Version("4.dev1"), builds=builds))


def test_a_row_tells_in_which_version_a_finding_began_and_what_did_not_install(
    asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    history = run_row(asked, versions_of("torch", replace(SPAN, within="", nightly=BUILDS)), Policy())
    assert [(each.version, each.cells) for each in history.versions] == [("1", 1), ("2", 0), ("3", 1), ("4.dev1", 1)]
    assert [course(finding) for finding in history.findings] == ["began in 3, or in 2, which cannot tell"]
    assert not history.regression  # the newest version is as the one before it
    assert sorted(path.name for path in asked.out.iterdir()) == ["1.jsonl", "2.jsonl", "3.jsonl", "4.dev1.jsonl"]
    told = capsys.readouterr().err
    assert told.startswith("torch 1, 2, 3, 4.dev1: environments torch, up to 4 at a time\n")
    assert "torch 2, environment torch: not built: ERROR: no such version" in told


def test_what_is_no_release_ends_a_row(tmp_path: Path) -> None:
    wheel = source(str(write_wheel(tmp_path, "torch", "0.1")))
    span = replace(SPAN, within=">=2", named=(wheel, Released(version=Version("1"))), nightly=BUILDS)
    assert [str(at) for at in versions_of("torch", span)] == ["1", "2", "3", "4.dev1", wheel.path.name]  # type: ignore[union-attr] # a wheel


def test_a_row_of_one_version_is_refused() -> None:
    with pytest.raises(UsageError, match="torch: a row needs two versions, and this one is 3"):
        versions_of("torch", replace(SPAN, within=">2"))


def test_a_wheel_of_another_package_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    wheel = source(str(write_wheel(tmp_path, "arrays", "1")))
    with pytest.raises(UsageError, match="is of arrays, not of torch"):
        versions_of("torch", replace(SPAN, within="", named=(wheel,)))


def test_where_no_version_runs_a_cell_there_is_no_history(asked: Asked) -> None:
    with pytest.raises(UsageError, match="torch: no cell was selected"):
        run_row(asked, [Released(version=Version("2"))], Policy())


def test_an_interruption_begins_no_further_environment(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    asks: list[Callable[[], bool]] = []
    begun = threading.Event()

    def build(pins: Pins, package: str, at: Source, folder: Path, stopped: Callable[[], bool]) -> Environment:
        asks.append(stopped)
        if str(at) == "1":
            begun.wait(10)
            raise KeyboardInterrupt
        begun.set()
        return Unbuilt(group=pins.group, log=Path("log"), reason="stopped")

    monkeypatch.setattr(version, "build", build)
    with pytest.raises(KeyboardInterrupt):
        run_row(asked, [Released(version=Version(number)) for number in ("1", "2")], Policy())
    assert all(stopped() for stopped in asks)


def test_where_builds_of_a_night_are_stands_beside_the_pins() -> None:
    project = {"tool": {"conformance": {"nightly": {"t-cpu": {"distribution": "t-nightly", "without": ["k"]}}}}}
    assert nightly_builds(project, "t-cpu", "") == NightlyBuilds(distribution="t-nightly", without=("k",))
    assert nightly_builds(project, "other", "file:///i") == NightlyBuilds(distribution="other", index="file:///i")


def test_an_entry_that_is_none_is_refused_with_its_key() -> None:
    project = {"tool": {"conformance": {"nightly": {"t": {"indices": "x"}}}}}
    with pytest.raises(UsageError, match=r"pyproject.toml: tool\.conformance\.nightly\.t\.indices: expected a text in"):
        nightly_builds(project, "t", "")
