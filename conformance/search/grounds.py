"""The processes that are searched: which of what is offered takes part, and a bench over each."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from conformance.errors import UsageError
from conformance.execution.pool import Workers
from conformance.planning.discovery import WorkerKey
from conformance.planning.plan import Offer, Offered, Selection
from conformance.search.bench import Bench
from conformance.search.hunt import Performs
from conformance.search.pair import PairBench
from conformance.spec.divergences import Listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """The implementation that others are held against, in its process."""

    offer: Offer
    name: str
    #: Whether a difference that is documented or listed is a find as well.
    every: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The process that is searched, with the implementations there that take part."""

    offer: Offer
    selection: Selection
    against: Against | None = None

    @property
    def implementations(self) -> tuple[str, ...]:
        """The names of those that are searched."""
        return self.selection.implementations

    @property
    def device(self) -> str:
        """On which they compute."""
        return self.selection.devices[0]

    @property
    def keys(self) -> tuple[WorkerKey, ...]:
        """The processes that it needs."""
        return tuple(dict.fromkeys([self.offer.key, *([self.against.offer.key] if self.against else [])]))


def grounds_of(
    offers: Sequence[Offer], selection: Selection, against: str | None = None, *, every: bool = False
) -> list[Ground]:
    """Return the processes to search. Raises `UsageError` where there are none."""
    other = None if against is None else Against(offer=_against(offers, selection, against), name=against, every=every)
    grounds = []
    for offer in offers:
        names = [
            offered.name
            for offered in offer.implementations
            if _takes(selection, offered) and (other is None or _comparable(offered, other))
        ]
        if names:
            grounds.append(
                Ground(offer=offer, selection=replace(selection, implementations=tuple(names)), against=other)
            )
    if not grounds and other is not None:
        raise UsageError(f"nothing to compare: none of what is selected computes what {other.name} computes")
    if not grounds:
        raise UsageError("nothing selected: no implementation matches, or none of what matches could be started")
    return grounds


def bench_of(ground: Ground, workers: Workers, divergences: Sequence[Listed]) -> Performs:
    """Return a bench over a ground; an implementation of the same process is held against it there."""
    one = Bench(offer=ground.offer, selection=ground.selection, workers=workers, divergences=divergences)
    if ground.against is None:
        return one
    selection = replace(ground.selection, implementations=(ground.against.name,))
    other = Bench(offer=ground.against.offer, selection=selection, workers=workers, divergences=divergences)
    return PairBench(one=one, other=other, every=ground.against.every)


def _against(offers: Sequence[Offer], selection: Selection, name: str) -> Offer:
    """Return the offer with the implementation to hold others against. Raises `UsageError` where there is none."""
    anything = replace(selection, implementations=())
    names = {one.name: offer for offer in offers for one in offer.implementations if _takes(anything, one)}
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; the nearest name is {near[0]}" if near else ""
        wanted = "expected the name of one implementation that could be started, in that mode and on that device"
        raise UsageError(f"--against {name}: {wanted}{hint}")
    return names[name]


def _comparable(offered: Offered, against: Against) -> bool:
    other = next(one for one in against.offer.implementations if one.name == against.name)
    return offered.name != other.name and offered.op == other.op and not set(offered.dtypes).isdisjoint(other.dtypes)


def _takes(selection: Selection, offered: Offered) -> bool:
    mode, device = selection.modes[0], selection.devices[0]
    return mode in offered.modes and device in offered.devices and selection.takes(offered.name, mode, device)
