"""What the data of a case are, by `spec/data-kinds.yaml`: ordinary, demanding or edges."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from conformance.errors import SpecError, SpecErrors
from conformance.spec.yaml_document import load

#: From what concerns most people to what concerns few.
KINDS = ("ordinary", "demanding", "edges")


def load_data_kinds(path: Path) -> Mapping[str, str]:
    """Return the kind of data by globs over case ids, in the order in which they are asked. Raises `SpecErrors`."""
    try:
        document = load(path)
    except SpecError as error:
        raise SpecErrors((error,)) from error
    if not isinstance(document.value, dict) or set(document.value) - set(KINDS):
        raise SpecErrors((document.error((), f"expected lists of globs under {', '.join(KINDS)}"),))
    kinds: dict[str, str] = {}
    errors: list[SpecError] = []
    for kind, globs in document.value.items():
        for position, glob in enumerate(globs if isinstance(globs, list) else [None]):
            if not isinstance(glob, str):
                errors.append(document.error((kind,), "expected a list of globs over the ids of cases"))
            elif glob in kinds:
                errors.append(document.error((kind, position), f"{glob} is {kinds[glob]} already"))
            else:
                kinds[glob] = kind
    if errors:
        raise SpecErrors(tuple(errors))
    return kinds
