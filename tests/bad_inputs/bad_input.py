"""One thing that a person may give wrongly."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BadInput:
    """One wrong word of a command line, or one wrong value of a case file."""

    #: The command and its option, or "case file" and the key.
    kind: tuple[str, str]
    value: str
    #: The whole command line; empty for a case file.
    words: tuple[str, ...] = ()
    #: The whole case file.
    text: str = ""

    @property
    def is_file(self) -> bool:
        """Whether it is a case file."""
        return not self.words
