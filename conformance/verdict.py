"""What an outcome means: the closed set of verdicts, from best to worst."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Self


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

    #: Position from best to worst.
    severity: int
    #: Whether it says something about the implementation: what counts and bars are made of.
    judged: bool
    #: Whether the numbers are right, or differ exactly as documented.
    agrees: bool

    def __new__(cls, value: str) -> Self:
        """Return the member, with what a report asks of it a million times."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.severity = len(cls.__members__)
        member.judged = value not in ("unsupported", "not_decidable", "outside_domain")
        member.agrees = value in ("exact", "conforms", "dialect")
        return member


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
        return _STANDING_ORDER[self]


_STANDING_ORDER = {member: index for index, member in enumerate(Standing)}

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
