"""Globs over the ids of cases and the names of implementations: case-sensitive, over the whole of them."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Callable, Iterable


def matches_any(glob: str, names: Iterable[str]) -> bool:
    """Return whether the glob matches one of the names."""
    return any(map(_matcher(glob), names))


@functools.cache
def _matcher(glob: str) -> Callable[[str], re.Match[str] | None]:
    # `fnmatchcase` keeps the 256 patterns that it met last, of which the spec has more: it would compile each anew.
    return re.compile(fnmatch.translate(glob)).match
