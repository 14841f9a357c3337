"""Which releases of a row are run: a word of the command line, apart from what asks an index, which is slow to import."""

from __future__ import annotations

from enum import StrEnum


class Every(StrEnum):
    """Of which releases the newest stands for the others."""

    RELEASE = "release"
    MINOR = "minor"
    MAJOR = "major"
