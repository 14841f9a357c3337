"""The libraries of one conversation: which implementation a word means, and its native calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from conformance.answers.arguments import Answer
from conformance.errors import UsageError
from conformance.execution.conversation import converse
from conformance.execution.pool import Workers
from conformance.planning.discovery import WorkerKey, keys
from conformance.planning.offer import offer_from
from conformance.planning.plan import Offer, Offered
from conformance.protocol import Configuration
from conformance.runfile.structs import NativeCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One implementation, and the process that offers it."""

    key: WorkerKey
    implementation: Offered


class Libraries:
    """The libraries of one conversation: each is imported once, when an implementation of it is asked for."""

    def __init__(self, interpreters: Mapping[str, str], adapters: Iterable[str], workers: Workers) -> None:
        self.workers = workers
        wanted = keys(interpreters, adapters)
        self.keys = [key for key in wanted if key.dtypes is None or "float32" in key.dtypes]
        self._offers: dict[WorkerKey, Offer | None] = {}

    def row(self, name: str) -> Row:
        """Return the first implementation of batch normalization of that name, or whose name begins so, or of that library.

        Raises `UsageError` where there is none, or where its library does not start here.
        """
        library = name.partition(".")[0]
        near = [key for key in self.keys if _is_near(key, library)]
        # A folder's main file first; then, of an unknown word, whatever there is.
        for keys_ in (near, [key for key in self.keys if key not in near]):
            for key in sorted(keys_, key=lambda key: not key.file_name.endswith("batch_norm.py")):
                row = self._named(name, key)
                if row is not None:
                    return row
            if keys_ and not any(self._offers[key] for key in keys_):
                groups = sorted({key.group for key in keys_ if key.group})
                raise UsageError(f"{name}: does not start here; --python {'|'.join(groups)}=PATH names its interpreter")
        known = sorted({one.name for offer in self._offers.values() if offer for one in offer.implementations})
        raise UsageError(f"{name}: expected an implementation of batch normalization, such as {', '.join(known[:8])}")

    def _named(self, name: str, key: WorkerKey) -> Row | None:
        """Return the implementation of that name which an adapter offers; None where it offers none."""
        offer = self._offer(key)
        rows = [one for one in (offer.implementations if offer else ()) if one.op == "batch_norm"]
        named = [one for one in rows if one.name == name] or [
            one for one in rows if one.name.startswith(name) or (offer and name in (offer.library, _folder(key)))
        ]
        return Row(key=key, implementation=named[0]) if named else None

    def ask(self, row: Row, configurations: Sequence[Configuration]) -> list[Answer]:
        """Return the native call of each configuration, or why there is none. Raises `UsageError`."""
        process = self.workers.live.get(row.key) or self._started(row.key)
        request = {
            "do": "call",
            "implementation": row.implementation.name,
            "configurations": [asdict(configuration) for configuration in configurations],
        }
        answers = converse(process, request, self.workers, self.workers.limits.start)
        if not isinstance(answers, list):
            raise UsageError(f"{row.key.name}: its worker ended")
        return [answer["unsupported"] if "unsupported" in answer else NativeCall(**answer) for answer in answers]

    def _offer(self, key: WorkerKey) -> Offer | None:
        """Return what an adapter offers; None where it does not start here."""
        if key not in self._offers:
            answer = converse(self.workers.start(key), None, self.workers, self.workers.limits.start)
            match answer:
                case {"offer": offer}:
                    self._offers[key] = offer_from(key, offer, {}, 0)
                case _:
                    self._offers[key] = None
                    if key in self.workers.live:
                        self.workers.end(key)
        return self._offers[key]

    def _started(self, key: WorkerKey) -> Any:
        converse(self.workers.start(key), None, self.workers, self.workers.limits.start)
        if key not in self.workers.live:
            raise UsageError(f"{key.name}: its worker does not start again")
        return self.workers.live[key]


def _is_near(key: WorkerKey, library: str) -> bool:
    """Return whether an adapter may be of a library, by the names of its process and its folder."""
    return key.name.startswith(library.replace("_", "-")) or _folder(key) == library


def _folder(key: WorkerKey) -> str:
    return key.file_name.partition("/")[0]
