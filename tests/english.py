"""Plain English: the words that a list of the words of films knows well, and how a text is taken apart into words."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator, Mapping

from spellchecker import SpellChecker

#: Of all words in the subtitles of films. One that is rarer is technical: *gradient*, *variance* and *median* are.
RARE = 1 / 2_000_000

#: What an inflection ends with, and what its base ends with instead.
_ENDINGS = (
    ("ies", "y"), ("es", ""), ("s", ""), ("ied", "y"), ("ed", ""), ("ed", "e"), ("ing", ""), ("ing", "e"),
    ("er", ""), ("er", "e"), ("est", ""), ("est", "e"), ("ly", ""), ("ly", "le"), ("our", "or"), ("ours", "ors"),
    ("oured", "ored"), ("ouring", "oring"), ("tre", "ter"), ("tred", "tered"), ("th", ""), ("ation", "e"),
)  # fmt: skip
_PREFIXES = ("un", "re", "non")
_MARKS = ".,;:!?()[]{}\"'“”‘’…–—-·§→←×÷%†‡°^|*=<>≤≥≠≈"
#: A word as a person writes one: no identifier, number, unit or formula, which are shorter or have other letters.
_WRITTEN = re.compile(r"[A-Z][a-z]{2,}|[a-z]{3,}|[A-Z]{3,}")


@functools.cache
def _plain() -> frozenset[str]:
    counts: Mapping[str, int] = SpellChecker(language="en").word_frequency.dictionary
    fewest = RARE * sum(counts.values())
    return frozenset(word for word, count in counts.items() if count >= fewest)


@functools.cache
def bases(word: str) -> frozenset[str]:
    """Return a word with all that it may be an inflection of."""
    found = {word}
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) > len(ending) + 2:
            stem = word.removesuffix(ending)
            found.add(stem + instead)
            if not instead and re.search(r"([b-df-hj-np-tv-z])\1$", stem):
                found.add(stem[:-1])
    for prefix in _PREFIXES:
        if word.startswith(prefix) and len(word) > len(prefix) + 3:
            found |= bases(word.removeprefix(prefix))
    return frozenset(found)


def is_plain(word: str) -> bool:
    """Return whether everybody knows the word."""
    return not bases(word).isdisjoint(_plain())


def words(text: str) -> Iterator[str]:
    """Yield the words of a text in small letters, without identifiers, numbers and formulas."""
    for token in text.split():
        for part in re.split(r"[-/–—…]", token.strip(_MARKS)):
            bare = re.sub(r"(['’]s|s['’]|['’])$", lambda end: "s" if end[0][0] == "s" else "", part.strip(_MARKS))
            if _WRITTEN.fullmatch(bare):
                yield bare.lower()


def strange(text: str, known: Collection[str]) -> set[str]:
    """Return the words of a text that are neither plain nor among the known, or an inflection of one of these."""
    stems = known_stems(frozenset(known))
    return {word for word in words(text) if not is_plain(word) and not bases(word) & stems}


@functools.cache
def known_stems(known: frozenset[str]) -> frozenset[str]:
    """Return all that known words may be inflections of."""
    return frozenset().union(*map(bases, known))
