"""What travels between a run and a cluster: JSON, checked when it arrives. No function or object of anybody's is in it.

A request is refused in one line where it is not exactly what is expected here, as a case file of a stranger's is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from conformance.errors import UsageError
from conformance.execution.kept_offers import Answered
from conformance.run.programs import ENVIRONMENT
from conformance.runfile.structs import Alternatives, Record
from conformance.runfile.writing import encoded

_Name = Annotated[str, Meta(min_length=1, max_length=300)]
_Seconds = Annotated[float, Meta(gt=0, le=86_400)]
#: Bytes of a request at most.
REQUEST_BYTES = 64 * 2**20

Message = TypeVar("Message", bound=Struct)


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a message is made of."""


class Wanted(Part, frozen=True, kw_only=True):
    """A worker, by names alone: the cluster looks for it among the adapters that it has itself."""

    name: _Name
    #: The adapter's file, as a run file names it, and the attribute there.
    adapter: _Name
    attribute: _Name
    threads: Annotated[int, Meta(ge=1, le=1024)] | None = None
    #: Whether its threads are limited to one, under the same name.
    single: bool = False
    #: The environment whose interpreter it runs in, by the name of its folder; None: that of the group there.
    environment: Annotated[str, Meta(pattern=ENVIRONMENT)] | None = None


class Promise(Part, frozen=True, kw_only=True):
    """A worker, and what it offered when the run was planned: it must offer the same again."""

    worker: Wanted
    #: Of the implementations that take part, without its texts.
    offer: Any
    #: A digest of its texts.
    sources: _Name


class Bounds(Part, frozen=True, kw_only=True):
    """What a worker may take: seconds to import and to answer, and bytes of memory."""

    start: _Seconds
    cell: _Seconds
    memory: Annotated[int, Meta(ge=2**20)]


class Request(Part, frozen=True, kw_only=True):
    """What is asked of a Dask worker that has the same suite."""

    suite: _Name
    bounds: Bounds


class Question(Request, frozen=True, kw_only=True):
    """What workers offer for these configurations is asked."""

    workers: tuple[Wanted, ...]
    configurations: tuple[dict[str, Any], ...]


class Failure(Part, frozen=True, kw_only=True):
    """A worker that could not be asked, with the package that it lacks, if that was the reason."""

    message: str
    missing: str | None = None


class Answers(Part, frozen=True, kw_only=True):
    """What the workers offer, or why they could not be asked, by name; or why the question was refused."""

    offers: dict[str, Answered] = {}
    failures: dict[str, Failure] = {}
    refused: str = ""


class SentCell(Part, frozen=True, kw_only=True):
    """A cell: the place of its case among those of the batch, and its column."""

    case: Annotated[int, Meta(ge=0)]
    implementation: _Name
    mode: _Name
    device: _Name


class SentBatch(Request, frozen=True, kw_only=True):
    """Cells of one worker to perform and to judge, in this order."""

    promise: Promise
    cases: tuple[dict[str, Any], ...]
    cells: Annotated[tuple[SentCell, ...], Meta(min_length=1)]
    #: In a second try, what the first gave, by cell: they are performed in a fresh process.
    digests: dict[str, str] | None = None


class ToldDoubt(Part, frozen=True, kw_only=True):
    """What a second try is compared with, and the cells before the first."""

    digest: str
    before: tuple[str, ...]


class ToldEntry(Part, frozen=True, kw_only=True):
    """A judged cell: its record, everything that is wrong with it, and whether it was judged to its end."""

    record: Record
    explanations: tuple[Alternatives, ...]
    ended: bool
    doubt: ToldDoubt | None = None


class Told(Part, frozen=True, kw_only=True):
    """A cell that was performed; None where a second try gave what the first did."""

    cell: str
    entry: ToldEntry | None


class Reply(Part, frozen=True, kw_only=True):
    """What became of a batch: its cells in the order in which they ended, or why it was refused."""

    machine: str = ""
    cells: tuple[Told, ...] = ()
    #: What was left behind and could not be ended.
    left: tuple[str, ...] = ()
    refused: str = ""


def written(message: Struct) -> bytes:
    """Return a message as it travels."""
    return encoded(message)


def taken(raw: object, kind: type[Message]) -> Message:
    """Return the message that arrived. Raises `UsageError` where it is none of that kind."""
    name = kind.__name__.lower()
    if not isinstance(raw, bytes):
        raise UsageError(f"{name}: expected bytes, got {type(raw).__name__[:40]}")
    if len(raw) > REQUEST_BYTES and issubclass(kind, Request):
        raise UsageError(f"{name}: has {len(raw):,} bytes, over the limit of {REQUEST_BYTES:,}")
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{name}: {str(error)[:300]}") from error


def narrowed(offer: Mapping[str, Any], implementations: frozenset[str]) -> dict[str, Any]:
    """Return a description of what a worker offers with those implementations alone, and without its texts."""
    listed = [described for described in offer["implementations"] if described["name"] in implementations]
    return {**offer, "sources": {}, "implementations": listed}
