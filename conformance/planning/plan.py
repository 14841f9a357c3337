"""Which cells a run has: every case, for every implementation, mode and device that is offered."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from conformance.operations import OPERATIONS
from conformance.planning.discovery import WorkerKey, limited
from conformance.protocol import Declared
from conformance.spec.case import Case, Step, handed
from conformance.spec.loader import Located
from conformance.spec.tiers import Tier, Tiers


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """An implementation as its worker describes it."""

    name: str
    op: str
    modes: tuple[str, ...]
    devices: tuple[str, ...]
    dtypes: tuple[str, ...]
    steps: tuple[str, ...]
    lacks: tuple[str, ...]
    profile: tuple[Declared, ...]
    documentation: str
    #: State that each call is handed as an argument.
    given: tuple[str, ...] = ()
    #: What it is timed by: its passes among them.
    timed: tuple[str, ...] = ()
    #: `start`, `state` and each step's kind -> its function, as the adapter's file names it.
    functions: Mapping[str, str] = field(default_factory=dict)
    #: State -> what the library saves it as, with `*` for the layer's own place.
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def keeps_state(self) -> bool:
        """Whether it keeps the moving values itself; else its caller does."""
        return all(declared.value == "layer" for declared in self.profile if declared.field == "state")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What one worker offers, and the process that offers it."""

    key: WorkerKey
    library: str
    versions: Mapping[str, str]
    settings: Mapping[str, str]
    host: Mapping[str, str]
    implementations: tuple[Offered, ...]
    #: Implementation -> one reason or None per configuration asked.
    reasons: Mapping[str, Sequence[str | None]]
    #: The texts of the adapter's file and of those of ours that it imports, by module: each after what it imports.
    sources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cell:
    """Case, implementation, mode and device: the unit that is run, judged and recorded."""

    case: Case
    implementation: Offered
    mode: str
    device: str
    key: WorkerKey
    #: Why the implementation cannot express the case; None where it can.
    unsupported: str | None

    @property
    def column(self) -> str:
        """Implementation, mode and device."""
        return f"{self.implementation.name}-{self.mode}-{self.device}"

    @property
    def id(self) -> str:
        """Unique in a run, and the same in every run."""
        return f"{self.case.id}::{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a person narrowed the run to; empty means everything that the tier has."""

    implementations: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    tier: Tier = Tier.STANDARD

    def takes_case(self, case: Case) -> bool:
        """Return whether the case is selected."""
        return _any(self.cases, case.id)

    def takes(self, implementation: str, mode: str, device: str) -> bool:
        """Return whether cells of that implementation, mode and device are selected."""
        return (
            _any(self.implementations, implementation)
            and (not self.modes or mode in self.modes)
            and (not self.devices or device in self.devices)
        )


def plan(
    cases: Sequence[Located], offers: Iterable[Offer], selection: Selection, tiers: Tiers | None = None
) -> Iterator[Cell]:
    """Yield the cells of the selected cases, case by case.

    A worker that serves other dtypes, or has another number of threads than the case names, has none.
    """
    tiers = tiers or Tiers()
    gathered = list(offers)
    groups = {offer.key.group for offer in gathered}
    for index, located in enumerate(cases):
        case = located.case
        if not selection.takes_case(case):
            continue
        modes = {group: tiers.modes(selection.tier, case.id, group) for group in groups}
        for offer in gathered:
            if not _serves(offer.key, case):
                continue
            for implementation, mode, device in _columns(offer, case, selection, modes[offer.key.group]):
                yield Cell(
                    case=case,
                    implementation=implementation,
                    mode=mode,
                    device=device,
                    key=offer.key,
                    unsupported=_unsupported(case, implementation)
                    or _unthreaded(case, device, offer.key)
                    or offer.reasons[implementation.name][index],
                )


def nothing_planned(selection: Selection, offers: Iterable[Offer]) -> str:
    """Return in one line why no cell is selected, of a selection that takes a case."""
    rows = [implementation for offer in offers for implementation in offer.implementations]
    names = sorted({row.name for row in rows})
    asked_for = [row for row in rows if _any(selection.implementations, row.name)]
    devices = dict.fromkeys(device for row in asked_for for device in row.devices)
    if devices and selection.devices and not set(selection.devices) & set(devices):
        asked = " or ".join(selection.devices)
        return f"nothing selected: --device {asked}: nothing here computes on it, only on {' and '.join(devices)}"
    return f"nothing selected: no cell of {', '.join(names) or 'no implementation'} matches"


def thread_keys(
    cases: Sequence[Located], offers: Iterable[Offer], selection: Selection, tiers: Tiers | None = None
) -> tuple[WorkerKey, ...]:
    """Return the further processes that selected cases need, which name a number of threads."""
    tiers = tiers or Tiers()
    selected = [entry.case for entry in cases if selection.takes_case(entry.case)]
    named = [(case, case.threads) for case in selected if case.threads is not None]
    by_name: dict[str, WorkerKey] = {}
    for offer, (case, threads) in itertools.product(offers, named):
        key = limited(offer.key, threads)
        modes = tiers.modes(selection.tier, case.id, offer.key.group)
        devices = {device for _, _, device in _columns(offer, case, selection, modes)}
        if offer.key.limits and _serves(key, case) and "cpu" in devices:
            by_name.setdefault(key.name, key)
    return tuple(by_name.values())


def _columns(
    offer: Offer, case: Case, selection: Selection, modes: frozenset[str]
) -> Iterator[tuple[Offered, str, str]]:
    """Yield the selected implementations of the case's operation, each in each of the modes and on each device."""
    for implementation in offer.implementations:
        if implementation.op != case.op:
            continue
        for mode, device in itertools.product(implementation.modes, implementation.devices):
            if mode in modes and selection.takes(implementation.name, mode, device):
                yield implementation, mode, device


def _serves(key: WorkerKey, case: Case) -> bool:
    """Return whether cells of the case are this process's; where none can limit its threads, any is."""
    if key.dtypes is not None and case.dtype not in key.dtypes:
        return False
    return key.threads == case.threads or (key.threads is None and not key.limits)


def _unthreaded(case: Case, device: str, key: WorkerKey) -> str | None:
    """Return why a number of threads cannot be had; None where it can or none is named."""
    if case.threads is None:
        return None
    if device != "cpu":
        return "a number of threads is a setting of the CPU"
    return None if key.threads is not None else key.unlimited


def _unsupported(case: Case, implementation: Offered) -> str | None:
    if case.dtype not in implementation.dtypes:
        return f"does not take {case.dtype}"
    kinds: set[str] = {step.step for step in case.performed}
    missing = kinds - set(implementation.steps)
    if missing:
        return f"has no step {', '.join(sorted(missing))}"
    return next((why for step in case.performed if (why := _unhanded(case, step, implementation))), None)


def _unhanded(case: Case, step: Step, implementation: Offered) -> str | None:
    """Return why a call cannot be handed what the step wants to hand it; None where it can."""
    for name in handed(step):
        if name not in implementation.given:
            return f"no call is handed {name}, so that none can have another size than the layer's"
        if step.step == "train" and not implementation.keeps_state and _is_moving(case, name):
            return f"its caller keeps {name}, and no call in training is handed it"
    return None


def _is_moving(case: Case, name: str) -> bool:
    return OPERATIONS[case.op].quantities[name].role == "state"


def _any(globs: tuple[str, ...], name: str) -> bool:
    return not globs or any(fnmatchcase(name, glob) for glob in globs)
