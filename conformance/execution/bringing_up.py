"""Brings up an adapter: in a process that is alive and may be shared, or else in one of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conformance.execution.pool import Workers
from conformance.planning.discovery import WorkerKey

#: What a process is busy with while it brings up an adapter: in a process of its own, or after another.
STARTING: Any = object()
FOLLOWING: Any = object()


def bring_up(key: WorkerKey, idle: Sequence[WorkerKey], workers: Workers) -> Any:
    """Bring up the adapter of that key, in an idle process or one asleep that it may share, or else in a new one.

    Returns `FOLLOWING` for a shared process and `STARTING` for a new one.
    """
    asleep = [candidate for candidate in workers.live if candidate in workers.asleep]
    for candidate in [candidate for candidate in (*idle, *asleep) if candidate.process == key.process]:
        if candidate in idle or workers.wake(candidate):
            workers.follow(candidate, key)
            return FOLLOWING
    for unused in idle[: max(0, len(workers.awake) - workers.count + 1)]:
        workers.rest(unused)
    workers.start(key)
    return STARTING
