"""Cells gathered under the fewest causes that account for them."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import TypeVar

from conformance.runfile.reasons import SharedCause

Item = TypeVar("Item")


def covered(items: Sequence[tuple[Item, Sequence[SharedCause]]]) -> Iterator[tuple[SharedCause, list[Item]]]:
    """Yield causes, each with the items that it accounts for, until every item stands under one.

    Causes that say what is done come before those that say only that something is wrong, and among each kind the one
    of most items comes first: an item with several causes, as are alternatives that fit equally well, stands under the
    one that it shares with most others.
    """
    by_cause: dict[SharedCause, dict[int, None]] = {}
    for number, (_, causes) in enumerate(items):
        for cause in causes:
            by_cause.setdefault(cause, {})[number] = None

    def rank(cause: SharedCause) -> tuple[bool, int, str, str]:
        return (cause.symptom, -len(by_cause[cause]), cause.words, cause.id)

    queue = [(rank(cause), number, cause) for number, cause in enumerate(by_cause)]
    heapq.heapify(queue)
    while queue:
        ranked, number, chosen = heapq.heappop(queue)
        numbers = list(by_cause[chosen])
        if ranked != rank(chosen):
            # Items have left it since: it waits for its turn as what it is now.
            if numbers:
                heapq.heappush(queue, (rank(chosen), number, chosen))
            continue
        yield chosen, [items[number][0] for number in numbers]
        for number in numbers:
            for cause in items[number][1]:
                by_cause[cause].pop(number, None)
