"""The report, from run lines written here by hand."""

from __future__ import annotations

import builtins
import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from conformance.errors import UsageError
from conformance.record import Run
from conformance.report import write
from conformance.report.matrix import Field
from conformance.report.model import Page, build
from conformance.report.payload import payload
from conformance.verdict import Verdict

Line = dict[str, Any]

CLAUSES = {"1.1": "Scope", "3.1": "Mean", "8.1": "Correction 0"}
TORCH = "torch.nn.BatchNorm"
HOSTILE = '</script><script>alert(1)</script><!-- <b>"it\'s" & \u2028 \u202e\u05e9\u05dc\u05d5\u05dd'


def case(name: str = "a.one", *, title: str = "One fact.", clauses: tuple[str, ...] = ("3.1",)) -> Line:
    """A case line."""
    return {
        "id": name,
        "family": "a",
        "title": title,
        "source": "A page",
        "clauses": list(clauses),
        "op": "batch_norm",
        "configuration": {"op": "batch_norm", "shape": [2, 1], "dtype": "float32", "epsilon": 0.001},
        "initial": {},
        "steps": [{"step": "infer", "input": {"kind": "literal", "values": [[1.0], [float("nan")]]}}],
        "formulas": {"infer": "y = (x-M)/√(V+ε)"},
        "published": [],
    }


def quantity(verdict: str, score: float | str = 0.5) -> Line:
    """A judged quantity."""
    worst = {"index": [0, 0], "expected": 1.5, "observed": 1.25, "allowed": 1e-7}
    return {
        "quantity": "output",
        "verdict": verdict,
        "score": score,
        "by_grade": {"A": score, "D": score},
        "worst": worst,
        "dtype": "float32",
        "shape": [2, 1],
    }


def record(verdict: str, status: str = "passed", *, of: str = "a.one", mode: str = "eager", **other: Any) -> Line:
    """A record line of one step."""
    step = {"number": 1, "kind": "infer", "verdict": verdict, "expected": True, "seconds": 0.25}
    return {
        "cell": f"{of}::{TORCH}-{mode}-cpu",
        "case": of,
        "implementation": TORCH,
        "mode": mode,
        "device": "cpu",
        "environment": "torch",
        "verdict": verdict,
        "expected": status != "failed",
        "diagnosis": "",
        "divergence": [],
        "score": 0.5,
        "steps": [{**step, "quantities": [quantity(verdict)]}],
        "status": status,
        **other,
    }


def environment(profile: tuple[Line, ...] = ()) -> Line:
    """An environment line with one implementation."""
    offered = {"name": TORCH, "op": "batch_norm", "modes": ["eager", "compiled"], "devices": ["cpu"]}
    return {
        "id": "torch",
        "group": "torch",
        "adapter": "torch.py",
        "process": {"THREADS": "1"},
        "library": "torch",
        "versions": {"torch": "2.13.0", "numpy": "2.4.6"},
        "settings": {"TF32": "off"},
        "host": {"system": "Linux"},
        "implementations": [{**offered, "profile": list(profile), "documentation": "https://docs.example/bn"}],
    }


def run(
    *records: Line, cases: tuple[Line, ...] = (), environments: tuple[Line, ...] = (), name: str = "run.jsonl",
    **header: Any,
) -> Run:  # fmt: skip
    """A run of those records, complete unless the header says otherwise."""
    head = {
        "suite": "0.1.0",
        "spec": "abc",
        "planned": len(records),
        "narrowed": False,
        "selection": {"cases": [], "pytest": []},
        "clauses": CLAUSES,
        "host": {"system": "Linux"},
        "started": "2026-01-02T03:04:05+0000",
    }
    return Run(
        path=Path(name),
        header={**head, **header},
        environments=environments or (environment(),),
        cases={each["id"]: each for each in cases or (case(),)},
        records=records,
        footer={"recorded": len(records), "ended": True, "finished": "2026-01-02T03:05:06+0000"},
    )


def page_of(*runs: Run) -> Page:
    return build(runs, partial=False)


def field(page: Page, clause: str, column: str) -> Field:
    rows = [row for section in page.matrix.sections for row in section.rows if row.clause == clause]
    return next(each for each in rows[0].fields if each.column == column)


class Document(HTMLParser):
    """What a browser would see: the text outside scripts, the elements, and the data."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.parts: list[str] = []
        self._inside = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else self._inside

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif not self._inside:
            self.parts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.parts).replace("\u200b", "").split())

    @property
    def data(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(self.scripts[0])
        return found


def written(folder: Path, *runs: Run, partial: bool = False) -> Document:
    return Document(write(runs, folder, partial=partial).read_text(encoding="utf-8"))


def test_a_partial_run_is_refused(tmp_path: Path) -> None:
    """It could look complete, so nothing is written."""
    with pytest.raises(UsageError, match=r"1 of 2 planned cells.*--partial"):
        write([run(record("exact"), planned=2)], tmp_path / "out", partial=False)
    assert not (tmp_path / "out").exists()


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


def test_hostile_text_is_escaped(tmp_path: Path) -> None:
    """Titles, messages and reasons add no element to the page."""
    plain = written(tmp_path / "plain", run(record("crashed", "failed", diagnosis="x")))
    hostile = written(
        tmp_path / "hostile",
        run(record("crashed", "failed", diagnosis=HOSTILE), cases=(case(title=HOSTILE),)),
    )
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in plain.elements]
    assert '</script><script>alert(1)</script><!-- <b>"it\'s" &' in hostile.text
    assert hostile.data["cases"][0]["title"] == HOSTILE


def test_the_data_cannot_end_their_element() -> None:
    """The JSON holds no character that HTML or an older script reads."""
    text = payload(page_of(run(record("crashed", "failed", diagnosis=HOSTILE), cases=(case(title=HOSTILE),))))
    assert not set("<>&\u2028\u2029") & set(text)


def test_only_web_links_become_links(tmp_path: Path) -> None:
    """An upstream entry that is script stays text."""
    listed = {"reason": "It differs.", "diagnosis": "Because.", "upstream": "javascript:alert(1)"}
    document = written(tmp_path, run(record("deviates", "xfailed", divergence=[listed])))
    assert "javascript:alert(1)" in document.text
    assert not [1 for _, attributes in document.elements if (attributes.get("href") or "").startswith("javascript")]


def test_a_lone_surrogate_breaks_nothing(tmp_path: Path) -> None:
    """A log cut within a character may hold one."""
    document = written(tmp_path, run(record("crashed", "failed", diagnosis="cut \udcff here")))
    assert "cut" in document.text
    assert "cut \udcff here" in document.data["texts"]


def test_a_message_of_ten_thousand_characters_is_cut_in_the_list_and_whole_in_the_data(tmp_path: Path) -> None:
    """The list stays legible and nothing is lost."""
    crashed = record("crashed", "failed")
    crashed["steps"][0]["message"] = "x" * 10_000
    document = written(tmp_path, run(crashed))
    assert "x" * 300 not in document.text
    assert "x" * 10_000 in document.data["texts"]


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    """In whatever order they are named."""
    runs = [run(record("exact"), name="a.jsonl"), run(record("conforms", mode="compiled"), name="b.jsonl")]
    first = write(runs, tmp_path / "one", partial=False).read_bytes()
    assert write(runs[::-1], tmp_path / "two", partial=False).read_bytes() == first


def test_nothing_is_fetched(tmp_path: Path) -> None:
    """No element names a source, and the page's own policy forbids every fetch."""
    document = written(tmp_path, run(record("exact")))
    assert not [tag for tag, attributes in document.elements if "src" in attributes or tag == "link"]
    policy = next(each for _, each in document.elements if each.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in (policy["content"] or "")


def test_a_failed_environment_is_not_a_deviation(tmp_path: Path) -> None:
    """It is shown as not built, first of all, and adds to no count."""
    unbuilt = {"id": "jax", "group": "jax", "adapter": None, "failed": "was not built; the log ends:\nno space"}
    document = written(tmp_path, run(record("exact"), environments=(environment(), unbuilt)))
    assert "Not run: environment jax was not built" in document.text
    assert "no space" in document.text
    assert "No unexpected verdict in 1 judged cell of 1 planned" in document.text


def test_an_environment_that_did_not_start_is_no_unbuilt_one() -> None:
    """An adapter that was reached and failed had an environment."""
    failed = {"id": "jax", "group": "jax", "adapter": "jax.py", "process": {}, "failed": "ImportError: jaxlib"}
    page = page_of(run(record("exact"), environments=(environment(), failed)))
    assert [(each.id, each.fault) for each in page.failed] == [("jax", "not started")]
    assert page.matrix.failed == (("jax", "not started"),)


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
    assert "Counted apart: 1 – unsupported 0 ? not decidable 1 ∉ outside domain" in text
    assert "Run 2026-01-02 03:04:05+0000 to 2026-01-02 03:05:06+0000" in text


def test_a_field_shows_the_worst_verdict_of_its_judged_cells() -> None:
    """One of two judged cells deviates; a worse verdict on another clause does not count."""
    cases = (
        case("a.one"),
        case("a.two", clauses=("3.1", "8.1")),
        case("a.three"),
        case("a.four", clauses=("8.1",)),
    )
    records = (
        record("conforms", of="a.one"),
        record("deviates", "failed", of="a.two"),
        record("outside_domain", "skipped", of="a.three"),
        record("crashed", "failed", of="a.four"),
    )
    found = field(page_of(run(*records, cases=cases)), "3.1", f"{TORCH}-eager-cpu")
    assert (found.verdict, found.count, found.judged) == (Verdict.DEVIATES, 1, 2)
    assert found.text == "1 deviates, 1 outside domain, 1 conforms (1 unexpected)"


def test_unsupported_never_counts_as_conforming() -> None:
    """Beside a conforming cell it is not judged; alone it is its own kind of field."""
    cases = (case("a.one"), case("a.two"), case("a.three", clauses=("8.1",)))
    records = (
        record("conforms", of="a.one"),
        record("unsupported", "skipped", of="a.two"),
        record("unsupported", "skipped", of="a.three"),
    )
    page = page_of(run(*records, cases=cases))
    mixed, alone = (field(page, clause, f"{TORCH}-eager-cpu") for clause in ("3.1", "8.1"))
    assert (page.judged, mixed.judged, mixed.count) == (1, 1, 1)
    assert (alone.verdict, alone.judged) == (Verdict.UNSUPPORTED, 0)


def test_no_case_is_no_verdict() -> None:
    """A column that has no cell for a clause is empty there, and clauses without a case are named."""
    page = page_of(
        run(
            record("exact"),
            record("exact", of="a.two", mode="compiled"),
            cases=(case(), case("a.two", clauses=("8.1",))),
        )
    )
    assert field(page, "3.1", f"{TORCH}-compiled-cpu").verdict is None
    assert page.matrix.untested == (("1.1", "Scope"),)


def test_a_known_divergence_is_apart_from_the_unexpected() -> None:
    """Listed cells keep their verdict and are no finding to act on."""
    listed = {"reason": "The variance is one-pass.", "diagnosis": "one-pass", "upstream": None}
    page = page_of(run(record("deviates", "xfailed", divergence=[listed])))
    assert page.unexpected == ()
    assert [(each.what, each.verdict) for each in page.known] == [("The variance is one-pass.", Verdict.DEVIATES)]


def test_a_stale_divergence_is_unexpected() -> None:
    """A cell that is listed and agrees failed the run, so the report says why."""
    listed = {"reason": "The variance is one-pass.", "diagnosis": "one-pass", "upstream": None}
    page = page_of(run(record("conforms", "failed", divergence=[listed])))
    assert page.unexpected[0].what == "agrees, and is listed as diverging: The variance is one-pass."


def test_a_documented_refusal_is_judged_and_not_unexpected() -> None:
    """An error that the documentation announces is no finding."""
    page = page_of(run(record("refused")))
    assert (page.judged, page.unexpected, page.known, len(page.documented)) == (1, (), (), 1)


def test_cells_with_one_cause_are_one_finding_with_its_worst_first() -> None:
    """Two modes and one diagnosis: one row that leads to the higher score."""
    milder = record("deviates", "failed", diagnosis="correction 1", score=3.0)
    worse = record("deviates", "failed", mode="compiled", diagnosis="correction 1", score="Infinity")
    (finding,) = page_of(run(milder, worse)).unexpected
    assert (finding.what, len(finding.cells), finding.worst.column.mode) == ("correction 1", 2, "compiled")
    assert finding.evidence == "output[0, 0], step 1 (infer): expected 1.5, observed 1.25, allowed ±1e-07"


def test_unexplained_cells_are_one_finding_whatever_their_weights() -> None:
    """The weights follow the data of the case; what stands beside them does not."""
    one, other = (
        record("deviates", "failed", mode=mode, diagnosis=f"unexplained: output is {weight}·x, where 1·x is right; y")
        for mode, weight in (("eager", 2), ("compiled", 3))
    )
    assert [each.what for each in page_of(run(one, other)).unexpected] == ["unexplained; y"]


@pytest.mark.parametrize(
    ("verdicts", "shown"),
    [
        (("exact", "conforms"), "2"),
        (("conforms", "dialect"), "1/2"),
        (("deviates", "deviates"), "2/2"),
        (("conforms", "unsupported"), "1"),
        (("unsupported", "unsupported"), "2"),
    ],
)
def test_a_field_counts_what_its_verdict_is_about(verdicts: tuple[str, str], shown: str) -> None:
    """All judged cells where all are right; else a share of them; unjudged ones only where nothing was judged."""
    records = [record(verdict, of=f"a.{verdict}{index}") for index, verdict in enumerate(verdicts)]
    page = page_of(run(*records, cases=tuple(case(each["case"]) for each in records)))
    assert field(page, "3.1", f"{TORCH}-eager-cpu").shown == shown


@pytest.mark.parametrize(
    ("quantities", "message", "expected"),
    [
        ([], "ValueError: no", "ValueError: no"),
        ([{**quantity("deviates"), "reason": "has dtype float32"}], "", "output has dtype float32"),
        ([quantity("deviates")], "", "output at infer is beyond its bound, and no single change explains it"),
        ([], "", ""),
    ],
)
def test_a_finding_says_what_is_known(quantities: list[Line], message: str, expected: str) -> None:
    """Without a diagnosis: the message, the reason, or that there is none."""
    failed = record("deviates", "failed", score=None)
    failed["steps"][0] |= {"quantities": quantities, "message": message}
    (finding,) = page_of(run(failed)).unexpected
    assert finding.what == expected
    assert bool(finding.evidence) == bool(quantities)


def test_a_dialect_names_its_fields() -> None:
    """The list of cells says which documented field explains the numbers."""
    judged = record("dialect")
    judged["steps"][0]["quantities"][0]["fields"] = ["moving_correction", "update"]
    assert "output as documented: moving_correction, update" in json.loads(payload(page_of(run(judged))))["texts"]


def test_a_score_that_is_no_number_is_shown_as_such(tmp_path: Path) -> None:
    """Infinity has its sign, and a verdict without numbers has no score."""
    infinite = record("deviates", "failed", score="Infinity")
    crashed = record("crashed", "failed", mode="compiled", score=None)
    crashed["steps"][0]["quantities"] = []
    rows = [re.sub(r"\s+", " ", each) for each in written(tmp_path, run(infinite, crashed)).parts]
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
    text = written(tmp_path, run(record("exact"), environments=(environment((declared,)),))).text
    assert "error: ValueError rank 2, 3 documentation Expected more than 1 value not observed" in text


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
        tmp_path, run(judged, record("exact", mode="compiled"), environments=(environment((declared,)),))
    )
    assert re.search(
        r"moving_correction .*unbiased 1 documentation BatchNorm1d: calculated via the unbiased estimator 1 of 2",
        document.text,
    )


def test_a_score_is_never_rounded_across_its_limit() -> None:
    """A deviation just beyond the bound does not read as one on it."""
    page = page_of(
        run(record("deviates", "failed", score=1.0000001), record("conforms", mode="compiled", score=0.99999))
    )
    scores = [cell[4] for cell in json.loads(payload(page))["cells"]]
    assert scores == [1.0000001, 1.0]


def test_a_cell_of_many_steps_keeps_the_ones_that_decide() -> None:
    """The first, the last and the worst of a hundred steps are shown, and the rest counted."""
    long = record("conforms")
    first = long["steps"][0]
    long["steps"] = [
        {**first, "number": number, "quantities": [quantity("conforms", 0.9 if number == 50 else 0.1)]}
        for number in range(100)
    ]
    (cell,) = json.loads(payload(page_of(run(long))))["cells"]
    *_, omitted, steps = cell
    assert [step[0] for step in steps] == [0, 1, 50, 98, 99]
    assert omitted == 95


def test_a_cell_in_two_run_files_is_refused() -> None:
    """Which of them counts is for a person to say."""
    with pytest.raises(UsageError, match=r"b\.jsonl: the cell .* is in a\.jsonl too"):
        page_of(run(record("exact"), name="a.jsonl"), run(record("exact"), name="b.jsonl"))


def test_runs_of_different_specs_are_refused() -> None:
    """Their verdicts do not mean the same."""
    with pytest.raises(UsageError, match="one report shows one spec"):
        page_of(run(record("exact"), name="a.jsonl"), run(record("exact", mode="compiled"), name="b.jsonl", spec="def"))


def test_several_runs_are_one_report() -> None:
    """Environments, cases and cells are joined."""
    page = page_of(
        run(record("exact"), name="a.jsonl"),
        run(record("conforms", of="a.two"), cases=(case("a.two"),), name="b.jsonl"),
    )
    assert (page.planned, page.judged, len(page.cases)) == (2, 2, 2)
    assert [each.id for each in page.environments] == ["torch (a.jsonl)", "torch (b.jsonl)"]


def test_a_record_of_an_unknown_case_is_refused() -> None:
    """A run file that contradicts itself is no report."""
    with pytest.raises(UsageError, match="is of no case or environment in that file"):
        page_of(run(record("exact", of="a.other")))


def test_a_report_without_runs_is_refused() -> None:
    """An empty page would look like a clean one."""
    with pytest.raises(UsageError, match="no run file"):
        page_of()


def test_a_narrowed_run_names_its_selection(tmp_path: Path) -> None:
    """Who reads the report sees what was left out on purpose."""
    document = written(tmp_path, run(record("exact"), narrowed=True, selection={"cases": ["a.*"], "pytest": []}))
    assert "narrowed to cases a.*" in document.text


def test_without_jinja_the_report_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The core does without it."""
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "jinja2":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"batchnorm-conformance\[report\]"):
        write([run(record("exact"))], tmp_path, partial=False)
