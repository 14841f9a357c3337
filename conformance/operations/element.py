"""One element of a quantity: what shows at a look that the whole quantity lies outside its bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.operations.expected import Expected
from conformance.operations.score import fit
from conformance.precision import Precision, dtype_name, precision

Array = np.ndarray[Any, np.dtype[Any]]

#: A number is as far from infinity as this where neither a difference nor a rounding of it overflows.
_LARGE = 1e300
#: What the arithmetic of one number could differ by from that of a whole array, which is nothing, many times over.
_MARGIN = 1 + 1e-9
#: The sums of a step of other features may be taken in another order. Each of the two lies within 1e-4 of the bound of the
#: exact number, be it in extended precision where float64 is judged; many times over again.
_MARGIN_OF_COLUMNS = 1 + 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """One element of an observed quantity."""

    index: tuple[int, ...]
    observed: float
    #: What the quantity is stored in.
    dtype: str
    #: Whether the observed number is far from infinity.
    finite: bool

    def is_off(self, expected: Expected, quantity: Array, worked: Precision) -> bool:
        """Return whether this element alone puts the `quantity` that it is of outside the expectation.

        It is the score of `conformance.operations.score.fit`, for one element: where it is above 1, so is the
        quantity's, or the quantity is not decidable. Where the element shows nothing, the quantity may be off even so.
        """
        if expected.value.shape != quantity.shape or expected.bound.shape != quantity.shape:
            return bool(expected.value.shape != quantity.shape)
        return self._is_beyond(expected, self.index, _MARGIN, worked)

    def is_off_in_column(self, expected: Expected, number: int, worked: Precision, limit: float = 1.0) -> bool:
        """Return the same of an expectation of one feature, that of this element, which is a column of another step.

        With a `limit`, whether this element alone gives the quantity a score above it.
        """
        return self._is_beyond(expected, (*self.index[:-1], number), limit * _MARGIN_OF_COLUMNS, worked)

    def _is_beyond(self, expected: Expected, index: tuple[int, ...], margin: float, worked: Precision) -> bool:
        value, bound = expected.value[index], float(expected.bound[index])
        if not abs(value) < _LARGE:
            return False
        if not self.finite:
            return not math.isfinite(self.observed)
        difference = self.observed - value
        if expected.rest is not None:
            difference = difference - expected.rest[index]
        target = precision(self.dtype)
        if target.unit > worked.unit and bound:
            bound = bound + target.unit * (abs(float(value)) + bound) + target.unit * target.tiny
        return bool(abs(float(difference)) > bound * margin)


def farthest(observed: Array, expected: Expected, worked: Precision) -> Element | None:
    """Return the element with the largest error in units of its bound, None where there are no elements."""
    worst = fit(observed, expected, worked).worst
    if worst is None:
        return None
    index = tuple(int(place) for place in np.unravel_index(worst.position, observed.shape))
    number = float(observed[index])
    return Element(index=index, observed=number, dtype=dtype_name(observed.dtype), finite=abs(number) < _LARGE)
