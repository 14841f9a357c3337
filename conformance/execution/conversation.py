"""A request to one worker process and its answer, while no other process is at work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.execution.pool import Broken, Died, Late, Workers
from conformance.execution.process import Process
from conformance.outcome import Crashed, Outcome, TimedOut


def converse(process: Process, message: Mapping[str, Any] | None, workers: Workers, seconds: float) -> Any:
    """Send a request to that process, or none to await its start, and return its answer. No other process is at work.

    If the process ends, or does not answer within `seconds`, it is ended and `Crashed` or `TimedOut` is returned. Any
    other process that ends meanwhile is removed from `workers.live`.
    """
    if message is not None:
        workers.ask(process, message, seconds)
    while True:
        for sender, answer in workers.wait():
            if sender is not process:
                if isinstance(answer, Died):
                    # The end of its pipe would be news at every wait, so that none of them waited.
                    workers.end(sender.key)
                continue
            match answer:
                case Died():
                    loss: Outcome = Crashed(how=process.ending(), recurs=False, before=(), output=process.output())
                case Broken(how=how):
                    loss = Crashed(how=how, recurs=False, before=(), output=process.output())
                case Late():
                    loss = TimedOut(limit=seconds, output=process.output())
                case _:
                    process.deadline = float("inf")
                    return answer
            workers.end(process.key)
            return loss
