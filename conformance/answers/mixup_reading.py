"""A reading of a person's numbers while it is sought: what it takes otherwise, its price, and how far it is off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from conformance.answers.explain_subject import Subject
from conformance.answers.explanation import Difference, Reading
from conformance.answers.mixup_choices import Choice
from conformance.answers.shown import values_of
from conformance.runfile.numbers import number

Array = np.ndarray[Any, np.dtype[Any]]
Performs = Literal["train", "infer"]

#: How many readings are told, and how much dearer than the plainest one they may be.
_TOLD, _DEARER = 4, 0.6
_OTHER = {"train": "inference", "infer": "training"}
_HEADS = {"train": "training, by the batch's own statistics", "infer": "inference, by the moving values"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """One reading."""

    performs: Performs
    axes: tuple[int, ...]
    epsilon: float
    choices: tuple[Choice, ...]
    #: The largest error in units of what is left open; at most 1 where the reading fits.
    off: float
    gives: Mapping[str, Array]

    @property
    def price(self) -> float:
        """How far-fetched it is."""
        return sum(choice.price for choice in self.choices)

    @property
    def differences(self) -> tuple[Difference, ...]:
        """What it takes otherwise than was said, or than is usual."""
        return tuple(one for choice in self.choices for one in choice.differences)

    @property
    def manner(self) -> tuple[object, ...]:
        """What it has in common with readings that differ from it by a number alone."""
        return (self.performs, self.axes, *(one.id for one in self.differences))


def mode_choice(subject: Subject, performs: Performs) -> Choice:
    """Return the choice of that pass: dear where another one was said."""
    said = "train" if subject.case.performed[-1].step == "train" else "infer"
    if "mode" not in subject.given or said == performs:
        return Choice()
    return Choice(price=1.0, differences=(Difference(id="mode", words=f"in place of {_OTHER[performs]}"),))


def fitting(readings: Sequence[Found]) -> list[Found]:
    """Return the readings that fit, the plainest first, and of those that differ by a number alone the plainest."""
    fits = sorted((one for one in readings if one.off <= 1), key=lambda one: (round(one.price, 3), one.off))
    by_manner: dict[tuple[object, ...], Found] = {}
    for one in fits:
        by_manner.setdefault(one.manner, one)
    return [one for one in by_manner.values() if one.price <= fits[0].price + _DEARER][:_TOLD]


def nearest(readings: Sequence[Found]) -> list[Found]:
    """Return the two readings that come nearest."""
    return sorted(readings, key=lambda one: (one.off, one.price))[:2]


def told(subject: Subject, reading: Found) -> Reading:
    """Return the reading as it is told."""
    dtype = subject.case.dtype
    return Reading(
        words=", ".join([_HEADS[reading.performs], *(one.words for one in reading.differences)]),
        performs=reading.performs,
        feature_axes=reading.axes,
        epsilon=reading.epsilon,
        differences=reading.differences,
        off=number(reading.off),
        gives=tuple(values_of(name, np.asarray(array), dtype) for name, array in reading.gives.items()),
    )
