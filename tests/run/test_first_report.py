"""The smoke tier runs first, and has its report while the rest runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from conformance.execution.time_profile import Stages
from conformance.planning.costs import Costs
from conformance.planning.plan import Selection, plan
from conformance.run.first_report import FirstReport, smoke_cells
from conformance.run.performers import Tried
from conformance.run.plugin import Plugin
from conformance.spec.loader import Spec
from conformance.spec.locations import spec_folder
from conformance.spec.tiers import Tier, Tiers
from tests.cells import case, located, offer, offered

NUMPY = spec_folder().parent / "adapters" / "numpy" / "batch_norm.py"


def test_cells_of_the_smoke_tier_are_first_where_the_run_has_them() -> None:
    cases = (located(case(id="a.one")), located(case(id="b.one")), located(case(id="b.two")))
    offers = [offer(offered(), cases=3)]
    tiers = Tiers(declared={Tier.SMOKE: {"eager": ("a.*", "b.one")}, Tier.STANDARD: {"eager": ("*",)}})
    selection = Selection(cases=("b.*",))
    cells = list(plan(cases, offers, selection, tiers))
    spec = Spec(cases=cases, clauses={}, sections={}, hash="")
    assert smoke_cells(spec, offers, selection, tiers, cells) == {"b.one::fake.BatchNorm-eager-cpu"}


def test_a_run_has_its_first_report_before_its_end(tmp_path: Path) -> None:
    """The case of the smoke tier is not the first of the spec, and is recorded first."""
    words = [
        "--adapter",
        f"{NUMPY}:ADAPTER",
        "--workers",
        "1",
        "--case",
        "axes.rank-3/features-first",
        "--case",
        "moving.impulses",
        "--out",
        "run.jsonl",
    ]
    subprocess.run(
        [sys.executable, "-P", "-m", "conformance", "run", *words, "--first-report", "early"],
        cwd=tmp_path,
        check=True,
        timeout=300,
    )
    lines = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    recorded = [line["case"] for line in lines if line["kind"] == "record"]
    assert recorded == ["moving.impulses", "axes.rank-3/features-first"]
    assert (tmp_path / "early" / "index.html").is_file()


def test_while_the_first_cells_run_the_others_are_announced() -> None:
    """By that a process stays alive that has more to do after the first report."""
    offers = [offer(offered(), cases=2)]
    cells = list(plan((located(case(id="a.one")), located(case(id="b.one"))), offers, Selection()))
    performer = Mock(stages=Stages())
    prepared = Mock(performer=performer, costs=Costs(), divergences=(), versions={}, first={cells[1].id})
    performer.perform.side_effect = lambda waiting, _: (Tried(entry=Mock(cell=cell), doubt=None) for cell in waiting)
    list(Plugin(prepared)._settled(cells, 0))
    calls = [(name, words[0]) for name, words, _ in performer.method_calls]
    assert calls == [("announce", cells[:1]), ("perform", cells[1:]), ("announce", []), ("perform", cells[:1])]


def test_why_there_is_no_first_report_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = FirstReport(tmp_path / "early", tmp_path / "nothing.jsonl")
    report.begin()
    report.end()
    told = capsys.readouterr().err
    assert told.startswith("no first report: error:")
    assert "nothing.jsonl" in told


def test_without_a_smoke_tier_there_is_none(tmp_path: Path) -> None:
    FirstReport(tmp_path / "early", tmp_path / "nothing.jsonl").end()
    assert not (tmp_path / "early").exists()
