"""The pages' words: each is plain English or stands in the glossary, which is one click away."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
import yaml

from conformance.dialect import OBSERVED, meanings
from conformance.publish.archive import added
from conformance.publish.site import write as write_site
from conformance.report import write
from conformance.report.glossary import EVERYDAY, PAGE, forms, shipped
from conformance.report.naming import READINGS
from conformance.report.throughput import DISTURBANCES, PASSES, STANDINGS
from conformance.report.wording import STANDS, VERDICTS
from conformance.runfile.reading import read
from conformance.runfile.run import Run
from conformance.runfile.timeline_structs import RecordedLane, RecordedTimeline
from conformance.spec.causes import catalogue
from conformance.spec.loader import load_clauses, load_sections
from conformance.spec.locations import root, spec_folder
from tests.english import strange, words
from tests.report.published_layers import porters_run
from tests.report.test_throughput import line_of, timed, unmeasured
from tests.report_lines import case, environment, record, run
from tests.run_lines import FLAX, TORCH, environment_line, record_line, run_of, write_run
from tests.runs_with_reasons import named, run_with
from tests.shipped import spec as shipped_spec

PACKAGE = root() / "conformance"
#: Names that no folder of an adapter has: of programs, of a system, and the digest that a made-up run has for its spec's.
NAMES = frozenset({"abc", "linux", "pytest", "runtime", "scikit"})
#: Elements whose text is no sentence of ours: code, a drawing, what a run file says.
LEFT_OUT = ("bdi", "code", "pre", "script", "style")
#: Elements that end where they begin.
VOID = ("br", "hr", "img", "input", "link", "meta", "wbr")
#: In which no link may stand, or nobody would see it.
UNLINKED = frozenset({
    "a", "bdi", "button", "caption", "code", "dl", "form", "h1", "h2", "h3", "label", "noscript", "pre", "summary", "svg", "th",
    "title",
})  # fmt: skip
#: Attributes that a person reads.
READ = ("alt", "aria-label", "content", "placeholder", "title")

#: The scripts that draw a page.
DRAWN = {
    "case.html": ("case.js",),
    "compare.html": ("compare.js", "changes.js", "older.js"),
    "matrix.html": ("matrix.js", "cells.js", "explorer.js", "filters.js"),
    "porting.html": ("porting.js", "pairs.js"),
    "search.html": ("search.js",),
}


class Told(HTMLParser):
    """The text of a page that is ours: that of elements, and of attributes that a person reads."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._left_out: list[bool] = [False]
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        out = self._left_out[-1] or tag in LEFT_OUT or given.get("dir") == "auto"
        if not out and "http-equiv" not in given and given.get("name") not in ("viewport", "color-scheme"):
            self.parts += [value for name, value in attrs if name in READ and value]
        if tag not in VOID:
            self._left_out.append(out)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            self._left_out.pop()

    def handle_data(self, data: str) -> None:
        if not self._left_out[-1]:
            self.parts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.parts)


class Linking(HTMLParser):
    """Of each word of a page: whether a link to the glossary holds it where it first stands outside folded parts."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.linked: dict[str, str] = {}
        self._open: list[str] = []
        self._address = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._address = (given.get("href") or "") if given.get("class") == "word" else ""
        if tag not in VOID:
            closed = tag == "details" and "open" not in given
            told = given.get("dir") == "auto" and tag != "p"
            hidden = closed or told or given.get("class") in ("unseen", "evidence")
            self._open.append("hidden" if hidden else "word" if self._address else tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if UNLINKED.union({"hidden"}) & {*self._open}:
            return
        address = self._address if "word" in self._open else ""
        for word in re.findall(r"(?<![\w./+-])[A-Za-z]+(?:-[A-Za-z]+)*(?![\w/+-]|\.\w)", data):
            self.linked.setdefault(word.lower(), address)


@functools.cache
def known() -> frozenset[str]:
    """Return the words of the glossary, in one and in many, and the names of the libraries."""
    entries = words(" ".join(word for entry in shipped() for word in entry.words))
    libraries = (name for folder in (root() / "adapters").iterdir() for name in folder.name.split("_"))
    return NAMES.union(entries, libraries)


def every_kind() -> Run:
    """Return a run whose report has something on every page."""
    torch = environment(({"field": "empty_batch", "value": "error", "source": "documentation", "where": "a page",
                          "error": "ValueError", "ranks": [2]},))  # fmt: skip
    unbuilt = {"id": "jax", "group": "jax", "adapter": None, "failed": "was not built; the log ends:\nno space"}
    known_before = [{"reason": "It differs.", "diagnosis": "Because.", "upstream": "https://upstream.example/1"}]
    cells = (
        record("exact"),
        record("conforms", of="stability.ratio", grade="A"),
        record("refused", "failed", of="edges.one"),
        record("crashed", "failed", mode="compiled"),
        record("deviates", "xfailed", of="edges.one", mode="compiled", divergence=known_before),
        record("conforms", of="edges.two", divergence=known_before, expected=False, status="failed"),
        record("unsupported", "skipped", of="edges.three"),
        record_line("deviates", 40.0, implementation=FLAX, environment="torch"),
    )
    offers = [{"name": name, "op": "batch_norm", "modes": ["eager", "compiled"], "devices": ["cpu"], "profile": []}
              for name in (TORCH, FLAX)]  # fmt: skip
    cases = tuple(case(name, clauses=("3.1", "8.1")) for name in dict.fromkeys(cell["case"] for cell in cells))
    shared = {
        **torch,
        "implementations": [torch["implementations"][0], offers[1]],
        "versions": {"torch": "2", "flax": "1"},
    }
    made = run(*cells, cases=cases, environments=(shared, unbuilt))
    assert made.footer is not None
    lane = RecordedLane(
        name="torch", began=0.0, ended=9.0, cells=8, calls=4.0, importing=1.0, processor=5.0, parts=(50,)
    )
    timeline = RecordedTimeline(seconds=10.0, own=(50,), lanes=(lane,))
    return replace(
        made,
        header=msgspec.structs.replace(made.header, data_kinds={"edges.*": "edges"}),
        footer=msgspec.structs.replace(made.footer, timeline=timeline),
    )


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of three published runs: one with a bit of everything, one with causes, one of a published layer; and timings."""
    folder = tmp_path_factory.mktemp("words")
    lines = (
        timed(),
        timed(FLAX, 0.02, "voided", why="it drifted"),
        timed(TORCH, 0.01, **{"pass": "train"}),
        unmeasured("it has none"),
    )
    times = run_of(
        name="throughput.jsonl", environments=(environment_line(), environment_line(FLAX)), throughput={"planned": 4}
    )
    with_times = write_run(replace(times, throughput=tuple(line_of(line) for line in lines)), folder)
    reasoned = run_with((record_line("deviates", 12.5), [named("one-pass-variance", "output")], []))
    write([read(write_run(every_kind(), folder)), read(with_times)], folder / "out", partial=False)
    write([reasoned], folder / "causes", partial=False)
    write([porters_run()], folder / "layers", partial=False)
    for number, made in enumerate((reasoned, replace(reasoned, records=reasoned.records[:1]))):
        file = write_run(replace(made, path=Path(f"run{number}.jsonl")), folder)
        with added([file], folder / "reports", machine=f"machine-{number}"):
            pass
    write_site(folder / "reports", folder / "site")
    return folder


def pages(folder: Path) -> dict[str, str]:
    """Return the HTML of every page by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.html"))
    }


def literals(text: str) -> str:
    """Return a template as HTML, with the sentences in its expressions in their places."""
    text = re.sub(r"\{#.*?#\}", "", text, flags=re.DOTALL)
    return re.sub(r"\{[{%].*?[%}]\}", lambda found: " ".join(_sentences(found[0])), text, flags=re.DOTALL)


def _sentences(code: str) -> Iterator[str]:
    """Yield what stands between quotes and has a space or a capital in it, as names have not."""
    for plain, filled in re.findall(r'"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`', code):
        found = re.sub(r"\$\{[^{}]*\}|%\w", "0", plain or filled)
        if re.search(r" |^[A-Z][a-z]", found) and not re.search(r"[\[\]<>=#\\]|\.html", found):
            yield found


def script_text(code: str) -> str:
    """Return the sentences that a script shows: neither its comments nor the elements that it looks for."""
    looks = r"(?:closest|matches|querySelector(?:All)?)\([^)]*\)"
    return " ".join(_sentences(re.sub(rf"(?m)^\s*//.*$|/\*.*?\*/|{looks}", "", code)))


def told_in_templates() -> Iterable[Path]:
    return sorted(
        [*(PACKAGE / "report" / "templates").glob("*.html.j2"), *(PACKAGE / "publish" / "templates").glob("*.html.j2")]
    )


def test_a_word_that_nobody_knows_is_seen() -> None:
    page = "<p>The <b>eigenvector</b> of a mean is rare, and so is a <code>jacobian</code>; 3 gradients are not.</p>"
    assert strange(Told(page).text, known()) == {"eigenvector"}


def test_every_word_of_a_report_is_plain_or_in_the_glossary(folder: Path) -> None:
    found = {path: strange(Told(html).text, known()) for path, html in pages(folder).items()}
    kinds = {"index", "matrix", "throughput", "environments", "case", "why", "search", "porting", "glossary", "speed"}
    assert kinds <= {Path(path).stem for path in found}
    assert {path: rare for path, rare in found.items() if rare} == {}


@pytest.mark.parametrize("path", told_in_templates(), ids=lambda path: path.name)
def test_every_word_of_a_template_is_plain_or_in_the_glossary(path: Path) -> None:
    """What a page says where a run has it, a report that was made up may not say."""
    assert strange(Told(literals(path.read_text(encoding="utf-8"))).text, known()) == set()


@pytest.mark.parametrize("path", sorted((PACKAGE / "report" / "assets").glob("*.js")), ids=lambda path: path.name)
def test_every_word_of_a_script_is_plain_or_in_the_glossary(path: Path) -> None:
    assert strange(script_text(path.read_text(encoding="utf-8")), known()) == set()


def test_a_script_s_sentences_are_found() -> None:
    code = (
        '// "an old eigenvalue"\nconst a = make("p", {class: "some thing"}, `the ${count} eigenvector is`, "td > a");'
    )
    assert strange(script_text(code), known()) == {"eigenvector"}


def test_every_word_for_a_verdict_a_pass_or_a_standing_is_plain_or_in_the_glossary() -> None:
    texts = [text for verdict in VERDICTS.values() for text in (verdict.word, verdict.meaning)]
    texts += [text for sign in STANDS.values() for text in (sign.word, sign.meaning)]
    texts += [*PASSES.values(), *STANDINGS.values(), *DISTURBANCES.values(), *READINGS]
    assert strange(" ".join(texts), known()) == set()


def test_every_word_of_a_cause_is_plain_or_in_the_glossary() -> None:
    found = {
        id_: strange(re.sub(r"\{\w+\}", "", f"{entry.words} {entry.one or ''} {entry.instead} {entry.seen}"), known())
        for id_, entry in catalogue().items()
    }
    assert {id_: rare for id_, rare in found.items() if rare} == {}


def test_every_word_of_a_clause_s_title_is_plain_or_in_the_glossary() -> None:
    semantics = spec_folder() / "semantics.md"
    titles = {**load_sections(semantics), **load_clauses(semantics)}
    assert {number: rare for number, title in titles.items() if (rare := strange(title, known()))} == {}


def test_every_word_of_a_reason_that_is_listed_is_plain_or_in_the_glossary() -> None:
    listed = yaml.safe_load((spec_folder() / "divergences.yaml").read_text(encoding="utf-8"))
    found = {entry["reason"]: strange(entry["reason"], known()) for entry in listed}
    assert {reason: rare for reason, rare in found.items() if rare} == {}


def test_every_word_of_a_case_s_title_is_plain_or_in_the_glossary() -> None:
    found = {entry.case.id: strange(entry.case.title, known()) for entry in shipped_spec().cases}
    assert {id_: rare for id_, rare in found.items() if rare} == {}


def test_every_word_for_a_field_of_a_dialect_is_plain_or_in_the_glossary() -> None:
    texts = [meaning.words for meaning in meanings().values()] + [observable.title for observable in OBSERVED.values()]
    assert strange(" ".join(texts), known()) == set()


def unlinked(html: str, anchors: Iterable[str]) -> set[str]:
    """Return the words of the glossary that first stand on a page without leading to their entry."""
    first = Linking(html).linked
    order = {word: position for position, word in enumerate(first)}
    there = tuple(f"{PAGE}#{anchor}" for anchor in anchors)
    terms = (word for entry in shipped() for word in entry.words if word not in EVERYDAY)
    standing = (min(map(str.lower, forms(word)), key=lambda form: order.get(form, len(order))) for word in terms)
    return {word for word in standing if word in first and not first[word].endswith(there)}


def test_a_word_that_leads_nowhere_is_seen() -> None:
    page = f'<p>A cell, a <a class="word" href="{PAGE}#word-case">case</a>.</p><details><summary>x</summary>clause</details>'
    assert unlinked(page, ["word-case"]) == {"cell"}


def test_every_word_of_the_glossary_is_one_click_away_where_it_first_stands(folder: Path) -> None:
    found = {path: html for path, html in pages(folder).items() if not path.endswith(PAGE)}
    anchors = [entry.anchor for entry in shipped()]
    assert {path: lost for path, html in found.items() if (lost := unlinked(html, anchors))} == {}
    assert [path for path, html in found.items() if PAGE not in html] == []


@pytest.mark.parametrize("name", DRAWN)
def test_the_words_of_what_a_script_draws_lead_to_the_glossary_from_its_page(name: str, folder: Path) -> None:
    """What a script adds has no links of its own."""
    shown = {
        *words(" ".join(script_text((PACKAGE / "report" / "assets" / script).read_text()) for script in DRAWN[name]))
    }
    there = Linking((folder / "out" / name).read_text(encoding="utf-8")).linked
    terms = [forms(word) for entry in shipped() for word in entry.words if word not in EVERYDAY]
    assert [each for each in terms if {*each} & shown and not any(there.get(form) for form in each)] == []
