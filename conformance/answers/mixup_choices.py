"""What a person may have set otherwise than they say, or leaves unsaid: choices of each setting, each with its price.

The price is how far-fetched a choice is: 0 for what was said and for what is usual where nothing was said, about 1 for
one thing other than was said.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from conformance.answers.axes import kept, kept_otherwise
from conformance.answers.explain_subject import Subject
from conformance.answers.explanation import Difference

Array = np.ndarray[Any, np.dtype[Any]]

#: The epsilons and decays that libraries have by default, the most usual first, and smaller epsilons that people write.
DEFAULT_EPSILONS, DEFAULT_DECAYS = (1e-3, 1e-5), (0.99, 0.9, 0.999)
_SMALL_EPSILONS = (1e-4, 1e-6, 1e-7, 1e-8, 1e-12)
#: Numbers of train steps that are tried: each up to a hundred, and some round ones.
_STEPS = (*range(1, 101), 128, 200, 256, 300, 400, 500, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One way to have a setting, with what it does otherwise than was said or is usual."""

    price: float = 0.0
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AxesChoice(Choice):
    """Feature axes; none where one statistic is over all values."""

    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpsilonChoice(Choice):
    """An epsilon and where it stands."""

    value: float
    place: Literal["inside", "outside"] = "inside"


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoredChoice(Choice):
    """Learned parameters that have no effect."""

    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedChoice(Choice):
    """How the moving values came about: so many train steps on the data at a decay, from what they were before."""

    trained: int = 0
    decay: float = 0.0

    @property
    def kept(self) -> float:
        """The weight that the values before have afterwards."""
        return self.decay**self.trained if self.trained else 1.0


def axes_choices(subject: Subject) -> Iterator[AxesChoice]:
    """Yield the feature axes that may have been meant."""
    shape, own = subject.case.configuration.shape, subject.case.configuration.feature_axes
    yield AxesChoice(axes=own)
    said = "feature_axes" in subject.given
    for position, axes in enumerate(kept_otherwise(shape, own)):
        named = f"{'axis' if len(axes) == 1 else 'axes'} {', '.join(map(str, axes))} kept"
        words = f"{named} in place of {', '.join(map(str, own))}" if said else named
        unusual = 0.25 if axes in kept(len(shape))[:2] else 0.5
        yield AxesChoice(
            axes=axes, price=(1.0 if said else unusual) + 0.01 * position, differences=(_said("axis", words),)
        )
    if math.prod(shape[axis] for axis in own) > 1:
        yield AxesChoice(
            axes=(), price=1.25 if said else 0.75, differences=(_said("axis", "one statistic over all values"),)
        )


def epsilon_choices(subject: Subject) -> Iterator[EpsilonChoice]:
    """Yield the epsilons that may have been taken: that which was said, the usual ones, none, and one outside the root."""
    if "moving_variance" not in subject.operation.quantities:
        yield EpsilonChoice(value=subject.case.epsilon)
        return
    own, said = subject.case.epsilon, "epsilon" in subject.given
    yield EpsilonChoice(value=own)
    instead = f" in place of {own:g}" if said else ""
    for value in (*DEFAULT_EPSILONS, *_SMALL_EPSILONS):
        if value != own:
            usual = value in DEFAULT_EPSILONS
            price = (1.0 if said else 0.05) if usual else (1.25 if said else 0.4)
            yield EpsilonChoice(
                value=value, price=price, differences=(_said("epsilon", f"epsilon {value:g}{instead}"),)
            )
    if own:
        yield EpsilonChoice(
            value=0.0, price=1.0 if said else 0.2, differences=(_said("epsilon-dropped", "without epsilon"),)
        )
    for value in (own, *(() if said else DEFAULT_EPSILONS)):
        if value:
            words = f"epsilon {value:g} outside the root"
            yield EpsilonChoice(
                value=value, place="outside", price=1.0, differences=(_said("epsilon-outside-root", words),)
            )


def ignored_choices(subject: Subject, state: Mapping[str, Array]) -> Iterator[IgnoredChoice]:
    """Yield which learned parameters may have been left out, of those that do anything."""
    learned = subject.operation.named(subject.case.configuration, "learned")
    telling = [name for name in learned if (state[name] != subject.operation.initial[name]).any()]
    for count in range(len(telling) + 1):
        for names in itertools.combinations(telling, count):
            words = tuple(_said("parameter-ignored", f"without {name}") for name in names)
            yield IgnoredChoice(ignored=names, price=float(len(names)), differences=words)


def moved_choices(subject: Subject) -> Iterator[MovedChoice]:
    """Yield by which train steps on the data the moving values may have come about, from those that are given."""
    own, trained = subject.case.decay, subject.trained
    yield MovedChoice(trained=trained, decay=own)
    if trained:
        yield MovedChoice(price=1.0, differences=(_said("moving-not-updated", "moving values not updated"),))
    state = subject.operation.named(subject.case.configuration, "state")
    said = bool(trained) or not subject.given.isdisjoint(state)
    for decay, (price, differences) in _decays(subject).items():
        for count in _STEPS if state else ():
            plain = count == trained
            if plain and not differences:
                continue
            base = 0.0 if plain else (1.0 if said else 0.3) + 0.1 * math.log10(count)
            steps = (
                ""
                if plain
                else f"after {count} train step{'s' if count > 1 else ''} on these data at decay {decay:.6g}"
            )
            stepped = (_said("steps", steps),) if steps else ()
            yield MovedChoice(trained=count, decay=decay, price=base + price, differences=(*stepped, *differences))


_Decay: TypeAlias = tuple[float, tuple[Difference, ...]]
#: The price of a decay that is not otherwise than was said, and its differences.
_AS_SAID: _Decay = (0.0, ())


def _decays(subject: Subject) -> dict[float, _Decay]:
    """Return the decays that may have been taken, each with its price and what it does otherwise."""
    own = subject.case.decay
    if "decay" not in subject.given:
        swapped = {round(1 - value, 12): (0.3, (_inverted(value),)) for value in DEFAULT_DECAYS}
        return {**dict.fromkeys(DEFAULT_DECAYS, _AS_SAID), **swapped}
    others = {value: (1.0, (_said("decay", f"decay {value:g} in place of {own:g}"),)) for value in DEFAULT_DECAYS}
    return {**others, round(1 - own, 12): (0.9, (_inverted(own),)), own: _AS_SAID}


def _inverted(decay: float) -> Difference:
    words = f"{decay:.6g} taken for the weight of the new value, where it is that of the old one"
    return _said("decay-inverted", words)


def _said(id_: str, words: str) -> Difference:
    return Difference(id=id_, words=words)
