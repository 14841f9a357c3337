"""What an outcome means: the closed set of verdicts, from best to worst."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """The meaning of an outcome; a cell's is its worst step's, a step's its worst quantity's."""

    EXACT = "exact"
    CONFORMS = "conforms"
    DIALECT = "dialect"
    UNSUPPORTED = "unsupported"
    NOT_DECIDABLE = "not_decidable"
    OUTSIDE_DOMAIN = "outside_domain"
    REFUSED = "refused"
    DEVIATES = "deviates"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"

    @property
    def severity(self) -> int:
        """Position from best to worst."""
        return _ORDER[self]

    @property
    def judged(self) -> bool:
        """Whether it says something about the implementation: what counts and bars are made of."""
        return self not in (Verdict.UNSUPPORTED, Verdict.NOT_DECIDABLE, Verdict.OUTSIDE_DOMAIN)

    @property
    def agrees(self) -> bool:
        """Whether the numbers are right, or differ exactly as documented."""
        return self in (Verdict.EXACT, Verdict.CONFORMS, Verdict.DIALECT)


_ORDER = {verdict: index for index, verdict in enumerate(Verdict)}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of the verdicts; of none, `exact`."""
    return max(verdicts, key=lambda verdict: verdict.severity, default=Verdict.EXACT)


class Standing(StrEnum):
    """How a cell stands to what was expected of it, from best to worst."""

    AGREES = "agrees"
    APART = "apart"
    DOCUMENTED = "documented"
    KNOWN = "known"
    UNEXPECTED = "unexpected"

    @property
    def severity(self) -> int:
        """Position from best to worst."""
        return list(Standing).index(self)


#: By the status that the run gave the record.
_STANDINGS = {"failed": Standing.UNEXPECTED, "xfailed": Standing.KNOWN, "skipped": Standing.APART}


def standing(status: str, verdict: Verdict) -> Standing:
    """Return the standing of a record with that status and verdict."""
    return _STANDINGS.get(status, Standing.AGREES if verdict.agrees else Standing.DOCUMENTED)


#: Grades of stability, from best to worst: `conformance/grade.py` tells what each means.
GRADES = "ADWOF"


def worst_grade(grades: Iterable[str]) -> str:
    """Return the worst of the grades; of none, an empty text."""
    return max((grade for grade in grades if grade), key=GRADES.index, default="")
