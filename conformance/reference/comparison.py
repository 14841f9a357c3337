"""How far the two references are apart: on one quantity, and over several cases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from conformance.precision import extended

#: How far the first reference may be from the exact numbers, in units of the tightest bound: numerics, section 1.8.
ALLOWED = 1e-3
#: Elements in a step that fractions can do in some tenths of a second.
ELEMENTS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How far the two references are apart on one quantity of one step."""

    case: str
    #: Counted from 1.
    step: int
    quantity: str
    #: The float type in which the first reference computed.
    arithmetic: str
    #: The precision whose bound is the unit of the ratio.
    unit: str
    #: How many numbers were compared: only those with finite data and a finite bound can be.
    numbers: int
    #: The largest |first - exact| / bound; infinite where only one of the references gives a number.
    ratio: float
    #: The feature where the ratio is that large.
    feature: int

    @property
    def agrees(self) -> bool:
        """Whether the first reference is as close to the exact numbers as it must be."""
        return self.ratio <= ALLOWED

    def __str__(self) -> str:
        place = f"{self.case} step {self.step} {self.quantity}, feature {self.feature}"
        return f"{self.ratio:.2g} of the {self.unit} bound in {self.arithmetic} ({place})"


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A quantity on which the two references disagree."""

    comparison: Comparison

    def __str__(self) -> str:
        return f"the references disagree by {self.comparison}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The cross-check of several cases."""

    cases: int
    #: Cases with a step of more elements than fractions can do.
    left_out: int
    comparisons: tuple[Comparison, ...]

    @property
    def worst(self) -> dict[str, Comparison]:
        """The comparison furthest off in each float type."""
        worst: dict[str, Comparison] = {}
        for comparison in self.comparisons:
            first = worst.get(comparison.arithmetic, comparison)
            worst[comparison.arithmetic] = max(first, comparison, key=_by_ratio)
        return worst

    def __str__(self) -> str:
        large = f" ({self.left_out} left out, over {ELEMENTS:,} elements in a step)" if self.left_out else ""
        quantities = len({(comparison.case, comparison.step, comparison.quantity) for comparison in self.comparisons})
        worst = "; ".join(str(comparison) for comparison in self.worst.values())
        return (
            f"references: {self.cases} cases{large}, {quantities:,} quantities, worst {worst or 'none'}; {extended()}"
        )


def disagreements(comparisons: Iterable[Comparison]) -> list[Disagreement]:
    """Return the comparisons beyond what is allowed."""
    return [Disagreement(comparison) for comparison in comparisons if not comparison.agrees]


def _by_ratio(comparison: Comparison) -> float:
    return comparison.ratio
