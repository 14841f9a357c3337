"""A cause: why numbers are not what they must be, as a value.

Its id is one of `spec/causes.yaml`, which has the words; text is made from causes last, by whoever shows it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One term that deviating numbers are weighed by, with its weight in them and in the right numbers.

    Both weights are rounded to the digits that tell them apart and that the bounds support.
    """

    name: str
    observed: float
    right: float
    #: The significant digits in which the weights are shown.
    digits: int


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


#: No cause, of what is not changed.
UNCHANGED = Cause(id="")
#: The cause of numbers that nothing explains; its parameters say what they are made of, where they can be weighed.
UNEXPLAINED = "unexplained"
#: The cause of grade O.
UNSTABLE = "one-pass-variance"
#: What a step that gave no numbers did; one such says that it happened and not why.
RAISES, CRASHES, TIMES_OUT = "raises", "crashes", "times-out"


def because(id_: str, **parameters: Parameter) -> Cause:
    """Return the cause of that id, with its parameters in the order given."""
    return Cause(id=id_, parameters=tuple(parameters.items()))
