"""The words of the pages: the glossary of the documentation as entries, and links to them from where each first stands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from html import escape
from typing import NamedTuple, TypeAlias

from conformance.spec.locations import root

#: The page of all entries.
PAGE = "glossary.html"
#: Words that the pages use in their everyday meaning too, where a link would mislead.
EVERYDAY = frozenset({
    "base", "call", "family", "group", "head", "moved", "offer", "pace", "pair", "part", "pass", "pin", "position", "row",
    "side", "standing", "state", "status",
})  # fmt: skip

#: The tables whose first column is a word and whose second is its meaning.
_HEADS = ("| word | meaning |", "| verdict | what earns it |")
#: A paragraph that says what its first words are.
_LEADING = re.compile(r"\*\*(?P<word>[^*]+)\*\* (?P<rest>.+)")
#: A link, code, or a stressed word.
_MARKED = re.compile(r"\[(?P<linked>[^\]]*)\]\([^)]*\)|`(?P<code>[^`]*)`|\*\*?(?P<stressed>[^*]+)\*\*?")
_HTML = {"linked": "{}", "code": "<code>{}</code>", "stressed": "<em>{}</em>"}
#: What is no part of a word: what it is said of, as in "dialect (of a profile)", and marks.
_ASIDE = re.compile(r" \([^)]*\)|`")

#: Elements in which no link may stand, in which nobody would see it, or whose text is a run's and not ours. Paragraphs of
#: a run are reasons that the spec lists.
_LEFT_OUT = (
    r"<(a|bdi|button|caption|code|dl|form|h[1-6]|label|noscript|option|pre|script|select|style|summary|svg|th|title)\b[^>]*>.*?</\1>"
    r'|<(div|span|td)\b[^>]* dir="auto"[^>]*>.*?</\2>'
    r'|<span class="(?:evidence|unseen)">.*?</span>'
)
#: What divides texts: where what is folded away begins or ends; a place where a name may be broken; or a run of other
#: tags, and of elements that are left out, with nothing between them.
_BETWEEN = re.compile(rf"</?details[^>]*>|<wbr>|(?:(?:{_LEFT_OUT}|<(?!/?details|wbr)[^>]*>)\s*)+", re.DOTALL)
#: A word that is no part of an identifier.
_WORD = re.compile(r"(?<![\w./+-])[A-Za-z]+(?:-[A-Za-z]+)*(?![\w/+-]|\.\w)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One meaning, with the words that have it."""

    words: tuple[str, ...]
    section: str
    #: As HTML.
    meaning: str
    #: Without any marks.
    plain: str
    #: Where it stands on the page of all entries.
    anchor: str


class Place(NamedTuple):
    """Where in a text or in a page's HTML a word stands."""

    start: int
    end: int
    #: As the entry has it, whether or not it stands there in the plural.
    word: str
    entry: Entry


#: What finds words in a text.
Find: TypeAlias = Callable[[str], Sequence[Place]]


@cache
def shipped() -> tuple[Entry, ...]:
    """Return the entries of the glossary of the suite's own documentation."""
    return entries((root() / "docs" / "glossary.md").read_text(encoding="utf-8"))


def entries(text: str) -> tuple[Entry, ...]:
    """Return the entries of a glossary, in its order: rows of its tables of words, and paragraphs that begin with one."""
    found = []
    taken: Counter[str] = Counter()
    for section, told, meaning in _told(text):
        words = tuple(_ASIDE.sub("", told).replace("_", " ").split(", "))
        anchor = "word-" + re.sub(r"[^a-z0-9]+", "-", words[0].lower()).strip("-")
        taken[anchor] += 1
        found.append(
            Entry(
                words=words,
                section=section,
                meaning=_MARKED.sub(_as_html, escape(meaning, quote=False)),
                plain=_MARKED.sub(lambda mark: mark[mark.lastgroup or 0], meaning),
                anchor=anchor if taken[anchor] == 1 else f"{anchor}-{taken[anchor]}",
            )
        )
    return tuple(found)


def sections(told: Iterable[Entry]) -> Mapping[str, Sequence[Entry]]:
    """Return the entries by section, in their order."""
    found: dict[str, list[Entry]] = {}
    for entry in told:
        found.setdefault(entry.section, []).append(entry)
    return found


def _told(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield section, word and meaning."""
    section = ""
    for block in text.split("\n\n"):
        lines = block.splitlines()
        if lines and lines[0].startswith("#"):
            section = lines[0].lstrip("# ")
        if lines and lines[0].startswith(_HEADS):
            for row in lines[2:]:
                word, meaning = row.strip("| ").split(" | ")[:2]
                yield section, word, meaning
        elif leading := _LEADING.fullmatch(" ".join(block.split())):
            yield section, leading["word"].lower(), f"{leading['word']} {leading['rest']}"


def _as_html(mark: re.Match[str]) -> str:
    kind = mark.lastgroup or ""
    return _HTML[kind].format(mark[kind])


def forms(word: str) -> tuple[str, str]:
    """Return a word in one and in many."""
    if re.search(r"[^aeiou]y$", word):
        return word, f"{word[:-1]}ies"
    return word, f"{word}{'es' if re.search(r'(s|x|ch|sh)$', word) else 's'}"


def linked(html: str, address: Callable[[Entry], str]) -> str:
    """Return a page's HTML with a link where each word of the glossary first stands; its title is the meaning."""
    pieces, at = [], 0
    for place in first_places(html, _of_shipped()):
        href, title = escape(address(place.entry)), escape(place.entry.plain)
        word = html[place.start : place.end]
        pieces += [html[at : place.start], f'<a class="word" href="{href}" title="{title}">{word}</a>']
        at = place.end
    return "".join([*pieces, html[at:]])


def first_places(html: str, find: Find) -> list[Place]:
    """Return where each word first stands in text that may hold a link: what is folded away counts after all else."""
    places: tuple[dict[str, Place], dict[str, Place]] = ({}, {})
    known: tuple[set[str], set[str]] = (set(), set())
    for at, text, folded in _texts(html):
        if text not in known[folded]:
            known[folded].add(text)
            for start, end, word, entry in find(text):
                places[folded].setdefault(word, Place(at + start, at + end, word, entry))
    seen, hidden = places
    return sorted((hidden | seen).values(), key=lambda place: place.start)


def _texts(html: str) -> Iterator[tuple[int, str, bool]]:
    """Yield the texts between tags: where each starts, and whether it is folded away.

    The parts of a broken name are none.
    """
    at, folded, broken = 0, False, False
    for between in _BETWEEN.finditer(html):
        start, end = between.span()
        breaks = html.startswith("<wbr>", start)
        if at < start and not (broken or breaks):
            yield at, html[at:start], folded
        if html.startswith(("<details", "</details"), start):
            folded = html.startswith("<details>", start)
        at, broken = end, breaks
    if at < len(html):
        yield at, html[at:], folded


@cache
def _of_shipped() -> Find:
    return finding(shipped())


def finding(told: Iterable[Entry]) -> Find:
    """Return what finds the words of those entries in a text; a word within a longer one is none of its own.

    Most texts stand on many pages, so that what was found is kept.
    """
    by_first_word = _by_first_word(told)

    @lru_cache(maxsize=2**14)
    def find(text: str) -> tuple[Place, ...]:
        return tuple(_places(text, by_first_word))

    return find


#: The parts of a form of a word; the word; its entry.
_Form: TypeAlias = tuple[tuple[str, ...], str, Entry]
_Starting: TypeAlias = Mapping[str, tuple[_Form, ...]]


def _by_first_word(told: Iterable[Entry]) -> _Starting:
    """Return by their first parts all forms that are linked, the longest first; of two entries for a word the first counts."""
    found: dict[str, dict[tuple[str, ...], _Form]] = {}
    for entry in told:
        for word in entry.words:
            for form in forms(word) if word not in EVERYDAY else ():
                parts = tuple(form.lower().split())
                found.setdefault(parts[0], {}).setdefault(parts, (parts, word, entry))
    return {
        first: tuple(sorted(starting.values(), key=lambda form: len(form[0]), reverse=True))
        for first, starting in found.items()
    }


def _places(text: str, by_first_word: _Starting) -> Iterator[Place]:
    found = list(_WORD.finditer(text))
    number = 0
    while number < len(found):
        taken = 1
        for parts, word, entry in by_first_word.get(found[number][0].lower(), ()):
            following = found[number : number + len(parts)]
            if tuple(each[0].lower() for each in following) == parts:
                yield Place(following[0].start(), following[-1].end(), word, entry)
                taken = len(parts)
                break
        number += taken
