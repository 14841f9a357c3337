"""The latest references, kept up to so many elements together."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from conformance.operations.expected import Expected


class Latest:
    """What was asked for last, of up to `limit` elements together, and the very last whatever it has."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: OrderedDict[Any, dict[str, Expected]] = OrderedDict()
        self._elements = 0

    def get(self, key: Any) -> dict[str, Expected] | None:
        """Return what is kept under that key, which is the latest then; None where nothing is."""
        quantities = self._known.get(key)
        if quantities is not None:
            self._known.move_to_end(key)
        return quantities

    def keep(self, key: Any, quantities: dict[str, Expected]) -> None:
        """Keep the quantities of a key that has none, in place of the oldest ones."""
        self._known[key] = quantities
        self._elements += size_of(quantities)
        while self._elements > self._limit and len(self._known) > 1:
            _, oldest = self._known.popitem(last=False)
            self._elements -= size_of(oldest)


def size_of(expected: Mapping[str, Expected]) -> int:
    """Return the elements of quantities."""
    return sum(quantity.value.size for quantity in expected.values())
