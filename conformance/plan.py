"""Which cells a run has: every case, for every implementation, mode and device that is offered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from conformance.case import Case
from conformance.dialect import FIELDS, allows
from conformance.errors import UsageError
from conformance.protocol import Declared
from conformance.registry import WorkerKey
from conformance.spec import Located
from conformance.tier import Tier, Tiers


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
    #: `start`, `state` and each step's kind -> its function, as the adapter's file names it.
    functions: Mapping[str, str] = field(default_factory=dict)

    @property
    def keeps_state(self) -> bool:
        """Whether it keeps the moving values itself; else its caller does."""
        return all(each.value == "layer" for each in self.profile if each.field == "state")


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
    #: The adapter's file.
    source: str = ""


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
    """Yield the cells of the selected cases, case by case; a worker that serves other dtypes has none."""
    tiers = tiers or Tiers()
    gathered = list(offers)
    for index, located in enumerate(cases):
        case = located.case
        if not selection.takes_case(case):
            continue
        modes = tiers.modes(selection.tier, case.id)
        for offer in gathered:
            if offer.key.dtypes is not None and case.dtype not in offer.key.dtypes:
                continue
            for implementation in offer.implementations:
                if implementation.op != case.op:
                    continue
                reason = _unsupported(case, implementation) or offer.reasons[implementation.name][index]
                for mode in (each for each in implementation.modes if each in modes):
                    for device in implementation.devices:
                        if selection.takes(implementation.name, mode, device):
                            yield Cell(
                                case=case,
                                implementation=implementation,
                                mode=mode,
                                device=device,
                                key=offer.key,
                                unsupported=reason,
                            )


def offer_from(key: WorkerKey, described: Mapping[str, Any], reasons: Mapping[str, Sequence[str | None]]) -> Offer:
    """Return the offer that a worker described in JSON values. Raises `UsageError` on a profile that cannot be."""
    return Offer(
        key=key,
        library=described["library"],
        versions=described["versions"],
        settings=described["settings"],
        host=described["host"],
        source=described["source"],
        implementations=tuple(_offered(each) for each in described["implementations"]),
        reasons=reasons,
    )


def _offered(described: Mapping[str, Any]) -> Offered:
    for declared in described["profile"]:
        if not allows(declared["field"], declared["value"]):
            where = f"{described['name']}: its profile declares {declared['field']} = {declared['value']!r}"
            raise UsageError(f"{where}; expected one of {', '.join(FIELDS)} with a value of conformance/protocol.py")
    profile = tuple(
        Declared(**{**each, "ranks": None if each["ranks"] is None else tuple(each["ranks"])})
        for each in described["profile"]
    )
    listed = ("modes", "devices", "dtypes", "steps", "lacks")
    return Offered(**{**described, **{name: tuple(described[name]) for name in listed}, "profile": profile})


def _unsupported(case: Case, implementation: Offered) -> str | None:
    if case.dtype not in implementation.dtypes:
        return f"does not take {case.dtype}"
    kinds: set[str] = {step.step for step in case.performed}
    missing = kinds - set(implementation.steps)
    return f"has no step {', '.join(sorted(missing))}" if missing else None


def _any(globs: tuple[str, ...], name: str) -> bool:
    return not globs or any(fnmatchcase(name, glob) for glob in globs)
