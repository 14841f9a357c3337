"""The documentation as a site: its links lead within it, its pages are all in the navigation, its numbers are computed."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs.site.stage import DOCS, ELSEWHERE, Explained, article, relinked


def in_navigation(entries: list[dict[str, Any]]) -> Iterator[str]:
    for entry in entries:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else in_navigation(value)


def test_every_page_is_in_the_navigation_and_nothing_else() -> None:
    named = list(in_navigation(tomllib.loads((DOCS / "site" / "zensical.toml").read_text())["project"]["nav"]))
    generated = {f"reference/{name}.md" for name in ("cases", "causes", "command-line", "python-api", "schemas")}
    own = {file.relative_to(DOCS).as_posix() for file in (*DOCS.glob("*.md"), *DOCS.glob("articles/*.md"))}
    assert sorted(named) == sorted(own - {"README.md"} | generated | set(ELSEWHERE.values()))


def test_links_that_leave_the_documentation_in_a_checkout_lead_within_the_site() -> None:
    text = "[a](../spec/semantics.md#2-axes) [b](limits.md) [c](../spec/tiers.yaml) [d](https://x.example/y) [e](#f)"
    copied: set[str] = set()
    moved = relinked(text, "articles/one.md", "docs/explaining.md", copied)
    assert re.findall(r"\((.+?)\)", moved) == [
        "../reference/semantics.md#2-axes",
        "../limits.md",
        "../files/spec/tiers.yaml",
        "https://x.example/y",
        "#f",
    ]
    assert copied == {"spec/tiers.yaml"}


@pytest.mark.parametrize(
    ("name", "computed"),
    [
        ("trained-layer", "**0.795190532, 4.1748577**"),
        ("axis-of-a-table", "| last axis kept (`axis=-1`) | 2, 20, 200, 2000 |"),
        ("images", "so each is over\n**12800** values"),
        ("mean-alone", "Of the same numbers it makes **-2, 2**"),
    ],
)
def test_an_article_answers_its_question_with_the_published_numbers(name: str, computed: str) -> None:
    """Which no file of it has: they are those of `conformance explain`."""
    source = (DOCS / "articles" / f"{name}.md").read_text(encoding="utf-8")
    assert computed not in source
    assert computed in article(source)


def test_an_article_that_shows_a_line_no_answer_has_is_refused() -> None:
    answer = Explained(words="--data 1", text="What you got\n", answer={})
    assert answer.shown("What you got") == "```console\n$ conformance explain --data 1\nWhat you got\n```"
    with pytest.raises(ValueError, match="no line has 'What you expected'"):
        answer.shown("What you got", "What you expected")


def test_nothing_of_the_site_is_fetched() -> None:
    theme = tomllib.loads((DOCS / "site" / "zensical.toml").read_text())["project"]["theme"]
    assert theme["font"] is False
    assert "http" not in Path(DOCS / "site" / "site.css").read_text()
