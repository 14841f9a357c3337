"""The report as files: a site, or one file."""

from __future__ import annotations

import builtins
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest

from conformance import report as report_package
from conformance.errors import UsageError
from conformance.report import write
from conformance.runfile.reading import read
from tests.many_cells import write_many
from tests.report_lines import HOSTILE, Document, case, environment, page, record, run
from tests.run_lines import TORCH, strict

#: It is in the page itself.
ICON = Document((Path(report_package.__file__).parent / "templates" / "_icon.html.j2").read_text()).values("href")[0]


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder by path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(name="many", scope="module")
def _many(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return read(write_many(tmp_path_factory.mktemp("many") / "many.jsonl", 1200))


def test_a_partial_run_is_refused(tmp_path: Path) -> None:
    """It could look complete, so nothing is written."""
    with pytest.raises(UsageError, match=r"1 of 2 planned cells.*--partial"):
        write([run(record("exact"), planned=2)], tmp_path / "out", partial=False)
    assert not (tmp_path / "out").exists()


def test_the_same_runs_give_the_same_bytes(tmp_path: Path, many: Any) -> None:
    """In whatever order they are named, and whatever was there before."""
    runs = [run(record("exact"), name="a.jsonl"), run(record("conforms", mode="compiled"), name="b.jsonl")]
    for given in (runs, [many]):
        write(given, tmp_path / "one", partial=False)
        write(given[::-1], tmp_path / "two", partial=False)
        assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_the_same_runs_give_the_same_single_file(tmp_path: Path, many: Any) -> None:
    one = write([many], tmp_path / "one.html", partial=False, single_file=True).read_bytes()
    assert write([many], tmp_path / "two.html", partial=False, single_file=True).read_bytes() == one


def test_every_link_of_every_page_leads_somewhere(tmp_path: Path, many: Any) -> None:
    """To a file of the site, and to an element that is there."""
    write([many], tmp_path / "out", partial=False)
    files = contents(tmp_path / "out")
    pages = {path: Document(text.decode()) for path, text in files.items() if path.endswith(".html")}
    libraries, kinds = 5, 2
    causes = len([path for path in pages if path.startswith("causes/")])
    assert causes > 0
    assert len(pages) == 14 + libraries + libraries * kinds + causes
    for path, document in pages.items():
        for address in {*document.values("href"), *document.values("src")} - {ICON}:
            target, _, fragment = address.partition("#")
            found = (tmp_path / "out" / path).parent.joinpath(target).resolve() if target else tmp_path / "out" / path
            name = found.relative_to((tmp_path / "out").resolve()).as_posix() if target else path
            assert name in files, (path, address)
            if fragment and "=" not in fragment:
                assert unquote(fragment) in pages[name].values("id"), (path, address)


def test_a_single_file_links_to_its_own_pages_alone(tmp_path: Path, many: Any) -> None:
    """There is nothing beside it, and what it names is within it."""
    document = Document(
        write([many], tmp_path / "one.html", partial=False, single_file=True).read_text(encoding="utf-8")
    )
    paths = {unquote(each) for each in document.values("data-page")}
    for address in set(document.values("href")) - {ICON}:
        assert address.startswith("#"), address
        asked = dict(part.split("=", 1) for part in address[1:].split("&")) if "=" in address else {}
        assert not asked or unquote(asked["page"]) in paths, address
        assert "at" not in asked or unquote(asked["at"]) in document.values("id"), address
    assert document.values("src") == []


def test_no_identifier_is_there_twice(tmp_path: Path, many: Any) -> None:
    """Not even where all pages are one."""
    document = Document(
        write([many], tmp_path / "one.html", partial=False, single_file=True).read_text(encoding="utf-8")
    )
    assert [name for name, count in Counter(document.values("id")).items() if count > 1] == []


def test_nothing_is_fetched_from_elsewhere(tmp_path: Path, many: Any) -> None:
    """Every page's own policy forbids it, and no element asks for it; nothing is styled or scripted in place."""
    write([many], tmp_path / "out", partial=False)
    write([many], tmp_path / "one.html", partial=False, single_file=True)
    for path in [*tmp_path.joinpath("out").rglob("*.html"), tmp_path / "one.html"]:
        document = Document(path.read_text(encoding="utf-8"))
        policy = next(each for _, each in document.elements if each.get("http-equiv") == "Content-Security-Policy")[
            "content"
        ]
        assert policy is not None
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert not re.search(r"https?:", policy)
        assert document.values("style") == []
        assert not [name for _, attributes in document.elements for name in attributes if name.startswith("on")]


def test_the_results_have_the_published_schema(tmp_path: Path, many: Any) -> None:
    """Both lie in the report, and every cell is in it."""
    write([many], tmp_path / "out", partial=False)
    results = strict((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    jsonschema.validate(results, json.loads((tmp_path / "out" / "results.schema.json").read_text()))
    assert len(results["cells"]) == 1200


def test_hostile_text_adds_no_element_to_any_page(tmp_path: Path) -> None:
    """Titles, messages, reasons and names of files stay text."""
    for name, text in (("plain", "x"), ("hostile", HOSTILE)):
        listed = {"reason": text, "diagnosis": text, "upstream": text}
        records = [
            record("crashed", "failed", diagnosis=text),
            record("deviates", "xfailed", mode="compiled", divergence=[listed], call=f"f(a={text!r})"),
        ]
        unbuilt = {"id": text, "group": text, "adapter": None, "failed": text}
        made = run(
            *records,
            cases=(case(title=text, source=text),),
            environments=(environment(settings={text: text}, host={"system": text}), unbuilt),
        )
        write([made], tmp_path / name, partial=False)
        write([made], tmp_path / f"{name}.html", partial=False, single_file=True)
    pages = sorted(path.relative_to(tmp_path / "plain") for path in (tmp_path / "plain").rglob("*.html"))
    framework, implementation, causes = 1, 1, 2
    assert len(pages) == 14 + framework + implementation + causes
    for path in pages:
        one, two = (Document((tmp_path / name / path).read_text(encoding="utf-8")) for name in ("plain", "hostile"))
        assert [tag for tag, _ in one.elements] == [tag for tag, _ in two.elements], path
    one, two = (Document((tmp_path / f"{name}.html").read_text(encoding="utf-8")) for name in ("plain", "hostile"))
    assert [tag for tag, _ in one.elements] == [tag for tag, _ in two.elements]
    assert '</script><script>alert(1)</script><!-- <b>"it\'s" &' in page(tmp_path / "hostile").text


def test_a_lone_surrogate_breaks_nothing(tmp_path: Path) -> None:
    """A log cut within a character may hold one."""
    write([run(record("crashed", "failed", diagnosis="cut \udcff here"))], tmp_path / "out", partial=False)
    assert "cut" in page(tmp_path / "out").text
    assert "cut \\\\udcff here" in (tmp_path / "out" / "data" / "cases-0.js").read_text(encoding="utf-8")


def test_a_long_message_is_cut_in_lists_and_whole_with_its_case(tmp_path: Path) -> None:
    """The pages stay legible and nothing is lost."""
    crashed = record("crashed", "failed")
    crashed["steps"][0]["message"] = "x" * 10_000
    write([run(crashed, cases=(case(title="t" * 10_000),))], tmp_path / "out", partial=False)
    files = contents(tmp_path / "out")
    whole = [path for path, text in files.items() if b"x" * 10_000 in text]
    assert whole == ["data/cases-0.js"]
    assert sorted(path for path, text in files.items() if b"t" * 300 in text) == [
        "data/cases-0.js",
        "data/results.js",
        "results.json",
    ]


def test_a_single_file_of_very_many_cells_leaves_out_steps_of_the_best_and_says_so(
    tmp_path: Path, many: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_package, "SINGLE", 1)
    text = write([many], tmp_path / "one.html", partial=False, single_file=True).read_text(encoding="utf-8")
    cells = len(many.records)
    assert f"the single steps of the 1 worst; those of the other {cells - 1} are left out." in text
    shard = json.loads(re.search(r'data-name="cases-0">(.+?)</script>', text)[1])  # type: ignore[index]
    assert sum(bool(cell[-1]) for cell in shard["cells"]) <= 1


def test_a_single_file_does_not_replace_a_folder(tmp_path: Path) -> None:
    """Who asked for a folder before is told what to name."""
    with pytest.raises(UsageError, match=r"is a folder; --single-file writes a file, such as .*report\.html"):
        write([run(record("exact"))], tmp_path, partial=False, single_file=True)


@pytest.mark.parametrize(("missing", "named"), [("jinja2", "Jinja2")])
def test_without_what_draws_it_the_report_says_what_to_install(
    missing: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The core does without it, and an earlier report stays as it was."""
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == missing:
            raise ImportError(name)
        return real(name, *rest)

    write([run(record("exact"))], tmp_path / "out", partial=False)
    before = contents(tmp_path / "out")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=rf"needs {named}: pip install 'batchnorm-conformance\[report\]'"):
        write([run(record("conforms"))], tmp_path / "out", partial=False)
    assert contents(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_implementation_of_a_torch_layer_has_its_page(tmp_path: Path) -> None:
    write([run(record("exact"))], tmp_path / "out", partial=False)
    assert TORCH in page(tmp_path / "out", f"implementations/{TORCH}.html").text
