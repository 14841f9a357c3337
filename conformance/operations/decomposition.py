"""What deviating numbers are made of, where no hypothesis explains them: their weights on the terms of the formula.

By least squares in units of the bound. The right numbers are weighed by the same terms, so that a missing term, a
wrong decay or a scale stand out beside what they should be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.cause import CONSTANT, Parameter, Term
from conformance.operations.operation import Expected
from conformance.precision import Precision, precision, storage_rounding

Array = np.ndarray[Any, np.dtype[Any]]

#: A term of which no larger part than this, relative to its size, lies outside the sums of others has no weight of its own.
_DEPENDENT = 1e-7
#: Fewest and most significant digits of a weight.
_DIGITS = (3, 12)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Numbers:
    """Numbers to be weighed, one a row."""

    seen: Array
    right: Array
    #: The bound of each.
    scale: Array
    #: By name, one column a term.
    terms: Mapping[str, Array]

    def among(self, rows: Array) -> _Numbers:
        """Return those numbers alone."""
        terms = {name: column[rows] for name, column in self.terms.items()}
        return _Numbers(seen=self.seen[rows], right=self.right[rows], scale=self.scale[rows], terms=terms)

    def of(self, terms: Mapping[str, Array]) -> _Numbers:
        """Return the numbers with other terms."""
        return _Numbers(seen=self.seen, right=self.right, scale=self.scale, terms=terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What numbers add up to: the weight of each term in the observed and in the right numbers."""

    terms: tuple[Term, ...]
    #: The largest distance of an observed number from the weighted sum, in bounds.
    left: float
    #: The largest distance of an observed number from the right one, in bounds.
    off: float
    #: Where one feature alone was weighed: its number, how many features are off, and how many there are.
    feature: tuple[int, int, int] | None = None

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The weights as the parameters of a cause."""
        found: dict[str, Parameter] = {"terms": self.terms, "left": self.left, "off": self.off}
        if self.feature is not None:
            found |= dict(zip(("feature", "features_off", "features"), self.feature, strict=True))
        return found


def made_of(observed: Array, expected: Expected, terms: Mapping[str, Array], worked: Precision) -> Weights | None:
    """Return what `observed`, of the shape of `expected.value`, adds up to; None where the numbers cannot tell.

    All features by the same weights if that leaves less than the bound, else the feature furthest off.
    """
    shape = expected.value.shape
    allowed = storage_rounding(expected.bound, expected.value, observed.dtype.name, worked)
    unit = precision(observed.dtype.name)
    scale = np.where(allowed > 0, allowed, unit.unit * np.abs(expected.value) + unit.tiny)
    numbers = _Numbers(
        seen=_column(observed, shape),
        right=_column(expected.value, shape),
        scale=_column(scale, shape),
        terms={name: _column(np.asarray(term), shape) for name, term in terms.items()},
    )
    with np.errstate(all="ignore"):
        together = _best(numbers)
        if len(shape) == 1 or (together is not None and together.left <= 1):
            return together
        off = np.abs(numbers.seen - numbers.right) / numbers.scale
        worst = np.nan_to_num(off, nan=0.0, posinf=0.0).reshape(shape).max(axis=0, initial=0.0)
    feature = int(worst.argmax())
    alone = _best(_constants_as_one(numbers.among(np.arange(off.size) % shape[1] == feature)))
    if alone is None:
        return together
    return replace(alone, feature=(feature, int((worst > 1).sum()), shape[1]))


def _column(values: Array, shape: tuple[int, ...]) -> Array:
    return np.broadcast_to(values, shape).astype(np.float64).reshape(-1)


def _best(numbers: _Numbers) -> Weights | None:
    """Return the weights on the terms, with a constant beside them where that alone leaves less than the bound."""
    plain = _weigh(numbers)
    if plain is not None and plain.left > 1 and CONSTANT not in numbers.terms:
        shifted = _weigh(numbers.of({**numbers.terms, CONSTANT: np.ones_like(numbers.seen)}))
        if shifted is not None and shifted.left <= 1:
            return shifted
    return plain


def _constants_as_one(numbers: _Numbers) -> _Numbers:
    """Return one feature's numbers with the terms that do not vary within it, if they are several, as a constant."""
    varying = {name: column for name, column in numbers.terms.items() if np.ptp(column) > 0}
    if len(numbers.terms) - len(varying) < 2:
        return numbers
    return numbers.of({**varying, CONSTANT: np.ones_like(numbers.seen)})


def _weigh(numbers: _Numbers) -> Weights | None:
    """Return the least-squares weights; None where the numbers are not more than the terms they can tell apart."""
    columns = np.stack([*numbers.terms.values()], axis=-1) / numbers.scale[:, None]
    seen, right = numbers.seen / numbers.scale, numbers.right / numbers.scale
    usable = np.isfinite(columns).all(axis=1) & np.isfinite(seen) & np.isfinite(right)
    columns, seen, right = columns[usable], seen[usable], right[usable]
    kept = _independent(columns)
    if not kept or len(seen) <= len(kept):
        return None
    sizes = np.linalg.norm(columns[:, kept], axis=0)
    inverse = np.linalg.pinv(columns[:, kept] / sizes) / sizes[:, None]
    weights = inverse @ seen
    names = [name for index, name in enumerate(numbers.terms) if index in kept]
    # How far each weight may be off for errors of one bound in every number.
    slack = np.abs(inverse).sum(axis=1)
    return Weights(
        terms=tuple(map(_term, names, weights, inverse @ right, slack)),
        left=float(np.abs(columns[:, kept] @ weights - seen).max()),
        off=float(np.abs(seen - right).max()),
    )


def _independent(columns: Array) -> list[int]:
    """Return the columns that are no sum of those before them."""
    sizes = np.linalg.norm(columns, axis=0)
    units = columns / np.where(sizes > 0, sizes, 1)
    kept: list[int] = []
    for index in range(units.shape[1]):
        # Without pivoting, so that of columns that say the same the first is kept. The last element of the triangle
        # is what of this column lies in none of those kept; as many columns as rows leave nothing of a further one.
        if len(kept) < len(units):
            triangle = np.asarray(np.linalg.qr(units[:, [*kept, index]], mode="r"))
            if abs(triangle[-1, -1]) > _DEPENDENT:
                kept.append(index)
    return kept


def _term(name: str, seen: float, right: float, slack: float) -> Term:
    """Return a term with both weights in as many digits as tell them apart, and no more than the bounds support."""
    fewest, most = _DIGITS
    digits = fewest
    while digits < most and abs(seen - right) > 2 * slack and f"{seen:.{digits}g}" == f"{right:.{digits}g}":
        digits += 1
    return Term(name=name, observed=_supported(seen, slack), right=_supported(right, slack), digits=digits)


def _supported(weight: float, slack: float) -> float:
    """Return the weight, rounded to the decimal places that the slack supports."""
    if abs(weight) <= slack:
        return 0.0
    places = math.floor(-math.log10(2 * slack)) if slack > 0 else _DIGITS[1]
    return float(round(weight, places)) + 0.0
