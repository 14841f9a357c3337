"""Which families of cases see which implementation deviate, and where one alone does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conformance.report.families import ImplementationCounts, families
from conformance.report.model import build
from conformance.runfile.gathering import cell_of
from conformance.runfile.observed import Column, RecordedCell
from conformance.runfile.reading import read
from conformance.runfile.structs import CaseLine
from conformance.verdict import Standing
from tests.many_cells import decoded
from tests.run_lines import case_line, record_line

PLANTED = Path(__file__).parents[1] / "faults" / "planted.py"
UNEXPECTED, KNOWN, DOCUMENTED = Standing.UNEXPECTED, Standing.KNOWN, Standing.DOCUMENTED


def cell(
    case: str, verdict: str = "conforms", standing: Standing = Standing.AGREES, *, of: str = "x", mode: str = "eager",
    score: float = 0.5,
) -> RecordedCell:  # fmt: skip
    column = Column(name=f"{of}-{mode}-cpu", implementation=of, mode=mode, device="cpu", library="x 1")
    line = decoded("record", record_line(verdict, score, of=case))
    return cell_of(
        msgspec.structs.replace(line, standing=standing),
        msgspec.convert({"kind": "case", **case_line(case)}, CaseLine),
        column,
    )


def row(*cells: RecordedCell) -> ImplementationCounts:
    (found,) = families(cells).rows
    return found


def counts(*cells: RecordedCell) -> list[tuple[str, int, int]]:
    found = families(cells)
    return [(name, each.deviating, each.judged) for name, each in zip(found.names, found.rows[0].counts, strict=True)]


def test_judged_and_deviating_cells_are_counted_by_family() -> None:
    """In every mode; what was not judged counts in neither."""
    assert counts(
        cell("a.one"),
        cell("a.one", "deviates", UNEXPECTED, mode="compiled"),
        cell("a.two", "unsupported", Standing.APART),
        cell("b.one", "crashed", UNEXPECTED),
        cell("c.one", "not_decidable", Standing.APART),
    ) == [("a", 1, 2), ("b", 1, 1), ("c", 0, 0)]


def test_a_known_divergence_deviates_and_a_documented_refusal_does_not() -> None:
    assert counts(cell("a.one", "deviates", KNOWN), cell("a.two", "refused", DOCUMENTED)) == [("a", 1, 2)]


def test_a_stale_divergence_does_not_deviate() -> None:
    """Its numbers are right, and only the list is wrong."""
    assert counts(cell("a.one", "conforms", UNEXPECTED)) == [("a", 0, 1)]


@pytest.mark.parametrize(
    ("cases", "thin"),
    [((), ""), (("a.one",), "one case"), (("a.one", "a.two"), "one family"), (("a.one", "b.one"), "")],
)
def test_what_one_case_or_one_family_alone_sees_is_marked(cases: tuple[str, ...], thin: str) -> None:
    seeing = [cell(each, "deviates", UNEXPECTED, mode=mode) for each in cases for mode in ("eager", "compiled")]
    assert row(cell("c.one"), *seeing).thin == thin


def test_the_field_leads_to_the_worst_cell() -> None:
    mild, bad = (cell(f"a.{score}", "deviates", UNEXPECTED, score=score) for score in (2.0, 9.0))
    assert row(mild, bad).counts[0].cell == bad.id


def test_every_implementation_has_a_row_over_all_families() -> None:
    found = families([cell("b.one", of="y"), cell("a.one", of="x")])
    assert (found.names, [each.implementation for each in found.rows]) == (("a", "b"), ["x", "y"])
    assert [each.judged for each in found.rows[0].counts] == [1, 0]


def test_planted_faults_show_which_families_catch_them(tmp_path: Path) -> None:
    """A variance of few digits is seen where the mean is large, what an empty batch spoils among the edges."""
    faults = ("nothing", "one_pass_variance", "empty_makes_nan", "empty_decays")
    words: list[str] = ["run", "--adapter", f"{PLANTED}:ADAPTER", "--out", "run.jsonl"]
    words += [word for each in faults for word in ("--implementation", f"planted.{each}")]
    words += [
        word for each in ("edges.empty-*", "stability.ratio-2-12", "statistics.ramp/*") for word in ("--case", each)
    ]
    command: list[Any] = [sys.executable, "-P", "-m", "conformance", *words]
    subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, timeout=300)
    page = build([read(tmp_path / "run.jsonl")], partial=False)
    seen = {each.implementation.removeprefix("planted."): (each.families, each.thin) for each in page.families.rows}
    assert seen == {
        "nothing": ((), ""),
        "one_pass_variance": (("stability",), "one case"),
        "empty_makes_nan": (("edges",), "one family"),
        "empty_decays": (("edges",), "one family"),
    }
