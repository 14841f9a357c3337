"""Values by position, each held once."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any


class Pool:
    """Values by position, each held once."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._positions: dict[Hashable, int] = {}

    def position(self, value: Hashable, key: Hashable = None) -> int:
        """Return where the value is, adding it if it is new; `key` stands for it where equal values are written differently."""
        position = self._positions.setdefault(value if key is None else key, len(self.values))
        if position == len(self.values):
            self.values.append(value)
        return position
