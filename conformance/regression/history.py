"""A row of versions of one package as values: which finding began and ended where. What `history.json` holds.

Field docstrings are what the published JSON Schema says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Literal

from conformance.files.json_text import CLOSED

FORMAT: Literal[1] = 1


class State(StrEnum):
    """How a version stands to a finding."""

    #: Some cell shows it.
    SHOWN = "shown"
    #: Cells that show it in another version gave numbers, and none shows it.
    ABSENT = "absent"
    #: None of the cells that show it in another version gave numbers there.
    UNTOLD = "untold"
    #: The version's environment was not built or did not start.
    FAILED = "failed"


class TurnKind(StrEnum):
    """What happened to a finding between two versions."""

    BEGAN = "began"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A finding in one version."""

    __pydantic_config__: ClassVar = CLOSED

    state: State
    """Whether it is shown."""
    cells: int
    """Cells that show it."""
    asked: int
    """Of the cells that show it in any version: how many gave numbers or show it in this one."""
    new: bool
    """Whether it is shown by a cell that no list of known divergences expects to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Where a finding began or ended."""

    __pydantic_config__: ClassVar = CLOSED

    kind: TurnKind
    """Which of the two."""
    version: str
    """The first version that tells so."""
    after: str
    """The last version before it that tells otherwise."""
    between: tuple[str, ...]
    """Versions between the two, which tell nothing: it may have been in one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """One implementation × one cause over the versions."""

    __pydantic_config__: ClassVar = CLOSED

    implementation: str
    """By the name that users know."""
    cause: str
    """Its id in the catalogue of causes, or what stands for one where a step gave no numbers."""
    sentence: str
    """What is done instead, as the newest version that shows it does."""
    example: str
    """The worst cell of the newest version that shows it, as `conformance reproduce` takes it."""
    example_version: str
    """That version."""
    turns: tuple[Turn, ...]
    """Where it began and ended, oldest first; none where all versions that tell show it."""
    sights: tuple[Sight, ...]
    """One for each version of the history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """What changed since an earlier version."""

    __pydantic_config__: ClassVar = CLOSED

    version: str
    """The last before it of which cells ran."""
    headline: str
    """In one line."""
    regression: bool
    """Whether something regressed or moved."""
    moved: Mapping[str, Mapping[str, tuple[str, str]]]
    """By group: other packages whose version differs too, with both versions; empty text where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version."""

    __pydantic_config__: ClassVar = CLOSED

    version: str
    """As the index, the file or the folder names it."""
    file: str
    """Name of its run file; empty where there is none."""
    cells: int
    """Cells that ran."""
    kept: Mapping[str, str]
    """By group whose environment was built: how far the other pins were kept."""
    failures: tuple[str, ...]
    """What was not built or did not start, a line each, with the installer's or Python's last words."""
    since: Since | None
    """What changed since the version before; null for the first of which cells ran, and those before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A row of versions."""

    __pydantic_config__: ClassVar = CLOSED

    format: Literal[1] = FORMAT
    """Of this document. Any change of its shape is another number."""
    package: str
    """Whose versions they are."""
    suite: str
    """Version of the suite that judged."""
    spec: str
    """Hash of the semantics and the cases; empty where no cell ran."""
    versions: tuple[Version, ...]
    """Oldest first; what is no release comes last."""
    findings: tuple[Followed, ...]
    """Those that began or ended first; among them, and among the others, what harms most people first."""
    flawless: tuple[str, ...]
    """Implementations of which cells were judged and no version shows a finding."""

    @property
    def regression(self) -> bool:
        """Whether the newest version regressed or moved against the one before it."""
        since = self.versions[-1].since
        return since is not None and since.regression
