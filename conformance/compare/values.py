"""What changed between two results, as values: what `conformance compare --format json` writes.

`docs/comparing-two-runs.md` states the policy. Field docstrings are what the published JSON Schema says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Literal

from conformance.files.json_text import CLOSED
from conformance.runfile.numbers import Number
from conformance.runfile.structs import Letter
from conformance.verdict import Standing, Verdict


class FailOn(StrEnum):
    """What a person can count as a regression beyond what always is one."""

    DRIFT = "drift"
    EXACTNESS = "exactness"
    APPEARED = "appeared"
    VANISHED = "vanished"


class Kind(StrEnum):
    """How a cell changed, worst first."""

    WORSE = "worse"
    MOVED = "moved"
    INEXACT = "inexact"
    DRIFT = "drift"
    OTHERWISE = "otherwise"
    STATUS = "status"
    STEADIER = "steadier"
    EXACT = "exact"
    BETTER = "better"


class Part(StrEnum):
    """What changed about an environment, worst first."""

    FAULT = "fault"
    ENVIRONMENT = "environment"
    VERSIONS = "versions"
    SETTINGS = "settings"
    PROCESS = "process"
    HOST = "host"


#: Why a cell of the base is absent; empty where nothing explains it.
Absence = Literal["", "failed", "absent", "partial", "narrowed", "tier", "case"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What counts."""

    __pydantic_config__: ClassVar = CLOSED

    drift_factor: float = 2.0
    """A score drifted where it grew by this factor or more, or shrank by it."""
    drift_floor: float = 0.1
    """And where the larger of the two is at least this part of the bound."""
    fail_on: tuple[FailOn, ...] = ()
    """What is a regression beyond what always is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two that are compared."""

    __pydantic_config__: ClassVar = CLOSED

    suite: str
    """Version of the suite that judged."""
    spec: str
    """Hash of the semantics and the cases."""
    files: tuple[str, ...]
    """Names of the run files."""
    cells: int
    """Recorded cells."""
    complete: bool
    """Whether every run ended with all its cells."""
    narrowed: bool
    """Whether a run was narrowed to some cells."""
    tiers: tuple[str, ...]
    """Which tiers were asked for; an empty one where the suite had none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellChange:
    """One cell that changed."""

    __pydantic_config__: ClassVar = CLOSED

    case: str
    """Its id."""
    column: str
    """Implementation, mode and device."""
    kind: Kind
    """How it changed."""
    regression: bool
    """Whether that alone is exit code 1 under the policy."""
    base: Verdict
    """What it was."""
    new: Verdict
    """What it is."""
    base_status: Standing
    """How that stood to what was expected."""
    new_status: Standing
    """How it stands now."""
    base_score: Number | None
    """In units of the bound."""
    new_score: Number | None
    """In units of the bound."""
    factor: float | Literal["Infinity"] | None
    """The new score over the old one, where the score is what changed."""
    what: str
    """What decided the new verdict, or where that is right the old one, in full; empty where neither says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedField:
    """A field of a dialect that some numbers follow otherwise than before."""

    __pydantic_config__: ClassVar = CLOSED

    field: str
    """By its name in a profile."""
    base: str
    """What they followed: the documented value; empty for the canonical one."""
    new: str
    """What they follow now, likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that changed about an implementation, with the cells that show it."""

    __pydantic_config__: ClassVar = CLOSED

    kind: Kind
    """How its cells changed: the worst of them."""
    regression: bool
    """Whether any of its cells is exit code 1 under the policy."""
    implementation: str
    """By the name that users know."""
    cause: str
    """Id of the cause that its cells share; empty where none is named."""
    what: str
    """That cause, or what else its cells share, in words; empty where there is nothing to say."""
    fields: tuple[MovedField, ...]
    """Of a change that moved: what its cells follow otherwise, where the results tell."""
    cells: tuple[CellChange, ...]
    """Those of exit code 1 first, then the highest new score first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeChange:
    """A grade of stability that changed, over the cells that both have graded."""

    __pydantic_config__: ClassVar = CLOSED

    regression: bool
    """Whether it is worse than it was."""
    column: str
    """Implementation, mode and device."""
    dtype: str
    """Of the cases."""
    base: Letter
    """From best to worst: A, D, W, O, F."""
    new: Letter
    """Likewise."""
    case: str
    """The first that sets the worse of the two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vanished:
    """Cells of one column that the base has alone."""

    __pydantic_config__: ClassVar = CLOSED

    regression: bool
    """Whether nothing harmless explains it."""
    column: str
    """Implementation, mode and device."""
    reason: Absence
    """The environment failed or is absent; the run is partial, narrowed, of another tier or without the case; empty: none."""
    whole: bool
    """Whether the new results have no cell of that column at all."""
    cases: tuple[str, ...]
    """Their ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreeing:
    """A cell without a base that does not agree."""

    __pydantic_config__: ClassVar = CLOSED

    case: str
    """Its id."""
    verdict: Verdict
    """What it means."""
    status: Standing
    """How it stands to what was expected."""
    what: str
    """What decided the verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appeared:
    """Cells of one column that the new results have alone."""

    __pydantic_config__: ClassVar = CLOSED

    regression: bool
    """Whether some disagree and the policy fails on that."""
    column: str
    """Implementation, mode and device."""
    verdicts: Mapping[Verdict, int]
    """Number of cells, from the best verdict to the worst."""
    disagreeing: tuple[Disagreeing, ...]
    """Those that are wrong, refused without announcement, crashed or timed out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentChange:
    """What is otherwise about some environments."""

    __pydantic_config__: ClassVar = CLOSED

    regression: bool
    """Whether they worked and do so no more."""
    part: Part
    """What kind of thing changed."""
    name: str
    """Of the package, setting or variable; empty for a fault and for a whole environment."""
    base: str
    """What it was; empty where there was none."""
    new: str
    """What it is; empty where there is none."""
    environments: tuple[str, ...]
    """Where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that changed, worst first in every list."""

    __pydantic_config__: ClassVar = CLOSED

    format: Literal[2] = 2
    """Of this document. Any change of its shape is another number."""
    policy: Policy
    """By which it was judged."""
    regression: bool
    """Whether anything regressed or moved: exit code 1."""
    base: Side
    """What was compared with."""
    new: Side
    """What was compared."""
    compared: int
    """Cells that both have, of cases defined alike."""
    same: int
    """Of these, those that did not change."""
    changes: tuple[Change, ...]
    """What did: by implementation and cause."""
    grades: tuple[GradeChange, ...]
    """Grades of stability that changed."""
    environments: tuple[EnvironmentChange, ...]
    """Versions, settings and hosts that changed."""
    vanished: tuple[Vanished, ...]
    """Cells that the base has alone."""
    appeared: tuple[Appeared, ...]
    """Cells that the new results have alone."""
    redefined: tuple[str, ...]
    """Cases that both have and define differently: their cells are not compared."""
