"""What the pages say."""

from __future__ import annotations

import re
from pathlib import Path

from conformance.report import write
from conformance.report.index import index
from conformance.runfile.run import Run
from tests.report_lines import Document, case, environment, page, quantity, record, report_of, run
from tests.run_lines import FLAX, TORCH, environment_line


def written(folder: Path, *runs: Run, partial: bool = False, name: str = "index.html") -> Document:
    write(runs, folder / "out", partial=partial)
    return page(folder / "out", name)


def test_a_partial_run_says_so_on_its_face(tmp_path: Path) -> None:
    """Asked for, it is shown under a banner and in the title."""
    document = written(tmp_path, run(record("exact"), planned=2), partial=True)
    assert "Partial run. run.jsonl holds 1 of 2 planned cells." in document.text
    assert "(partial run)" in document.text


def test_a_complete_run_has_no_banner(tmp_path: Path) -> None:
    """A warning that is always there warns of nothing."""
    document = written(tmp_path, run(record("exact")))
    assert "Partial run" not in document.text
    assert "Not run" not in document.text


def test_only_web_links_become_links(tmp_path: Path) -> None:
    """An upstream entry that is script stays text."""
    listed = {"reason": "It differs.", "diagnosis": "Because.", "upstream": "javascript:alert(1)"}
    document = written(tmp_path, run(record("deviates", "xfailed", divergence=[listed])), name="deviations.html")
    assert "javascript:alert(1)" in document.text
    assert not [1 for _, attributes in document.elements if (attributes.get("href") or "").startswith("javascript")]


def test_a_failed_environment_is_not_a_deviation(tmp_path: Path) -> None:
    """It is shown as not built, first of all, and adds to no count."""
    unbuilt = {"id": "jax", "group": "jax", "adapter": None, "failed": "was not built; the log ends:\nno space"}
    document = written(tmp_path, run(record("exact"), environments=(environment(), unbuilt)))
    assert "Not run: environment jax was not built" in document.text
    assert "no space" in page(tmp_path / "out", "environments.html").text
    assert "No unexpected verdict in 1 judged cell of 1 planned" in document.text


def test_the_summary_counts_judged_cells_and_the_rest_apart(tmp_path: Path) -> None:
    """Five of seven cells judged, one of them unexpected, on one implementation."""
    verdicts = ["exact", "conforms", "conforms", "dialect", "deviates", "unsupported", "outside_domain"]
    statuses = {"deviates": "failed", "unsupported": "skipped", "outside_domain": "skipped"}
    cases = tuple(case(f"a.c{index}") for index in range(7))
    records = [
        record(verdict, statuses.get(verdict, "passed"), of=f"a.c{index}") for index, verdict in enumerate(verdicts)
    ]
    text = written(tmp_path, run(*records, cases=cases)).text
    assert "1 unexpected verdict in 5 judged cells of 7 planned: 7 cases on 1 implementation of torch 2.13.0." in text
    assert "1 = exact 2 ✓ conforms 1 ≈ dialect 0 ⊘ refused 1 ≠ deviates 0 ◔ timed out 0 ✕ crashed" in text
    assert "counted apart: 1 – unsupported 0 ? not decidable 1 ∉ outside domain" in text
    assert "Run 2026-01-02 03:04:05+0000 to 2026-01-02 03:05:06+0000" in text


def test_every_library_that_has_rows_is_named(tmp_path: Path) -> None:
    """Two libraries may share a process, which is named after one of them; each is named with its own version."""
    both = [
        {"name": name, "op": "batch_norm", "modes": ["eager"], "devices": ["cpu"], "profile": []}
        for name in (TORCH, FLAX)
    ]
    shared = environment(versions={"torch": "2.13.0", "flax": "0.12.8"}, implementations=both)
    cells = (record("exact"), record("exact", implementation=FLAX, environment="torch"))
    document = written(tmp_path, run(*cells, environments=(shared,)))
    assert "1 case on 2 implementations of torch 2.13.0, flax 0.12.8." in document.text


def test_a_library_that_no_row_is_of_is_not_named(tmp_path: Path) -> None:
    """An environment whose implementations take part in no cell says nothing."""
    document = written(tmp_path, run(record("exact"), environments=(environment(), environment_line(FLAX, "0.12.8"))))
    assert "on 1 implementation of torch 2.13.0." in document.text


def test_a_score_that_is_no_number_is_shown_as_such(tmp_path: Path) -> None:
    """Infinity has its sign, and a verdict without numbers has no score."""
    infinite = record("deviates", "failed", score="Infinity")
    crashed = record("crashed", "failed", mode="compiled", score=None)
    crashed["steps"][0]["quantities"] = []
    document = written(tmp_path, run(infinite, crashed), name="deviations.html")
    rows = [re.sub(r"\s+", " ", each) for each in document.parts]
    assert "∞" in rows
    assert "None" not in rows


def test_a_declared_error_has_its_type_and_ranks(tmp_path: Path) -> None:
    """It is no matter of numbers, so no count of them stands beside it."""
    declared = {
        "field": "single_value",
        "value": "error",
        "source": "documentation",
        "where": "Expected more than 1 value",
        "error": "ValueError",
        "ranks": [2, 3],
    }
    text = written(tmp_path, run(record("exact"), environments=(environment((declared,)),)), name="dialects.html").text
    assert re.search(r"error: ValueError rank 2, 3 documentation Expected more than 1 value not observed", text)


def test_a_declared_field_is_shown_with_its_source_and_use(tmp_path: Path) -> None:
    """Whoever asks which variance torch stores finds the answer and where it is said."""
    declared = {
        "field": "moving_correction",
        "value": 1,
        "source": "documentation",
        "where": "BatchNorm1d: calculated via the unbiased estimator",
        "error": None,
        "ranks": None,
    }
    judged = record("dialect")
    judged["steps"][0]["quantities"][0]["fields"] = ["moving_correction"]
    document = written(
        tmp_path,
        run(judged, record("exact", mode="compiled"), environments=(environment((declared,)),)),
        name="dialects.html",
    )
    assert re.search(
        r"moving_correction .*unbiased 1 documentation BatchNorm1d: calculated via the unbiased estimator 1 of 2",
        document.text,
    )


def test_a_narrowed_run_names_its_selection(tmp_path: Path) -> None:
    """Who reads the report sees what was left out on purpose."""
    document = written(tmp_path, run(record("exact"), narrowed=True, selection={"cases": ["a.*"], "pytest": []}))
    assert "narrowed to cases a.*" in document.text


def test_a_name_has_nothing_in_it_that_its_copy_would_carry_along(tmp_path: Path) -> None:
    """A line may end within it all the same."""
    write([run(record("exact"))], tmp_path / "out", partial=False)
    html = (tmp_path / "out" / "matrix.html").read_text(encoding="utf-8")
    assert "\u200b" not in html
    assert "torch.<wbr>nn.<wbr>BatchNorm" in html


def test_a_cell_that_did_not_run_says_why_and_not_what_is_listed() -> None:
    listed = {"reason": "It differs.", "diagnosis": "Because.", "upstream": None}
    step = {"number": 1, "kind": "infer", "verdict": "unsupported", "expected": True, "quantities": []}
    told = record("unsupported", "skipped", divergence=[listed], steps=[{**step, "message": "has no such axis"}])
    assert index(report_of(run(told)))["texts"] == ["has no such axis"]


def test_a_refusal_is_not_shown_beside_a_number_that_passes() -> None:
    """What another step gave is no evidence of it."""
    passed = {
        "number": 1,
        "kind": "train",
        "verdict": "conforms",
        "expected": True,
        "quantities": [quantity("conforms")],
    }
    refused = {
        "number": 2,
        "kind": "infer",
        "verdict": "refused",
        "expected": False,
        "quantities": [],
        "message": "No.",
    }
    (finding,) = report_of(run(record("refused", "failed", steps=[passed, refused]))).unexpected
    assert finding.evidence == ""


def test_evidence_has_the_digits_that_a_person_reads() -> None:
    element = {"index": [0], "expected": 0.1 + 0.2, "observed": 1 / 3, "allowed": 1e-7}
    step = {"number": 1, "kind": "infer", "verdict": "deviates", "expected": False}
    wrong = record("deviates", "failed", steps=[{**step, "quantities": [{**quantity("deviates"), "worst": element}]}])
    (finding,) = report_of(run(wrong)).unexpected
    assert finding.evidence == "output[0], step 1 (infer): expected 0.3, observed 0.333333333, allowed ±1e-07"
