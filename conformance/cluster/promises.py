"""What workers offered when a run was planned, held against what they offer where they are given work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.cluster.messages import Promise, narrowed
from conformance.cluster.suite import digest_of_texts
from conformance.errors import UsageError
from conformance.execution.kept_offers import Answered
from conformance.planning.discovery import WorkerKey

#: What of an offer must be as it was when the run was planned. Devices may differ between machines.
_PROMISED = ("library", "versions")


class Promises:
    """The promises that a request brings; every worker that starts for it is held against its own."""

    def __init__(self, promised: Mapping[WorkerKey, Promise], offered: dict[WorkerKey, Mapping[str, Any]]) -> None:
        #: `offered` has what each worker offered when its process started, and is kept from request to request.
        self._promised, self._offered = promised, offered

    def get(self, key: WorkerKey) -> Answered | None:  # noqa: ARG002 - as `Offers` has it
        """Nothing is kept here: a worker is asked when it starts."""
        return None

    def keep(self, key: WorkerKey, answered: Answered) -> None:
        """Take in what a worker answered that was asked. Raises `UsageError`."""
        if isinstance(answered.offer, dict):
            self.check(key, answered.offer)

    def check(self, key: WorkerKey, offer: Mapping[str, Any]) -> None:
        """Raise `UsageError` where a worker that started offers something else than was promised."""
        self._offered[key] = offer
        self.check_live(key)

    def check_live(self, key: WorkerKey) -> None:
        """Raise `UsageError` where a worker offers something else that started for another run, planned otherwise."""
        told = other_than_promised(self._promised[key], key, self._offered[key])
        if told:
            raise UsageError(f"{key.name} has {told}")


def other_than_promised(promise: Promise, key: WorkerKey, offer: Mapping[str, Any]) -> str:
    """Return what else a worker that started offers than the run was planned by; empty where it is the same."""
    promised: Mapping[str, Any] = promise.offer
    # What ran before in a shared process may have changed its settings.
    for part in (*_PROMISED, *(() if key.shared else ("settings",))):
        for name in sorted({*_mapping(promised[part]), *_mapping(offer[part])}):
            ours, theirs = _mapping(promised[part]).get(name), _mapping(offer[part]).get(name)
            if ours != theirs:
                return f"{name} {theirs}, and the run was planned by {ours}"
    if digest_of_texts(offer["sources"]) != promise.sources:
        return "another text of its adapter than the run"
    names = frozenset(described["name"] for described in promised["implementations"])
    if _without_devices(narrowed(offer, names)) != _without_devices(promised):
        return f"another profile of {', '.join(sorted(names))} than the run"
    return ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {"library": value}


def _without_devices(offer: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in described.items() if name != "devices"}
        for described in offer["implementations"]
    ]
