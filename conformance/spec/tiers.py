"""Tiers: which cases a run has in which mode, from `spec/tiers.yaml`.

The file says it for every tier but the last, `full`, which is everything:

    standard:
      eager: ["*"]
      compiled: ["axes.*", "gradients.*"]
      groups:
        jax: {eager: ["axes.*"], compiled: ["*"]}

Each tier adds to the ones before it. What it says of a mode in a framework group holds there in place of the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.errors import SpecError, SpecErrors
from conformance.spec.globs import matches_any

if TYPE_CHECKING:
    from conformance.spec.yaml_document import Document

MODES = ("eager", "compiled", "xla")
DEVICES = ("cpu", "gpu")
_GROUPS = "groups"
Globs = Mapping[str, tuple[str, ...]]


class Tier(StrEnum):
    """How much of the matrix a run has, smallest first."""

    SMOKE = "smoke"
    STANDARD = "standard"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiers:
    """The tiers that are declared: for each, the globs over case ids by mode."""

    declared: Mapping[Tier, Globs] = field(default_factory=dict)
    #: The same for a framework group, where it has its own.
    groups: Mapping[Tier, Mapping[str, Globs]] = field(default_factory=dict)

    def modes(self, tier: Tier, case: str, group: str | None = None) -> frozenset[str]:
        """Return the modes in which the tier has the case for that group.

        Where none is declared, every tier is everything.
        """
        if tier is Tier.FULL or not self.declared:
            return frozenset(MODES)
        order = list(Tier)
        smaller = [
            {**globs_by_mode, **self.groups.get(other, {}).get(group or "", {})}
            for other, globs_by_mode in self.declared.items()
            if order.index(other) <= order.index(tier)
        ]
        return frozenset(
            mode
            for globs_by_mode in smaller
            for mode, globs in globs_by_mode.items()
            if any(fnmatchcase(case, glob) for glob in globs)
        )


def load_tiers(path: Path, cases: Sequence[str], shown: str | None = None) -> Tiers:
    """Return the tiers in the file at `path`. Raises `SpecErrors`: every glob must match one of `cases`."""
    from conformance.spec.yaml_document import load  # noqa: PLC0415 - the command line needs `Tier` before anything heavy

    try:
        document = load(path, shown)
    except SpecError as error:
        raise SpecErrors((error,)) from error
    errors = list(_errors(document, cases))
    if errors:
        raise SpecErrors(tuple(errors))
    return Tiers(
        declared={Tier(tier): _globs(globs_by_mode) for tier, globs_by_mode in document.value.items()},
        groups={
            Tier(tier): {group: _globs(own) for group, own in globs_by_mode.get(_GROUPS, {}).items()}
            for tier, globs_by_mode in document.value.items()
        },
    )


def _globs(globs_by_mode: Mapping[str, Any]) -> Globs:
    return {mode: tuple(globs) for mode, globs in globs_by_mode.items() if mode != _GROUPS}


def _errors(document: Document, cases: Sequence[str]) -> list[SpecError]:
    declarable = [tier.value for tier in Tier if tier is not Tier.FULL]
    if not isinstance(document.value, dict) or list(document.value) != declarable:
        return [document.error((), f"expected a mapping of the tiers {', '.join(declarable)}, in this order")]
    errors = []
    for tier, globs_by_mode in document.value.items():
        groups = globs_by_mode.get(_GROUPS, {}) if isinstance(globs_by_mode, dict) else {}
        if not isinstance(groups, dict):
            path = (tier, _GROUPS)
            errors.append(document.error(path, "expected a mapping of framework groups", ".".join(path)))
            continue
        plain = (
            {mode: globs for mode, globs in globs_by_mode.items() if mode != _GROUPS}
            if isinstance(globs_by_mode, dict)
            else globs_by_mode
        )
        errors.extend(_mode_errors(document, (tier,), plain, cases))
        for group, own in groups.items():
            errors.extend(_mode_errors(document, (tier, _GROUPS, group), own, cases))
    return errors


def _mode_errors(
    document: Document, path: tuple[str, ...], globs_by_mode: Any, cases: Sequence[str]
) -> list[SpecError]:
    if not isinstance(globs_by_mode, dict) or not set(globs_by_mode) <= set(MODES):
        return [document.error(path, f"expected globs over case ids by mode: {', '.join(MODES)}", ".".join(path))]
    return [
        error for mode, globs in globs_by_mode.items() for error in _glob_errors(document, (*path, mode), globs, cases)
    ]


def _glob_errors(document: Document, path: tuple[str, ...], globs: Any, cases: Sequence[str]) -> list[SpecError]:
    key = ".".join(path)
    if not isinstance(globs, list) or not all(isinstance(glob, str) for glob in globs):
        return [document.error(path, "expected a list of globs over case ids", key)]
    return [
        document.error((*path, number), f"no case matches {glob!r}", key)
        for number, glob in enumerate(globs)
        if not matches_any(glob, cases)
    ]
