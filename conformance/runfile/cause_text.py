"""Text made of recorded causes, last, by whoever shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from conformance.runfile.structs import Alternatives, CatalogueEntry, RecordedCause

#: The parameter that holds what numbers are made of, which differs from cell to cell of one fault.
_UNEXPLAINED = "unexplained"

Catalogue = Mapping[str, CatalogueEntry]


def text_of(explanations: Iterable[Alternatives], catalogue: Catalogue, *, weights: bool = True) -> str:
    """Return what explains a cell; without `weights`, numbers that nothing explains are called that alone."""
    texts = [alternatives_text(alternatives, catalogue, weights=weights) for alternatives in explanations]
    return "; ".join(texts)


def alternatives_text(alternatives: Alternatives, catalogue: Catalogue, *, weights: bool = True) -> str:
    """Return causes that fit equally well."""
    return " or ".join(_worded(cause, catalogue, weights) for cause in alternatives)


def _worded(cause: RecordedCause, catalogue: Catalogue, weights: bool) -> str:
    if cause.id == _UNEXPLAINED and not weights:
        return _UNEXPLAINED
    return filled(catalogue[cause.id].words, cause.parameters)


def filled(words: str, parameters: Mapping[str, object]) -> str:
    """Return words with a cause's parameters in place of their names. Raises `ValueError` where one is lacking."""
    parts = words.split("{")
    text = parts[0]
    for part in parts[1:]:
        name, brace, rest = part.partition("}")
        if not brace or name not in parameters:
            raise ValueError(f"{words!r} needs more than {sorted(parameters)}")
        text += f"{parameters[name]}{rest}"
    return text
