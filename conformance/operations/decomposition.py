"""What deviating numbers are made of, where no hypothesis explains them: their weights on the terms of the formula.

The weights are fitted by least squares, with errors measured in units of the bound. The right numbers are fitted by the
same terms, so that a missing term, a wrong decay or a wrong scale shows as a difference between the two weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.cause import CONSTANT, Parameter, Term
from conformance.operations.expected import Expected
from conformance.precision import Precision, precision, storage_rounding

Array = np.ndarray[Any, np.dtype[Any]]

#: A term counts as a sum of other terms, and gets no weight, if what distinguishes it from their best combination is no
#: larger than this part of the term itself: its weight could not be told from theirs.
_DEPENDENT = 1e-7
#: The fewest and the most significant digits with which a weight is given.
_DIGITS = (3, 12)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Numbers:
    """The numbers whose weights are fitted, one in each row."""

    observed: Array
    right: Array
    #: The bound of each number.
    scale: Array
    #: The terms by name, each with its value for every number.
    terms: Mapping[str, Array]

    def among(self, rows: Array) -> _Numbers:
        """Return the numbers in `rows` alone."""
        terms = {name: column[rows] for name, column in self.terms.items()}
        return _Numbers(observed=self.observed[rows], right=self.right[rows], scale=self.scale[rows], terms=terms)

    def with_terms(self, terms: Mapping[str, Array]) -> _Numbers:
        """Return the same numbers with other terms."""
        return _Numbers(observed=self.observed, right=self.right, scale=self.scale, terms=terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The weight of each term in the observed numbers, and in the right ones."""

    terms: tuple[Term, ...]
    #: The largest distance of an observed number from the weighted sum, in bounds.
    left: float
    #: The largest distance of an observed number from the right one, in bounds.
    off: float
    #: Where the weights are those of one feature: its number, how many features are off, and how many there are.
    feature: tuple[int, int, int] | None = None

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The weights as the parameters of a cause."""
        parameters: dict[str, Parameter] = {"terms": self.terms, "left": self.left, "off": self.off}
        if self.feature is not None:
            parameters |= dict(zip(("feature", "features_off", "features"), self.feature, strict=True))
        return parameters


def made_of(observed: Array, expected: Expected, terms: Mapping[str, Array], worked: Precision) -> Weights | None:
    """Return the weights of the terms in `observed`; None where there are too few numbers to fit them.

    `observed` has the shape of `expected.value`. All features get the same weights if these explain the numbers within
    the bound; otherwise the weights are those of the feature that is furthest off.
    """
    shape = expected.value.shape
    allowed = storage_rounding(expected.bound, expected.value, observed.dtype.name, worked)
    unit = precision(observed.dtype.name)
    scale = np.where(allowed > 0, allowed, unit.unit * np.abs(expected.value) + unit.tiny)
    numbers = _Numbers(
        observed=_column(observed, shape),
        right=_column(expected.value, shape),
        scale=_column(scale, shape),
        terms={name: _column(np.asarray(term), shape) for name, term in terms.items()},
    )
    with np.errstate(all="ignore"):
        together = _best(numbers)
        if len(shape) == 1 or (together is not None and together.left <= 1):
            return together
        off = np.abs(numbers.observed - numbers.right) / numbers.scale
        worst = np.nan_to_num(off, nan=0.0, posinf=0.0).reshape(shape).max(axis=0, initial=0.0)
        feature = int(worst.argmax())
        alone = _best(_constants_as_one(numbers.among(np.arange(off.size) % shape[1] == feature)))
    if alone is None:
        return together
    return replace(alone, feature=(feature, int((worst > 1).sum()), shape[1]))


def _column(values: Array, shape: tuple[int, ...]) -> Array:
    return np.broadcast_to(values, shape).astype(np.float64).reshape(-1)


def _best(numbers: _Numbers) -> Weights | None:
    """Return the weights on the terms; with a constant as a further term where only that explains the numbers."""
    plain = _weigh(numbers)
    if plain is not None and plain.left > 1 and CONSTANT not in numbers.terms:
        shifted = _weigh(numbers.with_terms({**numbers.terms, CONSTANT: np.ones_like(numbers.observed)}))
        if shifted is not None and shifted.left <= 1:
            return shifted
    return plain


def _constants_as_one(numbers: _Numbers) -> _Numbers:
    """Return one feature's numbers with one constant in place of the terms that do not vary within the feature.

    Several such terms cannot be told apart. A single one is kept.
    """
    varying = {name: column for name, column in numbers.terms.items() if np.ptp(column) > 0}
    if len(numbers.terms) - len(varying) < 2:
        return numbers
    return numbers.with_terms({**varying, CONSTANT: np.ones_like(numbers.observed)})


def _weigh(numbers: _Numbers) -> Weights | None:
    """Return the least-squares weights; None where there are no more numbers than terms to fit."""
    columns = np.stack([*numbers.terms.values()], axis=-1) / numbers.scale[:, None]
    observed, right = numbers.observed / numbers.scale, numbers.right / numbers.scale
    usable = np.isfinite(columns).all(axis=1) & np.isfinite(observed) & np.isfinite(right)
    columns, observed, right = columns[usable], observed[usable], right[usable]
    kept = _independent(columns)
    if not kept or len(observed) <= len(kept):
        return None
    sizes = np.linalg.norm(columns[:, kept], axis=0)
    inverse = np.linalg.pinv(columns[:, kept] / sizes) / sizes[:, None]
    weights = inverse @ observed
    names = [name for index, name in enumerate(numbers.terms) if index in kept]
    # How far each weight may be off for errors of one bound in every number.
    slack = np.abs(inverse).sum(axis=1)
    return Weights(
        terms=tuple(map(_term, names, weights, inverse @ right, slack)),
        left=float(np.abs(columns[:, kept] @ weights - observed).max()),
        off=float(np.abs(observed - right).max()),
    )


def _independent(columns: Array) -> list[int]:
    """Return the columns that are not a weighted sum of columns before them."""
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


def _term(name: str, observed: float, right: float, slack: float) -> Term:
    """Return a term with both weights in as many digits as tell them apart, and no more than the bounds support."""
    fewest, most = _DIGITS
    digits = fewest
    while digits < most and abs(observed - right) > 2 * slack and f"{observed:.{digits}g}" == f"{right:.{digits}g}":
        digits += 1
    return Term(name=name, observed=_supported(observed, slack), right=_supported(right, slack), digits=digits)


def _supported(weight: float, slack: float) -> float:
    """Return the weight, rounded to the decimal places that the slack supports."""
    if abs(weight) <= slack:
        return 0.0
    places = math.floor(-math.log10(2 * slack)) if slack > 0 else _DIGITS[1]
    return float(round(weight, places)) + 0.0
