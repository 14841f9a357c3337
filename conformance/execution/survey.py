"""What the workers offer: asked of each adapter in its own process, before anything runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from conformance.errors import UsageError, WorkerError
from conformance.execution.bringing_up import FOLLOWING, STARTING, bring_up
from conformance.execution.kept_offers import Answered
from conformance.execution.pool import Broken, Died, Late, Limits, Workers
from conformance.execution.process import Process
from conformance.execution.request import fields_of
from conformance.planning.discovery import WorkerKey
from conformance.planning.offer import offer_from
from conformance.planning.plan import Offer
from conformance.protocol import Configuration
from conformance.worker.conditions import cores


def survey(
    keys: Sequence[WorkerKey], configurations: Sequence[Configuration], workers: Workers
) -> Iterator[Offer | WorkerError]:
    """Yield what each worker offers for those configurations, or why it could not be asked.

    Processes stay alive for the cells to come: as many as there are workers, and those that fall asleep. Where `workers` have offers kept, a
    worker that nothing has changed for is not asked.
    """
    before = {key: answered for key in keys if workers.offers and (answered := workers.offers.get(key))}
    for key, answered in before.items():
        if answered.missing is None:
            yield _offer(key, answered, len(configurations), workers)
        else:
            yield WorkerError(worker=key.name, message=answered.trace, missing=answered.missing)
    yield from _ask([key for key in keys if key not in before], configurations, workers)


def _ask(
    keys: Sequence[WorkerKey], configurations: Sequence[Configuration], workers: Workers
) -> Iterator[Offer | WorkerError]:
    """Ask each worker, in its own process."""
    waiting = sorted(keys, key=lambda key: key.process)
    described: dict[WorkerKey, object] = {}
    asked = [fields_of(configuration) for configuration in configurations]
    open_keys: dict[WorkerKey, Any] = {}
    while waiting or open_keys:
        while waiting and len(open_keys) < _at_once(workers):
            key = _next(waiting, open_keys, workers)
            waiting.remove(key)
            open_keys[key] = bring_up(key, [other for other in workers.awake if other not in open_keys], workers)
        for process, answer in _answers(open_keys, workers):
            key = process.key
            match answer:
                case {"offer": offer, "imported": [int() | float(), int() | float(), int() | float()] as imported} if (
                    key not in described
                ):
                    process.lane.imports.append(tuple(imported))
                    described[key] = offer
                    request = {"do": "support", "configurations": asked}
                    workers.ask(process, request, workers.limits.start)
                case {"failure": _} | Died() | Late() | Broken() if (
                    open_keys[key] is FOLLOWING and key not in described
                ):
                    # What was in the process before may be to blame: the adapter gets one of its own.
                    workers.end(key)
                    workers.start(key)
                    open_keys[key] = STARTING
                case {"support": reasons} if key in described:
                    process.deadline = float("inf")
                    del open_keys[key]
                    answered = Answered(offer=described[key], reasons=reasons)
                    _keep(key, answered, workers)
                    yield _offer(key, answered, len(asked), workers)
                case _:
                    failed = _not_started(process, answer, workers.limits)
                    if failed.missing is not None:
                        _keep(key, Answered(missing=failed.missing, trace=failed.message), workers)
                    yield failed
                    del open_keys[key]
                    workers.end(key)


def _answers(open_keys: Collection[WorkerKey], workers: Workers) -> Iterator[tuple[Process, Any]]:
    """Yield what arrives from the processes that are asked."""
    for process, answer in workers.wait():
        if workers.live.get(process.key) is process:
            if process.key in open_keys:
                yield process, answer
            elif isinstance(answer, Died):
                # The end of its pipe would be news at every wait, so that none of them waited.
                workers.end(process.key)


def _next(waiting: Sequence[WorkerKey], open_keys: Collection[WorkerKey], workers: Workers) -> WorkerKey:
    """Return the key to ask next: one that an idle process can go on with, else one whose interpreter is not importing.

    Two processes that import the same packages for the first time would both compile all of their bytecode.
    """
    idle = {key.process for key in workers.live if key not in open_keys}
    importing = {key.interpreter for key in open_keys}
    return min(waiting, key=lambda key: (key.process not in idle, key.interpreter in importing))


def _at_once(workers: Workers) -> int:
    """Return how many may start: more than one import a core makes each of them longer, until it reaches its deadline."""
    return min(workers.count, cores())


def _keep(key: WorkerKey, answered: Answered, workers: Workers) -> None:
    if workers.offers:
        workers.offers.keep(key, answered)


def _offer(key: WorkerKey, answered: Answered, asked: int, workers: Workers) -> Offer | WorkerError:
    """Return the offer, or why it is none; its process, if it has one, is then ended."""
    try:
        return offer_from(key, answered.offer, answered.reasons, asked)
    except UsageError as error:
        if key in workers.live:
            workers.end(key)
        return WorkerError(worker=key.name, message=f"{key.file_name}: {error}")


def _not_started(process: Process, answer: Any, limits: Limits) -> WorkerError:
    match answer:
        case {"failure": {"trace": str(trace), "missing": None | str() as missing}}:
            return WorkerError(worker=process.key.name, message=trace.strip(), missing=missing)
        case Died():
            how = f"{process.ending()} while starting"
        case Late():
            how = f"did not start within {limits.start:g} s"
        case Broken(how=did):
            how = f"{did} while starting"
        case _:
            how = "sent what is no answer while starting"
    return WorkerError(worker=process.key.name, message=f"{how}; its output ends: {process.output()}")
