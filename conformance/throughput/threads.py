"""With how many threads a library is timed: as many as it takes, and where these are not as many as cores, with as many too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from conformance.planning.discovery import WorkerKey, limited
from conformance.planning.plan import Offer
from conformance.spec.loader import Located, Spec

#: The settings under which an adapter tells with how many threads an operation computes.
_TOLD = ("threads", "threads within an op")


def threads_told(settings: Mapping[str, str]) -> int | None:
    """Return with how many threads a library says that it computes; None where it does not say a number.

    One that leaves the number to itself, as TensorFlow and JAX do, takes as many as there are cores.
    """
    said = next((settings[name] for name in _TOLD if name in settings), "")
    return int(said) if said.isdecimal() else None


def with_as_many_as_cores(offers: Iterable[Offer], cores: int) -> tuple[WorkerKey, ...]:
    """Return the further processes in which libraries that take another number of threads have one for each core."""
    return tuple(
        limited(offer.key, cores)
        for offer in offers
        if offer.key.limits and threads_told(offer.settings) not in (None, cores)
    )


def with_threads(spec: Spec, threads: int) -> tuple[Located, ...]:
    """Return the cases with that number of threads."""
    return tuple(replace(located, case=located.case.model_copy(update={"threads": threads})) for located in spec.cases)
