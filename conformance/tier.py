"""Tiers: which cases a run has in which mode, from `spec/tiers.yaml`.

The file says it for every tier but the last, `full`, which is everything:

    standard:
      eager: ["*"]
      compiled: ["axes.*", "gradients.*"]

Each tier adds to the ones before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.errors import SpecError, SpecErrors

if TYPE_CHECKING:
    from conformance.document import Document

MODES = ("eager", "compiled", "xla")


class Tier(StrEnum):
    """How much of the matrix a run has, smallest first."""

    SMOKE = "smoke"
    STANDARD = "standard"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiers:
    """The tiers that are declared: for each, the globs over case ids by mode."""

    declared: Mapping[Tier, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    def modes(self, tier: Tier, case: str) -> frozenset[str]:
        """Return the modes in which the tier has the case. Where none is declared, every tier is everything."""
        if tier is Tier.FULL or not self.declared:
            return frozenset(MODES)
        order = list(Tier)
        smaller = [of for each, of in self.declared.items() if order.index(each) <= order.index(tier)]
        return frozenset(
            mode for of in smaller for mode, globs in of.items() if any(fnmatchcase(case, glob) for glob in globs)
        )


def load_tiers(path: Path, cases: Sequence[str], shown: str | None = None) -> Tiers:
    """Return the tiers in the file at `path`. Raises `SpecErrors`: every glob must match one of `cases`."""
    from conformance.document import load  # noqa: PLC0415 - the command line needs `Tier` before anything heavy

    try:
        document = load(path, shown)
    except SpecError as error:
        raise SpecErrors((error,)) from error
    errors = list(_errors(document, cases))
    if errors:
        raise SpecErrors(tuple(errors))
    return Tiers(
        declared={Tier(tier): {mode: tuple(globs) for mode, globs in of.items()} for tier, of in document.value.items()}
    )


def _errors(document: Document, cases: Sequence[str]) -> list[SpecError]:
    declarable = [each.value for each in Tier if each is not Tier.FULL]
    if not isinstance(document.value, dict) or list(document.value) != declarable:
        return [document.error((), f"expected a mapping of the tiers {', '.join(declarable)}, in this order")]
    errors = []
    for tier, of in document.value.items():
        if not isinstance(of, dict) or not set(of) <= set(MODES):
            errors.append(document.error((tier,), f"expected globs over case ids by mode: {', '.join(MODES)}", tier))
            continue
        for mode, globs in of.items():
            errors.extend(_glob_errors(document, (tier, mode), globs, cases))
    return errors


def _glob_errors(document: Document, path: tuple[str, str], globs: Any, cases: Sequence[str]) -> list[SpecError]:
    key = ".".join(path)
    if not isinstance(globs, list) or not all(isinstance(each, str) for each in globs):
        return [document.error(path, "expected a list of globs over case ids", key)]
    return [
        document.error((*path, number), f"no case matches {glob!r}", key)
        for number, glob in enumerate(globs)
        if not any(fnmatchcase(case, glob) for case in cases)
    ]
