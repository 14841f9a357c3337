"""The pages of the documentation's site: those of `docs`, with the articles' numbers computed and the reference written out.

    python -P docs/site/stage.py FOLDER

leaves in FOLDER what a site generator makes the site of. Links that leave `docs` in a checkout lead to a page of the site, or to a
copy of the file.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from jinja2 import Environment, StrictUndefined

from conformance import api
from conformance.cli import main as command_line
from conformance.spec.causes import catalogue
from conformance.spec.loader import load
from conformance.spec.locations import spec_folder

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
#: Files outside `docs` that are pages of the site, by their place in the project.
ELSEWHERE = {
    "README.md": "README-of-the-project.md",
    "CHANGELOG.md": "changes.md",
    "SECURITY.md": "security.md",
    "spec/semantics.md": "reference/semantics.md",
    "spec/cases": "reference/cases.md",
    "reports/README.md": "published-runs.md",
    "docs/README.md": "index.md",
    "conformance/answers/vectors-readme.md": "files-of-test-vectors.md",
}
#: Files that are read as they are.
FILES = "files"
#: Characters to a line of what commands say of themselves.
_WIDTH = "110"
_LINK = re.compile(r"(?P<before>\]\()(?P<target>(?![a-z]+:|#)[^)\s#]+)(?P<anchor>#[^)\s]*)?(?=\))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One answer of `conformance explain`, of which an article shows parts."""

    words: str
    text: str
    answer: Mapping[str, Any]

    @property
    def epsilon(self) -> float:
        """What was added to the variance."""
        return float(self.answer["epsilon"])

    @property
    def reduced(self) -> int:
        """How many values each statistic is over."""
        return int(self.answer["reduced"])

    @property
    def reduction_axes(self) -> str:
        """The axes that collapse."""
        return ", ".join(map(str, self.answer["reduction_axes"]))

    def gives(self, quantity: str) -> str:
        """Return what the first step gives of a quantity."""
        return _texts(self.answer["steps"][0]["gives"], quantity)

    def state(self, quantity: str) -> str:
        """Return what the layer holds before the first step."""
        return _texts(self.answer["steps"][0]["before"], quantity)

    def equations(self) -> list[Mapping[str, Any]]:
        """Return the equations of the first feature, with the numbers in them."""
        equations = self.answer["steps"][0]["equations"]
        return [equation for equation in equations if equation["feature"] == [0]]

    def instead(self, cause: str, quantity: str) -> str:
        """Return what another computation would give in the first step."""
        (other,) = [entry for entry in self.answer["steps"][0]["instead"] if entry["id"] == cause]
        return _texts(other["gives"], quantity)

    def other_axes(self, words: str, quantity: str) -> str:
        """Return what a quantity would be along other axes, of the line that begins so."""
        (line,) = [line for line in self.text.splitlines() if line.strip().startswith(words) and quantity in line]
        return line.partition(quantity)[2].strip()

    def shown(self, *parts: str) -> str:
        """Return the command and the lines of its answer that have one of these parts, each of which must have some."""
        lines = self.text.splitlines()
        absent = [part for part in parts if not any(part in line for line in lines)]
        if absent:
            raise ValueError(f"conformance explain {self.words}: no line has {absent[0]!r}")
        kept = [line for line in lines if any(part in line for part in parts)]
        return "\n".join(["```console", f"$ conformance explain {self.words}", *kept, "```"])


def explain(words: str) -> Explained:
    """Return what `conformance explain` answers to these words."""
    return Explained(
        words=words,
        text=printed("explain", *shlex.split(words)),
        answer=json.loads(printed("explain", *shlex.split(words), "--json")),
    )


def printed(*words: str) -> str:
    """Return what a command of ours prints. Raises `RuntimeError` where it fails."""
    out = io.StringIO()
    with patch.object(sys, "argv", ["conformance", *words]), contextlib.redirect_stdout(out):
        try:
            command_line()
        except SystemExit as end:
            if end.code not in (0, None):
                raise RuntimeError(f"conformance {' '.join(words)}: exit code {end.code}") from end
    return out.getvalue()


def article(text: str) -> str:
    """Return an article with its numbers in it."""
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701 - Markdown
    return environment.from_string(text).render(explain=explain)


def pages() -> Iterator[tuple[str, str, str]]:
    """Yield each page: where it stands in the site, where its links start from in the project, and its text."""
    for file in sorted(DOCS.glob("*.md")):
        name = file.relative_to(ROOT).as_posix()
        yield ELSEWHERE.get(name, file.name), name, file.read_text(encoding="utf-8")
    for file in sorted((DOCS / "articles").glob("*.md")):
        yield f"articles/{file.name}", file.relative_to(ROOT).as_posix(), article(file.read_text(encoding="utf-8"))
    for name, page in ELSEWHERE.items():
        if (ROOT / name).is_file() and not name.startswith("docs/"):
            yield page, name, (ROOT / name).read_text(encoding="utf-8")
    for name, text in (
        ("cases", cases()),
        ("causes", causes()),
        ("command-line", commands()),
        ("python-api", python_api()),
        ("schemas", schemas()),
    ):
        yield f"reference/{name}.md", f"docs/reference/{name}.md", text


def relinked(text: str, page: str, origin: str, copied: set[str]) -> str:
    """Return the text of a page with its links as they lead within the site; files that they need are `copied`."""

    def moved(link: re.Match[str]) -> str:
        target = os.path.normpath(Path(origin).parent / link["target"])
        if target in ELSEWHERE:
            place = ELSEWHERE[target]
        elif target.startswith("docs/") and target.endswith(".md"):
            place = target.removeprefix("docs/")
        elif (ROOT / target).is_file():
            copied.add(target)
            place = f"{FILES}/{target}"
        else:
            return link[0]
        return f"{link['before']}{os.path.relpath(place, Path(page).parent)}{link['anchor'] or ''}"

    return _LINK.sub(moved, text)


def cases() -> str:
    """Return the page of the cases: a table a family."""
    lines = [
        "# Cases",
        "",
        "Every case of the spec, by family. Cases that differ in one setting alone stand in one line.",
    ]
    families: dict[str, dict[str, list[Any]]] = {}
    for entry in load(spec_folder()).cases:
        family, base = entry.case.id.partition(".")[0], entry.case.id.partition("/")[0]
        families.setdefault(family, {}).setdefault(base, []).append(entry.case)
    for family, by_base in families.items():
        lines += ["", f"## {family}", "", "| case | what it says | clauses | variants |", "| --- | --- | --- | --- |"]
        for base, own in by_base.items():
            lines.append(f"| `{base}` | {_cell(own[0].title)} | {', '.join(own[0].clauses)} | {len(own)} |")
    return "\n".join(lines) + "\n"


def causes() -> str:
    """Return the page of the causes."""
    lines = [
        "# Causes",
        "",
        "What a diagnosis can say: what is done in place of what is right, and what a user sees of it.",
    ]
    for id_, entry in catalogue().items():
        lines += ["", f"## {id_}", "", entry.instead or entry.words, "", entry.seen]
        lines += [f"Breaks clause {entry.clause} of [the semantics](../../spec/semantics.md)."] if entry.clause else []
    return "\n".join(lines) + "\n"


def commands() -> str:
    """Return the page of the command line: what each command says of itself."""
    with patch.dict(os.environ, {"COLUMNS": _WIDTH, "TERMINAL_WIDTH": _WIDTH, "NO_COLOR": "1"}):
        whole = printed("--help")
        names = re.findall(r"^│ ([a-z]+) ", whole, re.MULTILINE)
        texts = {"Command line": whole, **{f"conformance {name}": printed(name, "--help") for name in names}}
    sections = (
        f"{'##' if title.startswith('conformance') else '#'} {title}\n\n```text\n{text.strip(chr(10))}\n```\n"
        for title, text in texts.items()
    )
    return "\n".join(sections)


def python_api() -> str:
    """Return the page of `conformance.api`: each name that it exports, with what it says of itself."""
    lines = ["# Python API", "", inspect.cleandoc(api.__doc__ or "")]
    for name in api.__all__:
        thing = getattr(api, name)
        is_function = inspect.isfunction(thing)
        signature = f"{name}{inspect.signature(thing)}" if is_function else name
        lines += ["", f"## {name}", "", "```text", signature, "```", "", inspect.getdoc(thing) or ""]
    return "\n".join(lines) + "\n"


def schemas() -> str:
    """Return the page of the published JSON schemas."""
    lines = [
        "# Schemas",
        "",
        "What our files of JSON hold, each by a JSON Schema.",
        "",
        "| schema | what it describes |",
        "| --- | --- |",
    ]
    for file in sorted(spec_folder().glob("*.schema.json")):
        described = json.loads(file.read_text(encoding="utf-8"))
        said = described.get("description") or described.get("title", "")
        lines.append(f"| [{file.name}](../../spec/{file.name}) | {_cell(said)} |")
    return "\n".join(lines) + "\n"


def stage(out: Path) -> None:
    """Write everything that the site is made of, in place of what was there."""
    shutil.rmtree(out, ignore_errors=True)
    copied: set[str] = set()
    for page, origin, text in pages():
        place = out / "pages" / page
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(relinked(text, page, origin, copied), encoding="utf-8")
    for name in copied:
        place = out / "pages" / FILES / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, place)
    shutil.copyfile(DOCS / "site" / "site.css", out / "pages" / "site.css")
    shutil.copyfile(DOCS / "site" / "zensical.toml", out / "zensical.toml")


def _texts(quantities: list[Mapping[str, Any]], name: str) -> str:
    (quantity,) = [entry for entry in quantities if entry["quantity"] == name]
    return ", ".join(quantity["texts"])


def _cell(text: str) -> str:
    """Return a text as a cell of a table."""
    return " ".join(text.split()).replace("|", r"\|")


if __name__ == "__main__":
    stage(Path(sys.argv[1]))
