"""The symbols and words by which the pages name verdicts and standings; `conformance.dialect` names dialect fields."""

from __future__ import annotations

from dataclasses import dataclass

from conformance.runfile.observed import RecordedCell
from conformance.verdict import Standing, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """One way in which a cell can stand to what was expected of it: the sign beside its verdict, a word, a meaning."""

    sign: str
    word: str
    meaning: str


#: From best to worst; those without a word need none.
STANDS = {
    "agrees": Sign(sign="", word="", meaning="as the spec has it"),
    "apart": Sign(sign="", word="", meaning="says nothing about the implementation"),
    "documented": Sign(
        sign="°", word="documented", meaning="a refusal that the documentation announces, or of whole numbers"
    ),
    "known": Sign(sign="†", word="known divergence", meaning="listed with its reason in divergences.yaml"),
    "stale": Sign(sign="‡", word="stale", meaning="agrees, and is still listed as diverging: fails the run"),
    "unexpected": Sign(sign="", word="unexpected", meaning="fails the run"),
}
ORDER = {name: position for position, name in enumerate(STANDS)}


def stand(cell: RecordedCell) -> str:
    """Return how a cell stands, a key of `STANDS`: what is unexpected because it agrees is stale."""
    if cell.standing is Standing.UNEXPECTED and cell.verdict.agrees and cell.divergence:
        return "stale"
    return cell.standing.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A verdict in words."""

    symbol: str
    word: str
    meaning: str


VERDICTS = {
    Verdict.EXACT: Words(
        symbol="=", word="exact", meaning="equal to the reference in every bit: rounding cost nothing on these data"
    ),
    Verdict.CONFORMS: Words(symbol="✓", word="conforms", meaning="within the derived error bound"),
    Verdict.DIALECT: Words(symbol="≈", word="dialect", meaning="differs, exactly as its documentation says"),
    Verdict.REFUSED: Words(symbol="⊘", word="refused", meaning="raised an error"),
    Verdict.DEVIATES: Words(symbol="≠", word="deviates", meaning="outside every bound and documented dialect"),
    Verdict.TIMED_OUT: Words(symbol="◔", word="timed out", meaning="gave no answer before its deadline"),
    Verdict.CRASHED: Words(symbol="✕", word="crashed", meaning="took its process down"),
    Verdict.UNSUPPORTED: Words(symbol="\N{EN DASH}", word="unsupported", meaning="the API cannot express the case"),
    Verdict.NOT_DECIDABLE: Words(symbol="?", word="not decidable", meaning="the bound says nothing here"),
    Verdict.OUTSIDE_DOMAIN: Words(
        symbol="∉", word="outside domain", meaning="not finite, where an intermediate may leave the range of the dtype"
    ),
}
