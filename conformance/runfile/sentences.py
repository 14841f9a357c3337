"""The sentences in which judging says why numbers deviate, as causes: a fixed, closed list of patterns.

Nothing but run files of format 1 needs it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from conformance.runfile.structs import Alternatives, CatalogueEntry, RecordedCause
from conformance.verdict import Verdict

#: Id of the cause of a sentence that no pattern matches.
AS_RECORDED = "as-recorded"
UNEXPLAINED = "unexplained"
CHANGED_BY_REFUSED_STEP = "changed-by-refused-step"
#: Id of a cause -> the whole sentence of which it is made, with its parameters as groups.
_PATTERNS = {
    "wrong-dtype": r"has dtype (?P<dtype>\S+), expected (?P<expected>.+)",
    "wrong-shape": r"has shape (?P<shape>\(.*?\)), expected (?P<expected>\(.*\))",
    "not-given": r"was not given",
    "initial-state-changed": r"the initial state is not what was put in",
    "differs-from-step": r"differs from step (?P<step>\d+), which had the same input and state",
    "caller-array-overwritten": r"the step wrote to its caller's (?P<array>.+)",
    CHANGED_BY_REFUSED_STEP: r"changed by a step that was refused",
    "not-finite": r"(?P<count>\d+) values are NaN or infinite that must be finite",
    "finite": r"(?P<count>\d+) values are finite that must be NaN or infinite",
    "not-finite-and-finite": r"(?P<lost>\d+) values are NaN or infinite that must be finite"
    r" and (?P<found>\d+) values are finite that must be NaN or infinite",
    "narrower-arithmetic": r"computed in (?P<narrower>\S+): outside the bound of (?P<wider>\S+) arithmetic",
    "narrower-arithmetic-admits-anything": r"outside the bound of (?P<wider>\S+) arithmetic; "
    r"that of (?P<narrower>\S+) admits anything",
    "undocumented-dialect": r"fits its dialect in (?P<fields>.+), which no documentation states",
    UNEXPLAINED: r"unexplained(?:: (?P<weights>.*))?",
}
_SENTENCES = {id_: re.compile(pattern, re.DOTALL) for id_, pattern in _PATTERNS.items()}
#: The only sentence that contains the separator itself.
_UNDECIDED = re.compile(_PATTERNS["narrower-arithmetic-admits-anything"])
_NUMBERS = frozenset({"count", "step", "lost", "found"})
_SEPARATOR = "; "
_NO_ANSWER = re.compile(r"no answer within (?P<seconds>[0-9.e+-]+) s")

#: The words of every cause are the sentence that was recorded.
CATALOGUE: Mapping[str, CatalogueEntry] = {id_: CatalogueEntry(words="{text}") for id_ in (AS_RECORDED, *_PATTERNS)}


def alternatives(sentence: str) -> Alternatives:
    """Return what a quantity's sentence says, as the only alternative."""
    return (_cause(sentence),)


def explanations(diagnosis: str, reasons: Mapping[str, Sequence[str]]) -> tuple[Alternatives, ...]:
    """Return what a diagnosis says, sentence by sentence; `reasons` are the quantities by their own sentences."""
    return tuple(
        (_cause(sentence, tuple(dict.fromkeys(reasons.get(sentence, ())))),)
        for sentence in _sentences(diagnosis, reasons)
    )


def raised(verdict: Verdict, message: str, reasons: Iterable[str]) -> str:
    """Return the type of the exception that a step raised, by name; empty where it raised none."""
    refused = verdict is Verdict.REFUSED or any(
        _SENTENCES[CHANGED_BY_REFUSED_STEP].fullmatch(reason) for reason in reasons
    )
    return message.partition(":")[0] if refused else ""


def deadline(verdict: Verdict, message: str) -> float | None:
    """Return the seconds within which a step gave no answer; None where it gave one."""
    match = _NO_ANSWER.match(message) if verdict is Verdict.TIMED_OUT else None
    try:
        return float(match["seconds"]) if match else None
    except ValueError:
        return None


def _sentences(diagnosis: str, reasons: Iterable[str]) -> Iterator[str]:
    """Yield the sentences that were joined; one of them may hold what stands between two others."""
    longest_first = sorted(reasons, key=len, reverse=True)
    rest = diagnosis
    while rest:
        sentence = next(
            (reason for reason in longest_first if f"{rest}{_SEPARATOR}".startswith(f"{reason}{_SEPARATOR}")), None
        )
        if sentence is None:
            undecided = _UNDECIDED.match(rest)
            sentence = undecided[0] if undecided else rest.partition(_SEPARATOR)[0]
        yield sentence
        rest = rest[len(sentence) + len(_SEPARATOR) :]


def _cause(sentence: str, quantities: tuple[str, ...] = ()) -> RecordedCause:
    parameters: dict[str, Any] = {"text": sentence}
    for id_, pattern in _SENTENCES.items():
        match = pattern.fullmatch(sentence)
        if match is not None:
            groups = {name: value for name, value in match.groupdict().items() if value is not None}
            parameters |= {name: int(value) if name in _NUMBERS else value for name, value in groups.items()}
            return RecordedCause(id=id_, parameters=parameters, quantities=quantities)
    return RecordedCause(id=AS_RECORDED, parameters=parameters, quantities=quantities)
