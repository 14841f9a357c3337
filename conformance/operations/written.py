"""Sums, differences and weighted averages of numbers, written out as a person would on paper."""

from __future__ import annotations

from collections.abc import Sequence

#: The outputs that are written out, by position.
OUTPUTS = ("y₁", "y₂", "y₃")
#: A sum of more terms than this is written as its first two and its last.
_WRITTEN = 4


def short(value: float) -> str:
    """Return a number with six significant digits."""
    return f"{float(value):.6g}"


def factor(value: float) -> str:
    """Return a number as it stands after an operator: a negative one in parentheses."""
    text = short(value)
    return f"({text})" if text.startswith("-") else text


def difference(value: float, subtracted: float) -> str:
    """Return `value - subtracted`, in numbers."""
    return f"{short(value)} - {factor(subtracted)}"


def total(terms: Sequence[str]) -> str:
    """Return the sum of the terms, the middle of a long one left out."""
    if len(terms) > _WRITTEN:
        return f"{terms[0]} + {terms[1]} + … + {terms[-1]}"
    return " + ".join(terms)


def weighted(weights: tuple[float, float], old: float, new: float) -> str:
    """Return `w·old + v·new`, in numbers."""
    return f"{short(weights[0])}·{factor(old)} + {short(weights[1])}·{factor(new)}"
