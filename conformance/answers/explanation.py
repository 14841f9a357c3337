"""An explanation as values: what `conformance explain --json` writes.

Field docstrings are what the published JSON Schema says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from conformance.files.json_text import CLOSED
from conformance.runfile.numbers import Number

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """One quantity, or the first of its values."""

    __pydantic_config__: ClassVar = CLOSED
    quantity: str
    shape: tuple[int, ...]
    first: tuple[Number, ...]
    """In row-major order; all of them where there are few."""
    texts: tuple[str, ...]
    """The same as they are shown, with the digits that the dtype has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PutIn:
    """One equation with its numbers put in."""

    __pydantic_config__: ClassVar = CLOSED
    feature: tuple[int, ...]
    """The index along the feature axes."""
    symbol: str
    numbers: str
    value: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class Instead:
    """What the step would give if one thing were done otherwise, as a person may have expected it."""

    __pydantic_config__: ClassVar = CLOSED
    id: str
    """A cause of the catalogue, or `axis` or `operation`."""
    words: str
    gives: tuple[Values, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """Numbers that the source of a case printed."""

    __pydantic_config__: ClassVar = CLOSED
    quantity: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedStep:
    """One step: what it computes, and the state around it."""

    __pydantic_config__: ClassVar = CLOSED
    number: int
    kind: str
    performs: Literal["train", "infer", ""]
    """The pass whose formulas it follows; empty where it computes none."""
    formula: str
    shape: tuple[int, ...]
    """Of its input."""
    reduced: int
    """How many values each statistic of its batch would be over."""
    before: tuple[Values, ...]
    after: tuple[Values, ...]
    gives: tuple[Values, ...]
    equations: tuple[PutIn, ...]
    """Of the first few features."""
    printed: tuple[Printed, ...]
    instead: tuple[Instead, ...]
    unshown: tuple[str, ...]
    """What cannot be shown of such a step, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeCall:
    """How one implementation is told this in its own words, or why it cannot be."""

    __pydantic_config__: ClassVar = CLOSED
    implementation: str
    call: str
    """As Python; empty where it cannot be told."""
    reason: str
    """Why it cannot be told; empty where it can."""
    conventions: tuple[str, ...]
    """Where its own documentation or source code says that it follows another convention than the numbers above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that a reading of the numbers takes otherwise than it was said, or than is usual."""

    __pydantic_config__: ClassVar = CLOSED
    id: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a person's numbers may be."""

    __pydantic_config__: ClassVar = CLOSED
    words: str
    performs: Literal["train", "infer"]
    feature_axes: tuple[int, ...]
    """Empty where one statistic is over all values."""
    epsilon: float
    differences: tuple[Difference, ...]
    off: Number
    """The largest error, in units of what the digits and the rounding of the dtype leave open; at most 1 where it fits."""
    gives: tuple[Values, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosed:
    """What a person's numbers are: the readings that fit, the plainest first, or those that come nearest."""

    __pydantic_config__: ClassVar = CLOSED
    asked: Literal["got", "expected"]
    numbers: tuple[Printed, ...]
    fits: bool
    readings: tuple[Reading, ...]
    note: str
    """What else can be told where nothing fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a case, or a person's own data, gives and why."""

    __pydantic_config__: ClassVar = CLOSED
    format: int
    subject: str
    """The id of the case; empty of a person's own data."""
    title: str
    source: str
    op: str
    dtype: str
    shape: tuple[int, ...]
    feature_axes: tuple[int, ...]
    """Kept: one statistic for each index along them."""
    reduction_axes: tuple[int, ...]
    """Collapsed."""
    features: tuple[int, ...]
    """The shape of every statistic."""
    reduced: int
    """How many values each statistic is over."""
    epsilon: float
    decay: float
    assumed: tuple[str, ...]
    """What was not said, and what is taken instead."""
    steps: tuple[ExplainedStep, ...]
    omitted: int
    """How many steps between the first and the last ones are not shown."""
    diagnosed: tuple[Diagnosed, ...]
    calls: tuple[NativeCall, ...] = field(default=())
