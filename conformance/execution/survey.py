"""What the workers offer: asked of each adapter in its own process, before anything runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from conformance.errors import WorkerError
from conformance.execution.pool import FOLLOWING, STARTING, Died, Late, Limits, Workers, begin
from conformance.execution.process import Process
from conformance.planning.discovery import WorkerKey
from conformance.planning.plan import Offer, offer_from
from conformance.protocol import Configuration


def survey(
    keys: Sequence[WorkerKey], configurations: Sequence[Configuration], workers: Workers
) -> Iterator[Offer | WorkerError]:
    """Yield what each worker offers for those configurations, or why it could not be asked.

    Processes stay alive for the cells to come, as far as the number of workers allows.
    """
    waiting = deque(sorted(keys, key=lambda key: key.process))
    described: dict[WorkerKey, Mapping[str, Any]] = {}
    asked = [asdict(configuration) for configuration in configurations]
    open_keys: dict[WorkerKey, Any] = {}
    while waiting or open_keys:
        while waiting and len(open_keys) < workers.count:
            key = waiting.popleft()
            open_keys[key] = begin(key, [other for other in workers.live if other not in open_keys], workers)
        for process, answer in workers.wait():
            key = process.key
            if key not in open_keys or workers.live.get(key) is not process:
                continue
            match answer:
                case {"offer": offer, "imported": imported}:
                    workers.stages.imports.append(tuple(imported))
                    described[key] = offer
                    request = {"do": "support", "configurations": asked}
                    workers.ask(process, request, workers.limits.start)
                case {"failure": _} | Died() | Late() if open_keys[key] is FOLLOWING:
                    # What was in the process before may be to blame: the adapter gets one of its own.
                    workers.end(key)
                    workers.start(key)
                    open_keys[key] = STARTING
                case {"failure": _} | Died() | Late():
                    yield _not_started(process, answer, workers.limits)
                    del open_keys[key]
                    workers.end(key)
                case reasons:
                    process.deadline = float("inf")
                    del open_keys[key]
                    yield offer_from(key, described[key], reasons)


def _not_started(process: Process, answer: Any, limits: Limits) -> WorkerError:
    match answer:
        case {"failure": failure}:
            message, missing = failure["trace"].strip(), failure["missing"]
            return WorkerError(worker=process.key.name, message=message, missing=missing)
        case Died():
            how = f"{process.ending()} while starting"
        case _:
            how = f"did not start within {limits.start:g} s"
    return WorkerError(worker=process.key.name, message=f"{how}; its output ends: {process.output()}")
