"""Values by position, each held once."""

from __future__ import annotations

from typing import Any


class Pool:
    """Values by position, each held once."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._positions: dict[str, int] = {}

    def position(self, value: Any) -> int:
        """Return where the value is, adding it if it is new."""
        # A zero and its negative are equal, and are written differently.
        key = value if isinstance(value, str) else repr(value)
        if key not in self._positions:
            self._positions[key] = len(self.values)
            self.values.append(value)
        return self._positions[key]
