"""The stages of the suite, each by itself: `pytest -c benchmarks/pytest.ini benchmarks`; with `-m ""` the large ones too."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import judging
from conformance.compare.comparison import compare
from conformance.judging.judge import judge
from conformance.planning.plan import Selection, plan
from conformance.reference.computed import compute
from conformance.reference.expected import References
from conformance.report import write
from conformance.runfile.reading import read, read_all
from conformance.runfile.results_reading import load as load_results
from conformance.spec.loader import load
from conformance.spec.locations import spec_folder
from conformance.spec.tiers import Tier
from tests.cells import INFER, TRAIN, case, cell, offer, offered
from tests.exact_layer import ExactLayer, altered, outcomes
from tests.many_cells import write_many

#: The report and the comparison of this many cells; the second takes minutes.
SIZES = [10_000, pytest.param(100_000, marks=pytest.mark.large)]
COLUMNS = 60


def rate(benchmark: Any, count: int, of: str) -> None:
    """Add how many of something are done in a second, by the fastest round."""
    benchmark.extra_info[f"{of} a second"] = count / benchmark.stats.stats.min


def few(benchmark: Any, action: Callable[[], Any], rounds: int = 5) -> Any:
    """Measure what takes long a few times."""
    return benchmark.pedantic(action, rounds=rounds, warmup_rounds=1 if rounds > 1 else 0)


def test_loading_the_spec(benchmark: Any) -> None:
    rate(benchmark, len(few(benchmark, lambda: load(spec_folder())).cases), "cases")


def test_planning(benchmark: Any) -> None:
    cases = load(spec_folder()).cases
    rows = [offered(name=f"fake.row-{number}", modes=("eager", "compiled")) for number in range(COLUMNS)]
    offers = [offer(*rows, cases=len(cases))]
    rate(benchmark, len(few(benchmark, lambda: list(plan(cases, offers, Selection(tier=Tier.FULL))))), "cells")


@pytest.mark.parametrize(("rows", "features"), [(8, 3), (64, 64), (4096, 64)])
def test_the_reference_of_a_step(benchmark: Any, rows: int, features: int) -> None:
    step, _ = judging.step(rows, features)
    benchmark(lambda: compute(step.request, step.state, {}))
    rate(benchmark, 1, "steps")


@pytest.mark.parametrize(
    ("rows", "features", "rounds"),
    [(64, 64, 200), (4096, 64, 20), pytest.param(32 * 56 * 56, 256, 3, marks=pytest.mark.large)],
)
def test_judging_a_step(benchmark: Any, rows: int, features: int, rounds: int) -> None:
    step, _ = judging.step(rows, features)
    few(benchmark, step.judge, rounds)
    computing = judging.ratio(rows, features, rounds)[1]
    benchmark.extra_info["times the plain float64 step"] = benchmark.stats.stats.min / computing
    benchmark.extra_info["inputs of memory beyond the arrays judged"] = judging.memory(rows, features)


def test_judging_a_small_cell(benchmark: Any) -> None:
    made = case(TRAIN, INFER, TRAIN, INFER)
    given = outcomes(ExactLayer(case=made))
    benchmark(lambda: judge(cell(made), given, References()))
    rate(benchmark, 1, "cells")


def test_diagnosing_a_cell(benchmark: Any) -> None:
    made = case(TRAIN, INFER)
    given = altered(outcomes(ExactLayer(case=made)), 1, "output", lambda array: -array)
    few(benchmark, lambda: judge(cell(made), given, References()))
    rate(benchmark, 1, "cells")


def test_writing_a_run_file(benchmark: Any, tmp_path: Path) -> None:
    few(benchmark, lambda: write_many(tmp_path / "run.jsonl", 10_000), 3)
    rate(benchmark, 10_000, "cells")


def test_reading_a_run_file(benchmark: Any, tmp_path: Path) -> None:
    path = write_many(tmp_path / "run.jsonl", 10_000)
    few(benchmark, lambda: read(path), 3)
    rate(benchmark, 10_000, "cells")


@pytest.mark.parametrize("cells", SIZES)
def test_the_report(benchmark: Any, tmp_path: Path, cells: int) -> None:
    runs = read_all([write_many(tmp_path / "run.jsonl", cells)])
    few(benchmark, lambda: write(runs, tmp_path / "report", partial=False), 1)
    rate(benchmark, cells, "cells")


@pytest.mark.parametrize("cells", SIZES)
def test_comparing(benchmark: Any, tmp_path: Path, cells: int) -> None:
    paths = [write_many(tmp_path / f"{name}.jsonl", cells) for name in ("base", "new")]
    base, new = (load_results([path], partial=False) for path in paths)
    few(benchmark, lambda: compare(base, new), 3)
    rate(benchmark, cells, "cells")
