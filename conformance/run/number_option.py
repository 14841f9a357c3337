"""Numbers on a command line: ASCII digits within bounds, since Python's own reading takes `1_0`, `٣`, `nan` and `1e400`."""

from __future__ import annotations

import re
from collections.abc import Callable

import typer

_WHOLE = re.compile(r"[0-9]{1,12}")
_NUMBER = re.compile(r"([0-9]{1,12}(\.[0-9]{0,12})?|\.[0-9]{1,12})([eE][-+]?[0-9]{1,2})?")

#: Processes at work at once.
WORKERS = 1024
#: Seconds of a deadline: one day.
SECONDS = 86_400
#: Of a row, at most.
VERSIONS = 1000
#: How many times a score may grow, and how many bounds it may reach.
DRIFT = 10**9
#: Cases drawn by one search.
EXAMPLES = 10**9
#: What another draw may be named by.
SEEDS = 2**31 - 1
#: What is added to a variance.
EPSILON = 10**9
#: Train steps on the same data, which a case repeats so often at the most.
TRAINED = 1000
#: Axes of an input.
RANK = (2, 5)
#: Features of a layer.
FEATURES = 2**20
#: Gibibytes of memory that a process may hold.
GIBIBYTES = 4096


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return the reader of a whole number within these bounds."""

    def number(text: str | int) -> int:
        # A default is no text.
        if _WHOLE.fullmatch(str(text)) and low <= int(text) <= high:
            return int(text)
        raise typer.BadParameter(f"expected a whole number from {low} to {high:,}, got {_short(text)}")

    return number


def decimal(low: float, high: float) -> Callable[[str], float]:
    """Return the reader of a number within these bounds."""

    def number(text: str | float) -> float:
        if _NUMBER.fullmatch(str(text)) and low <= float(text) <= high:
            return float(text)
        raise typer.BadParameter(f"expected a number from {low:g} to {high:,}, got {_short(text)}")

    return number


def _short(text: object) -> str:
    return repr(str(text) if len(str(text)) <= 40 else f"{str(text)[:37]}...")
