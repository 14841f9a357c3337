"""The documentation says what is so: its example runs, its links lead somewhere, its snippets load."""

from __future__ import annotations

import ast
import functools
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from conformance.spec.causes import catalogue
from conformance.spec.divergences import load_divergences
from conformance.spec.loader import load_clauses, load_file
from conformance.spec.recipe import Recipe
from conformance.spec.yaml_document import parse
from conformance.verdict import Verdict
from tests.command_line import inside

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXAMPLE = DOCS / "examples" / "plain_python.py"
CASES = DOCS / "writing-a-case.md"
PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("articles/*.md"), ROOT / "README.md"])
ONE_PER_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())

_LINK = re.compile(r"\[[^\]]*\]\((?!https?:)(?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+\s+(?P<title>.+)$", re.MULTILINE)
_FENCED = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
_RECIPE = re.compile(r"`(\{kind: .+?\})`")
#: Options in the docs that are another program's.
_FOREIGN = {
    "--junitxml", "--lf", "--list", "--measure", "--no-deps", "--nthreads", "--pre", "--require-hashes", "--resources",
    "--upgrade-package",
}  # fmt: skip


def conformance(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "conformance", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


def commands_in(text: str) -> list[list[str]]:
    """Return the commands of ours in the blocks of a page: each its name, then its options, without pytest's."""
    lines = (
        line
        for block in _FENCED.finditer(text)
        if block["kind"].strip() in {"", "console", "bash", "sh"}
        for line in block["text"].replace("\\\n", " ").splitlines()
    )
    parts = (part for line in lines for part in re.split(r"&&|\||;", line.partition("  #")[0]))
    own = (found[1] for part in parts if (found := re.match(r"\s*(?:\$ )?conformance ([a-z]+.*)", part)))
    return [[words.split()[0], *_OPTION.findall(re.split(r" -- ", words)[0])] for words in own]


@functools.cache
def options_by_command() -> dict[str, frozenset[str]]:
    """Return the options of every command, by its name."""
    whole = inside("--help", folder=ROOT).stdout
    commands = re.findall(r"^│ ([a-z]+) ", whole, re.MULTILINE)
    assert {"list", "check", "run", "report"} <= set(commands)
    texts = {command: inside(command, "--help", folder=ROOT).stdout for command in commands}
    return {"": frozenset(_OPTION.findall(whole))} | {
        command: frozenset(_OPTION.findall(text)) for command, text in texts.items()
    }


@functools.cache
def options() -> frozenset[str]:
    """Return the options of every command."""
    return frozenset().union(*options_by_command().values())


def snippets(page: Path, kind: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [found["text"] for found in _FENCED.finditer(text) if found["kind"].strip() == kind]


def anchors(page: Path) -> set[str]:
    """Return the names under which the headings of a page can be linked to."""
    titles = (found["title"].strip().lower() for found in _HEADING.finditer(page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def test_the_example_adapter_conforms_through_the_command_line(tmp_path: Path) -> None:
    """It judges the cells it can express, all of them agreeing, and says why it leaves the others."""
    words = ["--adapter", f"{EXAMPLE}:ADAPTER", "--case", "axes.*", "--workers", "1", "--out", "run.jsonl"]
    found = conformance("run", *words, folder=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text(encoding="utf-8").splitlines()]
    verdicts = [Verdict(line["verdict"]) for line in lines if line["kind"] == "record"]
    assert found.returncode == 0, found.stdout + found.stderr
    assert sum(verdict.judged for verdict in verdicts) >= 3
    assert {verdict for verdict in verdicts if not verdict.agrees} == {Verdict.UNSUPPORTED}


def test_the_failures_told_of_the_example_are_the_ones_it_has(tmp_path: Path) -> None:
    """Every line shown of its two holes is a line of the run."""
    words = ["--adapter", f"{EXAMPLE}:ADAPTER", "--case", "edges.empty-*", "--workers", "1"]
    found = conformance("run", *words, folder=tmp_path)
    shown = next(text for text in snippets(DOCS / "adding-an-adapter.md", "console") if "edges.empty-" in text)
    assert found.returncode == 1
    assert [line for line in shown.splitlines()[1:] if line not in found.stdout] == []


def lines_promised(page: str) -> int:
    """How many lines the page says that the protocol stays under."""
    (lines,) = re.findall(r"`conformance/protocol.py`, under (\d+) lines", page)
    return int(lines)


def test_an_author_reads_fewer_lines_than_the_page_promises() -> None:
    lines = (ROOT / "conformance" / "protocol.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) < lines_promised((DOCS / "adding-an-adapter.md").read_text(encoding="utf-8"))


def test_a_protocol_longer_than_promised_would_be_seen() -> None:
    assert lines_promised("All is in `conformance/protocol.py`, under 147 lines. This page") == 147


def test_code_shown_of_the_example_is_its_own() -> None:
    """Each line of a function shown on the page stands in the file."""
    own = EXAMPLE.read_text(encoding="utf-8")
    shown = [text for text in snippets(DOCS / "adding-an-adapter.md", "python") if re.search(r"^def |^ADAPTER", text)]
    strange = [line for text in shown for line in text.splitlines() if line.strip() and line.rstrip() not in own]
    assert len(shown) >= 5
    assert strange == []


@ONE_PER_PAGE
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    """Files exist, and so do the headings that links name."""
    broken = []
    for found in _LINK.finditer(page.read_text(encoding="utf-8")):
        name, _, anchor = found["target"].partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(found["target"])
    assert broken == []


@ONE_PER_PAGE
def test_every_option_named_exists(page: Path) -> None:
    """An option in the docs is one of the command line's, or of a program named beside it."""
    assert set(_OPTION.findall(page.read_text(encoding="utf-8"))) - options() - _FOREIGN == set()


@ONE_PER_PAGE
def test_every_block_of_code_can_be_read(page: Path) -> None:
    """Python compiles, and JSON and TOML are what they say."""
    for kind, read in (("python", ast.parse), ("json", json.loads), ("toml", tomllib.loads)):
        for text in snippets(page, kind):
            read(text)


@ONE_PER_PAGE
def test_every_command_shown_is_one_with_those_options(page: Path) -> None:
    """Of each command line the command itself, and that it takes the options beside it."""
    wrong = [
        words
        for words in commands_in(page.read_text(encoding="utf-8"))
        if words[0] not in options_by_command() or not {*words[1:]} <= options_by_command()[words[0]] | _FOREIGN
    ]
    assert wrong == []


def test_a_command_that_does_not_exist_would_be_seen() -> None:
    text = "`x`\n\n```\n$ conformance rnu --out x -- --lf\nconformance run --outt \\\n  x && conformance check\n```\n"
    assert commands_in(text) == [["rnu", "--out"], ["run", "--outt"], ["check"]]


@pytest.mark.parametrize("number", range(len(snippets(CASES, "yaml"))))
def test_a_case_shown_loads(number: int, tmp_path: Path) -> None:
    """A snippet is a whole file, valid under the name of its family."""
    text = snippets(CASES, "yaml")[number]
    family = str(parse(text, "snippet").value[0]["id"]).partition(".")[0]
    file = tmp_path / f"{family}.yaml"
    file.write_text(text, encoding="utf-8")
    assert load_file(file, load_clauses(ROOT / "spec" / "semantics.md"))


def test_the_ids_shown_are_those_of_the_matrix(tmp_path: Path) -> None:
    """The table under the matrix lists what it expands to."""
    text = snippets(CASES, "yaml")[1]
    file = tmp_path / "sizes.yaml"
    file.write_text(text, encoding="utf-8")
    ids = [located.case.id for located in load_file(file, load_clauses(ROOT / "spec" / "semantics.md"))]
    assert ids == re.findall(r"^\| `(sizes\.[^`]+)` \|$", CASES.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_worked_example_agrees_with_its_published_numbers(tmp_path: Path) -> None:
    """The whole check accepts it, literals included."""
    (tmp_path / "drift.yaml").write_text(snippets(CASES, "yaml")[0], encoding="utf-8")
    found = inside("check", "drift.yaml", folder=tmp_path)
    assert (found.returncode, found.stderr) == (0, "")


def test_the_divergence_shown_is_one(tmp_path: Path) -> None:
    """The invented entry has the form of a real one."""
    (text,) = snippets(CASES, "yaml divergences")
    file = tmp_path / "divergences.yaml"
    file.write_text(text, encoding="utf-8")
    assert len(load_divergences(file, ["stability.ratio-2-12", "statistics.constant-few/rank-4"], catalogue())) == 1


def test_every_recipe_has_an_example_that_is_one() -> None:
    """The table of recipes shows each kind once, in the form that the format takes."""
    adapter: TypeAdapter[Recipe] = TypeAdapter(Recipe)
    examples = [parse(text, "example").value for text in _RECIPE.findall(CASES.read_text(encoding="utf-8"))]
    kinds = {adapter.validate_python(each).kind for each in examples}
    assert kinds == set(adapter.json_schema()["discriminator"]["mapping"])


def test_the_glossary_has_every_verdict() -> None:
    """Each of the ten stands in the table."""
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    assert [verdict for verdict in Verdict if f"| `{verdict}` |" not in text] == []
