"""Options of the form GROUP=PATH."""

from __future__ import annotations

from collections.abc import Iterable

from conformance.errors import UsageError


def pairs(option: str, texts: Iterable[str] | None) -> dict[str, str]:
    """Return the paths by group. Raises `UsageError` where one of the texts is no pair."""
    interpreters = {}
    for text in texts or []:
        group, equals, value = text.partition("=")
        if not (group and equals and value):
            raise UsageError(f"{option} {text}: expected GROUP=PATH")
        interpreters[group] = value
    return interpreters
