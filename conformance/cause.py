"""A cause: a value that says why numbers deviate or are missing.

Its id is one of `spec/causes.yaml`, where its words are. Text is made from causes last, by whoever shows them, with the
functions of this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One term of a formula, with its weight in the deviating numbers and in the right ones.

    Both weights are rounded to the digits that tell them apart and that the bounds support.
    """

    name: str
    observed: float
    right: float
    #: The significant digits in which the weights are shown.
    digits: int


#: The parameters of an unexplained cause that are distances in bounds, which may be infinite.
BOUNDS = ("left", "off")
#: The name of the term that is the same for every number.
CONSTANT = "1"

Parameter: TypeAlias = str | int | float | bool | tuple[Term, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One thing that is done instead of what is right."""

    id: str
    #: What the words of the catalogue leave open, by name, in the order of the words.
    parameters: tuple[tuple[str, Parameter], ...] = ()
    #: The quantities that it explains.
    quantities: tuple[str, ...] = ()

    def explaining(self, quantities: tuple[str, ...]) -> Cause:
        """Return the cause as what explains those quantities."""
        return replace(self, quantities=quantities)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What explains some deviating quantities: one of these causes, which fit equally well, the plainest first."""

    alternatives: tuple[Cause, ...]


#: The empty cause, of a hypothesis that changes nothing.
UNCHANGED = Cause(id="")
#: The id of the cause of numbers that nothing explains. Its parameters are the weights of their terms, where known.
UNEXPLAINED = "unexplained"
#: The cause of grade O.
UNSTABLE = "one-pass-variance"
#: The ids of the causes of a step that gave no numbers. They say what happened, and not why.
RAISES, MISTAKEN, CRASHES, TIMES_OUT = "raises", "adapter-mistaken", "crashes", "times-out"


def because(id_: str, **parameters: Parameter) -> Cause:
    """Return the cause with the id `id_`, and with its parameters in the order of the arguments."""
    return Cause(id=id_, parameters=tuple(parameters.items()))


class Wording(Protocol):
    """What a catalogue says of a cause: its words, and those where its parameter `count` is 1."""

    @property
    def words(self) -> str:
        """A template over the parameters."""

    @property
    def one(self) -> str | None:
        """The words where `count` is 1; None where they are the same."""


Words: TypeAlias = Mapping[str, Wording]
#: Alternatives that are named; of more, their number.
_NAMED = 3


def diagnosis_text(explanations: Iterable[Explanation], words: Words) -> str:
    """Return the text of what explains a cell, each explanation once."""
    return "; ".join(dict.fromkeys(text_of(explanation.alternatives, words) for explanation in explanations))


def text_of(alternatives: Sequence[Cause], words: Words) -> str:
    """Return alternative causes as one text: the first few in words, the rest as a number."""
    named = [_text(cause, words) for cause in alternatives[:_NAMED]]
    rest = len(alternatives) - _NAMED
    others = [f"{rest} other{'s' if rest > 1 else ''}"] if rest > 0 else []
    return " or ".join([*named, *others])


def _text(cause: Cause, words: Words) -> str:
    entry, parameters = words[cause.id], dict(cause.parameters)
    text = filled(entry.one if entry.one and parameters.get("count") == 1 else entry.words, parameters)
    return f"{text}: {weights_text(parameters)}" if "terms" in parameters else text


def filled(words: str, parameters: Mapping[str, Parameter]) -> str:
    """Return the words with parameters in place of their names in braces. Raises `ValueError` where one is missing.

    The words may come from anybody's file, so they are not used as a format string, which could reach into objects.
    """
    text, *parts = words.split("{")
    for part in parts:
        name, brace, rest = part.partition("}")
        if not brace or name not in parameters:
            raise ValueError(f"{words!r} needs more than {sorted(parameters)}")
        text += f"{parameters[name]}{rest}"
    return text


def weights_text(parameters: Mapping[str, Parameter]) -> str:
    """Return the text of the weights in numbers that nothing explains, beside those in the right ones.

    `parameters` are those of an unexplained cause. Raises `ValueError` where some are lacking.
    """
    match parameters:
        case {"quantity": str(quantity), "terms": tuple(terms), "left": float(left), "off": float(off)}:
            pass
        case _:
            raise ValueError(f"expected quantity, terms, left and off, got {sorted(parameters)}")
    observed = _sum([(term, term.observed) for term in terms])
    right = _sum([(term, term.right) for term in terms])
    if observed == right:
        text = f"{observed}, which is right, but for up to {off:.2g} bounds"
    else:
        text = f"{observed}{'' if left <= 1 else f', to within {left:.2g} bounds'}, where {right} is right"
    if "feature" in parameters:
        place = "(feature {feature}, the worst of {features_off} of {features} that are off)"
        text += f" {filled(place, parameters)}"
    return f"{quantity} is {text}"


def _sum(weighed: Iterable[tuple[Term, float]]) -> str:
    text = ""
    for term, weight in weighed:
        shown = f"{weight:.{term.digits}g}"
        sign, size = ("-", shown[1:]) if shown.startswith("-") else ("+", shown)
        product = size if term.name == CONSTANT else f"{size}·{term.name}"
        text += f" {sign} {product}" if text else f"{sign.strip('+')}{product}"
    return text
