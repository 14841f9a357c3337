"""Numbers as a person typed or pasted them: lists with commas, or as NumPy and PyTorch print them, with their digits."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from conformance.errors import UsageError

Array = np.ndarray[Any, np.dtype[Any]]

_TOKEN = re.compile(
    r"\s*(?P<token>[\[\](),]|[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?(?:nan|inf(?:inity)?)\b)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[-+]?[0-9.]")
#: What printers put around the numbers: the name of the type before, and what describes the array after.
_AROUND = re.compile(r"^\s*(?:[\w.]+)\(\s*(?P<inside>[\[(].*?[\])])\s*(?:,\s*\w+=.*)?\)\s*$", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Typed:
    """Numbers as they were written, and how far each may lie from the one that was meant."""

    values: Array
    #: Half a unit of the last digit; 0 of a whole number, which is taken at its word.
    slack: Array
    #: Each as it was written, in the order of the values.
    texts: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether every number is a whole one."""
        return bool((self.slack == 0).all())

    @property
    def as_rounded(self) -> Typed:
        """The same, its whole numbers taken for rounded ones."""
        return Typed(values=self.values, slack=np.where(self.slack == 0, 0.5, self.slack), texts=self.texts)


def typed(option: str, text: str) -> Typed:
    """Return the numbers of the text, nested as its brackets are. Raises `UsageError`, which names the option."""
    around = _AROUND.match(text)
    tokens = list(_tokens(option, around["inside"] if around else text))
    texts: list[str] = []
    outermost = _nested(option, iter(["[", *tokens, "]", "end"]), texts)
    nested = outermost[0] if len(outermost) == 1 else outermost
    if not tokens:
        raise UsageError(f"{option}: expected numbers, such as '[[1], [5]]', got {text!r}")
    try:
        values = np.array(nested, dtype=np.float64)
    except ValueError as error:
        raise UsageError(f"{option}: expected rows of the same length, got {text!r}") from error
    slack = np.array([_half_unit(one) for one in texts]).reshape(values.shape)
    return Typed(values=values, slack=slack, texts=tuple(texts))


def of_file(option: str, path: Path) -> Array:
    """Return the array of a `.npy` file, from which nothing is ever executed. Raises `UsageError`."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or "it is no array of numbers in NumPy's format"
        raise UsageError(f"{option} {path}: cannot be read: {reason}") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        raise UsageError(f"{option} {path}: expected an array of numbers")
    return array.astype(np.float64)


def _tokens(option: str, text: str) -> Iterator[str]:
    position, text = 0, text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            shown = text[position:].strip()[:20]
            raise UsageError(f"{option}: expected numbers, such as '[[1], [5]]', got {shown!r}")
        token = match["token"]
        if not _is_held(token):
            raise UsageError(f"{option}: expected numbers that float64 holds, got {token[:40]!r}")
        yield token.replace("(", "[").replace(")", "]")
        position = match.end()


def _nested(option: str, tokens: Iterator[str], texts: list[str]) -> list[Any]:
    """Return the list that begins with the next token, with a list for each bracket in it."""
    stack: list[list[Any]] = []
    for token in tokens:
        match token:
            case "[":
                stack.append([])
            case "]" if len(stack) > 1:
                closed = stack.pop()
                stack[-1].append(closed)
            case "]" | "end":
                break
            case ",":
                pass
            case _:
                texts.append(token)
                stack[-1].append(float(token))
    if next(tokens, "") != "end" or len(stack) != 1:
        raise UsageError(f"{option}: its brackets do not match")
    return stack[0]


def _is_held(token: str) -> bool:
    """Return whether a number is no infinity and no zero that was not written as one."""
    if not _NUMBER.match(token):
        return True
    value, digits = float(token), token.lower().partition("e")[0]
    return math.isfinite(value) and (value != 0 or not re.search("[1-9]", digits))


def _half_unit(text: str) -> float:
    """Return half a unit of the last digit that was written after the point; 0 where there is none."""
    if not _NUMBER.match(text):
        return 0.0
    exponent = Decimal(text).as_tuple().exponent
    fraction = "." in text.rstrip(".") or "e" in text.lower()
    return 0.5 * 10.0**exponent if fraction and isinstance(exponent, int) else 0.0
