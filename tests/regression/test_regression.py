"""A regression check from end to end, with environments and runs made by hand."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from packaging.version import Version

from conformance.compare.values import Policy
from conformance.errors import UsageError
from conformance.regression import regression, version
from conformance.regression.bisection import Answer
from conformance.regression.checked import followed
from conformance.regression.environments import Built, Environment, Unbuilt
from conformance.regression.pins import Local, Pins, Released, Source
from conformance.regression.regression import Request, check, located, versions_between
from conformance.regression.version import Asked
from conformance.regression.written import write
from conformance.runfile.run import Run
from tests.run_lines import environment_line, record_line, run_of, write_run
from tests.run_pairs import DEVIATES, OTHER_CELL, PAIRS
from tests.tiny_wheels import write_wheel

#: By version what it does: from 4 on epsilon stands outside the root.
WORLD = {f"1.{minor}": run_of(DEVIATES if minor >= 4 else record_line(), OTHER_CELL, environments=(environment_line(version=f"1.{minor}"),)) for minor in range(8)}  # fmt: skip


def at(version: str) -> Released:
    return Released(version=Version(version))


@pytest.fixture(name="asked")
def _asked(tmp_path: Path) -> Request:
    cells = Asked(
        package="torch",
        pins=(Pins(group="torch", together=("torch==1.7",)),),
        cases=(),
        selection=("--tier", "smoke"),
        environments=tmp_path / "environments",
        out=tmp_path / "out",
    )
    return Request(cells=cells, base=at("1.0"), head=at("1.7"), policy=Policy())


@pytest.fixture(name="world")
def _world(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Give a function that puts runs by version in place of environments and frameworks, and returns what ran."""

    def make(runs: dict[str, Run], unbuilt: Sequence[str] = ()) -> list[str]:
        ran: list[str] = []

        def build(pins: Pins, package: str, source: Source, folder: Path) -> Environment:
            if str(source) in unbuilt:
                return Unbuilt(group=pins.group, log=Path(str(source)), reason="ERROR: no such version")
            versions = {package: str(source)}
            return Built(group=pins.group, python=Path(str(source)), kept="as pinned", versions=versions, seconds=0.0)

        def run(
            file: Path,
            environments: Sequence[Environment],
            selection: Sequence[str],
            reached: Callable[[int, int], None],
            scheduler: str | None,
        ) -> bool:
            (environment,) = environments
            version = environment.versions["torch"] if isinstance(environment, Built) else environment.log.name
            cases = [word for before, word in itertools.pairwise(selection) if before == "--case"]
            ran.append(f"{version} {' '.join(cases)}".strip())
            found = runs[version]
            kept = [each for each in found.records if not cases or each.case in cases]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            header = msgspec.structs.replace(found.header, planned=len(kept), narrowed=True)
            write_run(replace(found, path=file, header=header, records=tuple(kept)), file.parent)
            return True

        monkeypatch.setattr(version, "build", build)
        monkeypatch.setattr(version, "run_cells", run)
        monkeypatch.setattr(regression, "released", lambda package: tuple(map(Version, runs)))
        return ran

    return make


def test_a_change_is_found_in_its_cells_with_its_cause_and_nothing_else_is(
    asked: Request, world: Callable[..., list[str]]
) -> None:
    world(WORLD)
    found = check(asked).comparison
    (change,) = found.changes
    assert (change.regression, change.what) == (True, "epsilon outside the root")
    assert [(cell.case, cell.column) for cell in change.cells] == [("a.one", "torch.nn.BatchNorm-eager-cpu")]
    assert not (found.grades)
    assert not (found.vanished)
    assert not (found.appeared)


def test_two_versions_that_do_alike_are_no_regression(asked: Request, world: Callable[..., list[str]]) -> None:
    world(WORLD)
    found = check(replace(asked, head=at("1.3"))).comparison
    assert not (found.regression)
    assert not (found.changes)


def test_cells_that_the_head_lacks_are_a_regression_though_both_runs_are_narrowed(
    asked: Request, world: Callable[..., list[str]]
) -> None:
    world({"1.0": WORLD["1.0"], "1.7": run_of(OTHER_CELL)})
    assert check(asked).comparison.vanished[0].regression


def test_the_version_that_changed_a_cell_is_found_on_the_cells_that_changed_alone(
    asked: Request, world: Callable[..., list[str]]
) -> None:
    ran = world(WORLD)
    found = located(asked, check(asked)).bisected
    assert found is not None
    assert (str(found.found.last), str(found.found.first)) == ("1.3", "1.4")
    assert found.comparison is not None
    assert found.comparison.changes[0].what == "epsilon outside the root"
    assert ran == ["1.0", "1.7", "1.3 a.one", "1.5 a.one", "1.4 a.one"]


def test_a_version_that_does_not_install_is_passed_over(asked: Request, world: Callable[..., list[str]]) -> None:
    not_built = run_of(environments=({"id": "torch", "group": "torch", "adapter": None, "failed": "no"},))
    world({**WORLD, "1.3": not_built, "1.4": not_built}, unbuilt=["1.3", "1.4"])
    found = located(asked, check(asked)).bisected
    assert found is not None
    assert (str(found.found.last), str(found.found.first)) == ("1.2", "1.5")
    assert [str(each) for each in found.found.untestable] == ["1.3", "1.4"]
    assert [step.answer for step in found.steps if str(step.side.at) == "1.3"] == [Answer.UNTESTABLE]


def test_a_base_that_does_not_install_leaves_nothing_to_compare(
    asked: Request, world: Callable[..., list[str]]
) -> None:
    not_built = run_of(environments=({"id": "torch", "group": "torch", "adapter": None, "failed": "no"},))
    world({**WORLD, "1.0": not_built}, unbuilt=["1.0"])
    with pytest.raises(UsageError, match=r"torch 1\.0: nothing to compare with: torch: not built: ERROR: no such"):
        check(asked)


def test_a_head_that_does_not_install_is_a_regression_of_its_own(
    asked: Request, world: Callable[..., list[str]]
) -> None:
    not_built = run_of(environments=({"id": "torch", "group": "torch", "adapter": None, "failed": "no"},))
    world({**WORLD, "1.7": not_built}, unbuilt=["1.7"])
    checked = check(asked)
    assert checked.comparison.regression
    assert checked.comparison.environments[0].new == "not built"
    assert "not built" in write(checked, asked.cells.out)


def test_the_same_two_runs_leave_the_same_files(
    asked: Request, world: Callable[..., list[str]], tmp_path: Path
) -> None:
    world(WORLD)
    checked = check(asked)
    for name in ("one", "two"):
        write(checked, tmp_path / name)
    files = {each.relative_to(tmp_path / "one") for each in (tmp_path / "one").rglob("*") if each.is_file()}
    assert {"summary.md", "comparison.json", "junit.xml", "versions.json"} <= {each.name for each in files}
    assert all((tmp_path / "one" / each).read_bytes() == (tmp_path / "two" / each).read_bytes() for each in files)


def test_what_needs_no_environment_is_told_before_one_is_built(
    asked: Request, world: Callable[..., list[str]], tmp_path: Path
) -> None:
    ran = world(WORLD)
    other = Local(path=write_wheel(tmp_path, "arrays", "2"))
    for head, message in ((asked.base, "are the same"), (other, "is of arrays, not of torch")):
        with pytest.raises(UsageError, match=message):
            check(replace(asked, head=head))
    assert not ran


def test_a_dialect_that_moved_is_no_silence(asked: Request, world: Callable[..., list[str]]) -> None:
    world({"1.0": PAIRS["dialect-conforms"][0], "1.7": PAIRS["dialect-conforms"][1]})
    checked = check(asked)
    assert checked.comparison.regression
    assert followed(checked.comparison) == ("a.one",)


def test_each_phase_is_a_line_with_its_time_and_what_came_of_it(
    asked: Request, world: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    world(WORLD)
    check(replace(asked, head=at("1.3")))
    lines = [re.sub(r"\d+ s\)$", "0 s)", line) for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "torch 1.0, environment torch: ready, the other pins as pinned (0 s)",
        "torch 1.0, cells: 2 run (0 s)",
        "torch 1.3, environment torch: ready, the other pins as pinned (0 s)",
        "torch 1.3, cells: 2 run (0 s)",
    ]


@pytest.mark.parametrize(("base", "head", "between"), [("1.2", "1.5", ["1.3", "1.4"]), ("1.5", "1.2", ["1.4", "1.3"])])
def test_versions_are_tried_in_the_direction_asked(
    world: Callable[..., list[str]], base: str, head: str, between: list[str]
) -> None:
    world({**WORLD, "1.4rc1": WORLD["1.4"]})
    assert [str(each) for each in versions_between("torch", at(base), at(head))] == between


def test_a_wheel_has_no_versions_before_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--bisect: expected two released versions"):
        versions_between("torch", at("1.0"), Local(path=tmp_path))
