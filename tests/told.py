"""What a person reads of a judgement: the causes in the catalogue's words."""

from __future__ import annotations

from conformance.cause import diagnosis_text, text_of
from conformance.judging.judgement import Judged, Judgement
from conformance.spec.causes import catalogue


def reason(judged: Judged) -> str:
    """Return why a quantity deviates."""
    return text_of(judged.causes, catalogue())


def diagnosed(judgement: Judgement) -> str:
    """Return the diagnosis of a cell."""
    return diagnosis_text(judgement.diagnosis, catalogue())
