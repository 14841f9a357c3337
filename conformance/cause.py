"""A cause: why numbers are not what they must be, as a value.

Its id is one of `spec/causes.yaml`, which has the words; text is made from causes last, by whoever shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Parameter: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One thing that is done instead of what is right."""

    id: str
    #: What the words of the catalogue leave open, by name, in the order of the words.
    parameters: tuple[tuple[str, Parameter], ...] = ()
    #: The quantities that it explains.
    quantities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What explains some deviating quantities: one of these causes, which fit equally well, the plainest first."""

    alternatives: tuple[Cause, ...]
