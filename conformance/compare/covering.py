"""Cells gathered under the fewest causes that account for them."""

from __future__ import annotations

from collections import Counter
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
    remaining = list(items)
    while remaining:
        counts = Counter(cause for _, causes in remaining for cause in dict.fromkeys(causes))
        chosen = min(counts, key=lambda cause: (cause.symptom, -counts[cause], cause.words, cause.id))
        yield chosen, [item for item, causes in remaining if chosen in causes]
        remaining = [(item, causes) for item, causes in remaining if chosen not in causes]
