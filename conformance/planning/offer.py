"""An offer from what a worker described: data of an adapter's author, checked whole before a cell is planned from it.

What is wrong with it costs that adapter, in one line, and no other.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from conformance.dialect import FIELDS, allows, values_of
from conformance.errors import UsageError
from conformance.operations import OPERATIONS
from conformance.planning.discovery import DTYPES, WorkerKey
from conformance.planning.plan import Offer, Offered
from conformance.protocol import Declared
from conformance.spec.tiers import DEVICES, MODES

STEPS = ("train", "infer", "reload", "freeze", "unfreeze", "sgd")
#: What timing needs of an implementation, and what it may have beside that.
TIMED = ("put", "get", "wait")
TIMED_TOO = ("clock", "copy", "infer", "train_forward", "train", "infer_into")

#: What no name may have: it is part of cells' names, which pages, globs and pytest take apart.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_LONGEST = 100

_Text = Annotated[str, Meta(max_length=2_000)]
_Names = Annotated[tuple[_Text, ...], Meta(max_length=100)]


class _Declared(Struct, frozen=True, forbid_unknown_fields=True):
    field: _Text
    value: str | int | bool
    source: Literal["documentation", "source code", "observed"]
    where: _Text
    error: _Text | None
    ranks: tuple[int, ...] | None


class _Implementation(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    op: _Text
    modes: _Names
    devices: _Names
    dtypes: _Names
    steps: _Names
    lacks: _Names
    profile: tuple[_Declared, ...]
    documentation: _Text
    functions: dict[str, str]
    given: _Names = ()
    timed: _Names = ()
    names: dict[str, _Text] = {}


class _Described(Struct, frozen=True, forbid_unknown_fields=True):
    library: Annotated[str, Meta(min_length=1, max_length=100)]
    versions: dict[str, _Text]
    settings: dict[str, _Text]
    host: dict[str, str]
    sources: dict[str, str]
    implementations: Annotated[tuple[_Implementation, ...], Meta(min_length=1, max_length=1_000)]


def offer_from(key: WorkerKey, described: object, reasons: object, asked: int) -> Offer:
    """Return the offer that a worker described in JSON values, with its reasons for so many configurations.

    Where nothing was `asked`, it may have given none. Raises `UsageError` where it is none.
    """
    try:
        offered = msgspec.convert(described, _Described)
        by_name = msgspec.convert(reasons, dict[str, list[str | None]])
    except msgspec.ValidationError as error:
        raise UsageError(_said(str(error), described)) from error
    except UnicodeEncodeError as error:
        raise UsageError(
            f"what is declared holds {error.object[error.start : error.end]!r}, which is no character"
        ) from error
    names = [implementation.name for implementation in offered.implementations]
    for implementation in offered.implementations:
        _check(implementation, names)
    if asked and (by_name.keys() != set(names) or any(len(listed) != asked for listed in by_name.values())):
        raise UsageError("`supports` was not answered for each implementation and configuration")
    return Offer(
        key=key,
        library=offered.library,
        versions=offered.versions,
        settings=offered.settings,
        host=offered.host,
        sources=offered.sources,
        implementations=tuple(_offered(implementation) for implementation in offered.implementations),
        reasons=by_name,
    )


def check_unique(offers: Iterable[Offer], offer: Offer) -> None:
    """Raise `UsageError` where an implementation of the offer has the name of one that another adapter offers."""
    owners = {
        implementation.name: other.key
        for other in offers
        if (other.key.adapter, other.key.attribute) != (offer.key.adapter, offer.key.attribute)
        for implementation in other.implementations
    }
    for implementation in offer.implementations:
        if implementation.name in owners:
            owner = owners[implementation.name]
            raise UsageError(f"{implementation.name}: is the name of an implementation of {owner.file_name} too")


def _offered(implementation: _Implementation) -> Offered:
    fields: dict[str, Any] = msgspec.structs.asdict(implementation)
    profile = tuple(Declared(**msgspec.structs.asdict(declared)) for declared in implementation.profile)
    return Offered(**{**fields, "profile": profile})


def _check(implementation: _Implementation, names: Sequence[str]) -> None:
    name = implementation.name
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        rule = f"expected A-Z a-z 0-9 _ . + - alone, up to {_LONGEST} characters"
        raise UsageError(f"{_short(name)}: cannot be the name of an implementation: {rule}")
    if names.count(name) > 1:
        raise UsageError(f"{name}: is the name of {names.count(name)} implementations")
    _check_known(name, "op", [implementation.op], OPERATIONS)
    for field, words in (("modes", MODES), ("devices", DEVICES), ("dtypes", DTYPES), ("steps", STEPS)):
        listed = getattr(implementation, field)
        _check_known(name, field, listed, words)
        if not listed:
            raise UsageError(f"{name}: {field}: expected some of {', '.join(words)}, got none")
    # Rows of several operations share what their library lacks.
    quantities = sorted({quantity for operation in OPERATIONS.values() for quantity in operation.quantities})
    _check_known(name, "lacks", implementation.lacks, quantities)
    _check_known(name, "given", implementation.given, quantities)
    _check_known(name, "timed", implementation.timed, (*TIMED, *TIMED_TOO))
    lacking = set(TIMED) - set(implementation.timed)
    if implementation.timed and lacking:
        raise UsageError(f"{name}: `timed` has no {', '.join(sorted(lacking))}")
    for declared in implementation.profile:
        _check_known(name, "profile", [declared.field], FIELDS)
        if not allows(declared.field, declared.value):
            known = ", ".join(map(str, values_of(declared.field)))
            where = f"{name}: its profile declares {declared.field} = {_short(declared.value)}"
            raise UsageError(f"{where}; expected one of {known}")


def _check_known(name: str, field: str, listed: Iterable[str], known: Collection[str]) -> None:
    for value in listed:
        if value not in known:
            near = difflib.get_close_matches(value, known, 1)
            meant = f"; did you mean {near[0]}?" if near else f": expected one of {', '.join(known)}"
            raise UsageError(f"{name}: {field}: {_short(value)} is unknown{meant}")


def _said(complaint: str, described: object) -> str:
    """Return a complaint about a description with the implementation's name in place of its number."""
    what, _, path = complaint.partition(" - at `$.")
    path = path.rstrip("`")
    place = re.fullmatch(r"implementations\[(\d+)\]\.(.+)", path)
    match described:
        case {"implementations": [*listed]} if place and int(place[1]) < len(listed):
            name = listed[int(place[1])].get("name") if isinstance(listed[int(place[1])], dict) else None
            path = f"{_short(name)}: {place[2]}"
        case _:
            pass
    return f"{path}: {what[0].lower()}{what[1:]}".removeprefix(": ")


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
