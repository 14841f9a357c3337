"""Published runs: kept whole, and a site over all of them."""

from __future__ import annotations

import lzma
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest

from conformance.errors import UsageError
from conformance.publish import archive
from conformance.publish.archive import added, published
from conformance.publish.history import Edition, before, clauses, histories
from conformance.publish.site import write
from conformance.runfile.reading import read, read_all
from conformance.runfile.results import results_of
from conformance.runfile.run import Run
from conformance.verdict import Verdict
from tests.report_lines import HOSTILE, Document, page
from tests.run_lines import FLAX, case_line, environment_line, record_line, run_of, write_run

ATOM = "{http://www.w3.org/2005/Atom}"
TWO_CLAUSES = case_line("a.two", clauses=["3.1", "8.1"])
WRONG = record_line("deviates", 12.5, of="a.two", diagnosis=HOSTILE)


def run_on(day: int, *records: Any, **other: Any) -> Run:
    """Return a run of that day of November."""
    moment = f"2026-11-{day:02}T10:00:00+0100"
    run = run_of(*records, cases=(case_line(), TWO_CLAUSES), started=moment, **other)
    assert run.footer is not None
    return replace(run, footer=msgspec.structs.replace(run.footer, finished=moment))


def add(files: list[Path], reports: Path, **how: Any) -> Path:
    """Publish the runs in those files together, and return their folder."""
    with added(files, reports, **how) as new:
        pass
    return reports / new.name


def publish(folder: Path, *runs: Run, machine: str = "linux") -> Path:
    """Publish the runs one by one and return the folder of what is published."""
    for number, run in enumerate(runs):
        file = write_run(replace(run, path=Path(f"run{number}.jsonl")), folder)
        add([file], folder / "reports", machine=machine)
    return folder / "reports"


FIRST = run_on(1, record_line(), record_line(of="a.two"))
SECOND = run_on(2, record_line(), WRONG, environments=(environment_line(version="2.14.0"),))


def test_a_run_is_kept_whole_under_its_date_and_machine(tmp_path: Path) -> None:
    file = write_run(FIRST, tmp_path)
    home = add([file], tmp_path / "reports", machine="linux")
    assert home.name == "2026-11-01-linux"
    assert [lzma.decompress(each.read_bytes()) for each in home.iterdir()] == [file.read_bytes()]
    assert read_all([home])[0].records == read(file).records


def test_a_machine_without_a_name_is_called_by_its_system_and_processor(tmp_path: Path) -> None:
    host = {"system": "Linux", "machine": "x86_64"}
    file = write_run(run_on(1, record_line(), host=host), tmp_path)
    assert add([file], tmp_path / "reports").name == "2026-11-01-linux-x86_64"


def test_runs_of_several_jobs_are_published_together(tmp_path: Path) -> None:
    one, two = run_on(1, record_line()), run_on(1, record_line(of="a.two"))
    files = [write_run(replace(run, path=Path(f"{name}.jsonl")), tmp_path) for name, run in (("a", one), ("b", two))]
    home = add(files, tmp_path / "reports", machine="linux")
    assert sum(len(run.records) for run in read_all([home])) == 2


TIMED = replace(run_on(1, throughput={"planned": 0}), path=Path("throughput.jsonl"))


def test_what_was_timed_is_published_with_the_run_that_judged(tmp_path: Path) -> None:
    home = add([write_run(run, tmp_path) for run in (FIRST, TIMED)], tmp_path / "reports", machine="linux")
    assert sorted(each.name for each in home.iterdir()) == ["run.jsonl.xz", "throughput.jsonl.xz"]
    write(tmp_path / "reports", tmp_path / "site")
    assert "2026-11-01-linux" in page(tmp_path / "site").text


def test_what_was_timed_alone_is_no_publication(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"throughput\.jsonl: judges no cell"):
        add([write_run(TIMED, tmp_path)], tmp_path / "reports", machine="linux")


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([run_on(1, record_line(), planned=2)], "holds 1 of 2 planned cells"),
        ([FIRST, run_on(1, throughput={"planned": 3})], "holds 0 of 3 planned timings"),
        ([run_on(1, record_line(), narrowed=True)], "was narrowed"),
        ([run_on(1, record_line()), run_on(1, record_line())], "is in .* too"),
        ([run_on(1, record_line()), run_on(1, record_line(of="a.two"), spec="other")], "one report shows one spec"),
    ],
)
def test_what_cannot_speak_for_all_is_refused_and_nothing_is_left(tmp_path: Path, runs: list[Run], said: str) -> None:
    files = [write_run(replace(run, path=Path(f"{number}.jsonl")), tmp_path) for number, run in enumerate(runs)]
    with pytest.raises(UsageError, match=said):
        add(files, tmp_path / "reports", machine="linux")
    assert not (tmp_path / "reports").exists()


def test_a_run_of_which_no_site_can_be_built_is_not_kept(tmp_path: Path) -> None:
    reports = publish(tmp_path, FIRST)
    before = published(reports)
    file = write_run(SECOND, tmp_path)
    with pytest.raises(ZeroDivisionError), added([file], reports, machine="linux"):
        raise ZeroDivisionError
    assert published(reports) == before
    assert [folder.name for folder in reports.iterdir()] == ["2026-11-01-linux"]


def test_the_site_over_a_run_that_is_about_to_be_published_is_that_over_a_published_one(tmp_path: Path) -> None:
    reports = publish(tmp_path, FIRST)
    with added([write_run(SECOND, tmp_path)], reports, machine="linux") as new:
        write(reports, tmp_path / "before", new=new)
    write(reports, tmp_path / "after")
    before, after = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir() if path.is_file()}
        for name in ("before", "after")
    )
    assert before == after


@pytest.mark.parametrize("moment", ["yesterday", "2026-13-01T10:00:00", "2026-11-01T10:00:00+99:00"])
def test_a_run_that_tells_no_time_is_refused(moment: str, tmp_path: Path) -> None:
    assert FIRST.footer is not None
    ending = replace(FIRST, footer=msgspec.structs.replace(FIRST.footer, finished=moment))
    beginning = replace(FIRST, header=msgspec.structs.replace(FIRST.header, started=moment))
    for run in (beginning, ending):
        with pytest.raises(UsageError, match="tells no time when it ran"):
            publish(tmp_path, run)
    assert not (tmp_path / "reports").exists()


def test_a_published_run_is_never_replaced(tmp_path: Path) -> None:
    publish(tmp_path, FIRST)
    with pytest.raises(UsageError, match="is published already"):
        publish(tmp_path, FIRST)


def test_a_run_that_a_repository_should_not_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "LIMIT", 10)
    with pytest.raises(UsageError, match="would hold more than 10 bytes"):
        publish(tmp_path, FIRST)


@pytest.mark.parametrize("machine", ["../up", "A B", "a/b"])
def test_a_machine_s_name_is_a_plain_name(tmp_path: Path, machine: str) -> None:
    with pytest.raises(UsageError, match="expected small letters"):
        publish(tmp_path, FIRST, machine=machine)


def edition(name: str, run: Run) -> Edition:
    return Edition(name=name, results=results_of([run]))


def test_a_cell_has_its_verdict_and_score_in_every_run_that_has_it() -> None:
    editions = [edition("2026-11-01-a", FIRST), edition("2026-11-02-a", run_on(2, WRONG))]
    (history,) = histories(editions)
    first, second = history.lines
    assert [each and (each.verdict, each.score) for each in first.moments] == [(Verdict.CONFORMS, 0.5), None]
    assert [each and (each.verdict, each.score) for each in second.moments] == [
        (Verdict.CONFORMS, 0.5),
        (Verdict.DEVIATES, 12.5),
    ]
    assert (first.changed, second.changed) == (False, True)


def test_a_history_begins_with_the_first_run_that_has_the_implementation() -> None:
    later = run_on(2, record_line(implementation=FLAX), environments=(environment_line(FLAX, "0.12.8"),))
    flax, torch = histories([edition("2026-11-01-a", FIRST), edition("2026-11-02-a", later)])
    assert flax.editions == (("2026-11-02-a", "flax 0.12.8"),)
    assert torch.editions == (("2026-11-01-a", "torch 2.13.0"),)


def test_a_case_that_became_another_question_is_marked() -> None:
    other = case_line(steps=[{"step": "infer", "input": {"kind": "ramp", "start": 2.0}}])
    runs = [run_of(record_line()), run_of(record_line(), cases=(other,)), run_of(record_line(), cases=(other,))]
    (history,) = histories([edition(str(number), run) for number, run in enumerate(runs)])
    assert [each and each.redefined for each in history.lines[0].moments] == [False, True, False]


def test_a_clause_conforms_where_every_judged_cell_agrees() -> None:
    records = [record_line(), WRONG, record_line("unsupported", None, of="a.three")]
    (found,) = clauses(
        [
            edition(
                "2026-11-01-a",
                run_of(
                    *records, cases=(case_line(clauses=["1.1"]), TWO_CLAUSES, case_line("a.three", clauses=["9.9"]))
                ),
            )
        ]
    )
    assert (found.conforming, found.applicable) == (1, 3)
    assert (found.cells.right, found.cells.judged) == (1, 2)


def test_clauses_are_of_the_newest_run_that_was_not_narrowed() -> None:
    runs = [FIRST, SECOND, run_on(3, record_line(), narrowed=True)]
    (found,) = clauses([edition(f"2026-11-0{number}-a", run) for number, run in enumerate(runs, 1)])
    assert (found.edition, found.conforming, found.applicable, found.library) == ("2026-11-02-a", 0, 2, "torch 2.14.0")


def test_runs_are_compared_with_the_one_before_on_the_same_machine() -> None:
    editions = [edition(name, FIRST) for name in ("2026-11-01-a", "2026-11-02-b", "2026-11-03-a")]
    assert [before(editions, position) for position in range(3)] == [None, None, editions[0]]


@pytest.fixture(name="site")
def _site(tmp_path: Path) -> Path:
    write(publish(tmp_path, FIRST, SECOND), tmp_path / "site", address="https://example.org/bn")
    return tmp_path / "site"


def test_the_index_tells_of_every_run_what_changed(site: Path) -> None:
    text = page(site).text
    assert text.index("2026-11-02-linux") < text.index("2026-11-01-linux")
    assert "Since 2026-11-01-linux: Regression: 1 cell." in text


def test_every_address_in_the_site_leads_to_a_file_of_it(site: Path) -> None:
    for file in [site / "index.html", *site.glob("history/*.html")]:
        found = Document(file.read_text())
        for address in [*found.values("href"), *found.values("src")]:
            assert (
                address.startswith(("#", "data:")) or (file.parent / address.partition("#")[0]).resolve().is_file()
            ), address


def test_a_history_shows_both_verdicts_with_their_versions(site: Path) -> None:
    text = page(site, "history/torch.nn.BatchNorm.html").text
    assert "1 of 2 cells changed their verdict over 2 published runs" in text
    assert "torch 2.13.0 2026-11-01-linux" in text
    assert "a.two eager cpu ✓ conforms 0.5 ≠ deviates 12.5" in text


def test_no_page_holds_words_of_a_run_as_elements(site: Path) -> None:
    assert all(
        ("script", {}) not in Document(each.read_text()).elements
        for each in [site / "index.html", *site.glob("history/*")]
    )


def test_a_badge_says_how_much_is_right(site: Path) -> None:
    badge = ET.fromstring((site / "badges" / "torch.nn.BatchNorm.svg").read_text())
    assert badge.attrib["aria-label"] == "torch.nn.BatchNorm: 50.0 % right"


def test_the_feed_has_what_atom_demands_and_one_entry_for_each_run(site: Path) -> None:
    feed = ET.parse(site / "feed.xml").getroot()
    entries = feed.findall(f"{ATOM}entry")
    for each in (feed, *entries):
        for name in ("id", "title", "updated"):
            (element,) = each.findall(ATOM + name)
            assert element.text
        assert datetime.fromisoformat(each.findtext(f"{ATOM}updated", "")).tzinfo is not None
    assert feed.find(f"{ATOM}author/{ATOM}name") is not None
    assert len({each.findtext(f"{ATOM}id") for each in entries}) == 2
    assert [each.attrib["href"] for each in entries[0].findall(f"{ATOM}link")] == [
        "https://example.org/bn/2026-11-02-linux/index.html"
    ]


def test_a_report_of_the_site_leads_back_to_it(site: Path) -> None:
    for name in ("index.html", "implementations/torch.nn.BatchNorm.html"):
        file = site / "2026-11-02-linux" / name
        assert any(
            (file.parent / address).resolve() == site / "index.html"
            for address in Document(file.read_text()).values("href")
        )


def test_every_page_has_a_title_of_its_own_and_says_what_it_is(site: Path) -> None:
    texts = [file.read_text() for file in site.rglob("*.html")]
    titles = [text.partition("<title>")[2].partition("</title>")[0] for text in texts]
    assert len(set(titles)) == len(titles)
    assert all('<meta name="description"' in text and '<link rel="icon"' in text for text in texts)


def test_the_list_of_pages_has_every_page_where_it_will_stand(site: Path) -> None:
    listed = {
        element.text for element in ET.parse(site / "sitemap.xml").getroot().iter() if element.tag.endswith("loc")
    }
    pages = {file.relative_to(site).as_posix() for file in site.rglob("*.html")} - {"404.html"}
    assert listed == {f"https://example.org/bn/{name}" for name in pages}


def test_the_documentation_becomes_a_folder_of_the_site_and_is_linked(tmp_path: Path) -> None:
    (tmp_path / "built").mkdir()
    (tmp_path / "built" / "index.html").write_text("Documentation")
    write(publish(tmp_path, FIRST), tmp_path / "site", documentation=tmp_path / "built")
    assert (tmp_path / "site" / "docs" / "index.html").read_text() == "Documentation"
    assert 'href="docs/index.html"' in (tmp_path / "site" / "index.html").read_text()
    assert 'href="../docs/index.html"' in (tmp_path / "site" / "2026-11-01-linux" / "index.html").read_text()


def test_a_folder_that_is_no_documentation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no site is there: expected index\.html"):
        write(publish(tmp_path, FIRST), tmp_path / "site", documentation=tmp_path)


def test_the_same_runs_make_the_same_bytes(tmp_path: Path) -> None:
    reports = publish(tmp_path, FIRST, SECOND)
    for name in ("one", "two"):
        write(reports, tmp_path / name)
    files = {each.relative_to(tmp_path / "one") for each in (tmp_path / "one").rglob("*") if each.is_file()}
    assert len(files) > 40
    assert all((tmp_path / "one" / each).read_bytes() == (tmp_path / "two" / each).read_bytes() for each in files)


def test_a_folder_without_published_runs_is_refused(tmp_path: Path) -> None:
    assert published(tmp_path) == ()
    with pytest.raises(UsageError, match="holds no published run"):
        write(tmp_path, tmp_path / "site")
