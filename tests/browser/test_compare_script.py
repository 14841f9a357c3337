"""The browser compares as the command line does: the same policy, the same structure."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

import conformance
from conformance.compare.comparison import compare
from conformance.compare.values import FailOn, Policy
from conformance.errors import UsageError
from conformance.files.json_text import text_of
from conformance.runfile.lines import recorded_catalogue
from conformance.runfile.results import Results, results_of
from conformance.runfile.run import Run
from conformance.verdict import Verdict
from tests.run_lines import FLAX, TORCH, case_line, environment_line, record_line, run_of
from tests.run_pairs import PAIRS
from tests.runs_with_reasons import named, reasoned

pytestmark = pytest.mark.browser

playwright = pytest.importorskip("playwright.sync_api", reason="the browser session installs it")

CHROMIUM = os.environ.get("CONFORMANCE_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
SCRIPT = Path(conformance.__file__).parent / "report" / "assets" / "compare.js"
STRICT = Policy(drift_factor=1.25, drift_floor=0.05, fail_on=tuple(FailOn))

Comparer = Callable[[Results, Results, Policy], Any]


@pytest.fixture(name="in_browser", scope="module")
def _in_browser() -> Iterator[Comparer]:
    """Return a function that compares two results in a page that holds nothing but the script."""
    assert CHROMIUM, "no chromium: install it or name it in CONFORMANCE_CHROMIUM"
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-quic"])
        page = browser.new_page()
        page.evaluate("window.conformance = {}")
        page.add_script_tag(content=SCRIPT.read_text(encoding="utf-8"))

        def run(base: Results, new: Results, policy: Policy) -> Any:
            told = {"drift_factor": policy.drift_factor, "drift_floor": policy.drift_floor, "fail_on": policy.fail_on}
            return page.evaluate(
                "([base, now, policy]) => conformance.compare(base, now, policy)",
                [json.loads(text_of(base)), json.loads(text_of(new)), told],
            )

        yield run
        browser.close()


def assert_alike(in_browser: Comparer, base: Results, new: Results, policy: Policy) -> None:
    """Assert that the browser gives what the command line writes, in the same order."""
    assert in_browser(base, new, policy) == json.loads(text_of(compare(base, new, policy)))


@pytest.mark.parametrize("policy", [Policy(), STRICT], ids=["default", "strict"])
@pytest.mark.parametrize("name", PAIRS)
def test_a_planted_change_is_found_alike(in_browser: Comparer, name: str, policy: Policy) -> None:
    """Both ways round."""
    base, new = (results_of([run], partial=True) for run in PAIRS[name])
    assert_alike(in_browser, base, new, policy)
    if new.cells:
        assert_alike(in_browser, new, base, policy)


def drawn(seed: int) -> Run:
    """Return a run of many cells, drawn at random from what cells can be."""
    draw = random.Random(seed)
    dtypes = {name: draw.choice(["float32", "float64"]) for name in range(40)}
    clauses = [["13.4"], ["3.1"]]
    records = [
        record_line(
            draw.choice([verdict.value for verdict in Verdict]),
            draw.choice([None, 0.0, 0.1, 0.24, 0.25, 0.7, 31.5, "NaN", "Infinity"]),
            of=f"a.case-{name}",
            implementation=implementation,
            mode=mode,
            grade=draw.choice(["", "A", "D", "W", "O", "F"]),
            status=draw.choice(["passed", "failed", "xfailed", "skipped"]),
            diagnosis=draw.choice(["", "ä one", "x 𝄞", "x ﬀ", "_three"]),
        )
        for name in dtypes
        for implementation in (TORCH, FLAX)
        for mode in ("eager", "compiled", "Xla")
        if draw.random() < 0.9
    ]
    cases = [
        case_line(
            f"a.case-{name}",
            dtype=f"float{draw.choice(['32', '32', '32', '64'])}",
            clauses=draw.choice(clauses),
        )
        for name in dtypes
    ]
    environments = [
        environment_line(each, version=draw.choice(["1", "2"]), settings={"b": draw.choice("12"), "a": "x", "_": "y"})
        for each in (TORCH, FLAX)
    ]
    return run_of(*records, cases=tuple(cases), environments=tuple(environments))


@pytest.mark.parametrize("seed", range(6))
def test_random_runs_are_compared_alike(in_browser: Comparer, seed: int) -> None:
    """Whatever their cells are, and in the same order."""
    base, new = (results_of([drawn(each)]) for each in (seed, seed + 100))
    assert_alike(in_browser, base, new, Policy())
    assert_alike(in_browser, base, new, STRICT)


CAUSES = (
    named("epsilon-outside-root"), named("moving-correction", correction=1), named("unexplained", "output", "grad_input"),
    named("unexplained"), named("not-finite", count=3), named("not-finite", count=5), named("epsilon-dropped"),
)  # fmt: skip


def explained(seed: int) -> Run:
    """Return a run as `drawn` does, whose cells name causes and fields at random."""
    draw, run = random.Random(seed), drawn(seed)
    records = [
        reasoned(record, draw.sample(CAUSES, draw.randrange(4)), draw.sample(["update", "moving_correction"], draw.randrange(3)))
        for record in run.records
    ]  # fmt: skip
    header = msgspec.structs.replace(run.header, causes=dict(recorded_catalogue()))
    return replace(run, header=header, records=tuple(records))


@pytest.mark.parametrize("seed", range(4))
def test_random_causes_and_fields_are_compared_alike(in_browser: Comparer, seed: int) -> None:
    """Whatever accounts for the changes, and beside results that tell of it in words alone."""
    base, new = (results_of([explained(each)]) for each in (seed, seed + 100))
    assert_alike(in_browser, base, new, Policy())
    assert_alike(in_browser, replace(base, reasons=(), format=1), new, Policy())


def test_several_runs_of_one_environment_are_compared_alike(in_browser: Comparer) -> None:
    """With all the versions they had."""
    runs = [
        run_of(record_line(of=f"a.{name}"), environments=(environment_line(version=version),), name=f"{name}.jsonl")
        for name, version in (("a", "2.9"), ("b", "2.10"))
    ]
    base, new = results_of(runs), results_of(runs[:1])
    assert_alike(in_browser, base, new, Policy())
    assert_alike(in_browser, new, base, Policy())


def test_nothing_in_common_is_the_same_sentence(in_browser: Comparer) -> None:
    """An error, as it is one on the command line."""
    base, new = (results_of([run_of(record_line(of=name))]) for name in ("a.one", "a.two"))
    with pytest.raises(UsageError) as told:
        compare(base, new)
    with pytest.raises(playwright.Error, match="nothing to compare") as shown:
        in_browser(base, new, Policy())
    assert str(told.value) in str(shown.value)
