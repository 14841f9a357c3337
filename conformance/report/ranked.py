"""What is wrong, once for each implementation and cause, by what it does to people: pure functions, no HTML."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from conformance.cause import filled
from conformance.runfile.numbers import number_from
from conformance.runfile.observed import RecordedCell, on_one_line, severity, what
from conformance.runfile.reasons import shared_causes
from conformance.runfile.structs import CaseLine, QuantityRecord, RecordedCause, WorstElement
from conformance.verdict import Standing, Verdict

#: From what concerns most people to what concerns few.
KINDS = ("ordinary", "demanding", "edges")
#: A mean so many standard deviations away from zero asks for more than ordinary data do.
_DEMANDING_RATIO = 100.0
_HALF = ("float16", "bfloat16")
#: The error of what is no number at all, as of a step that raises: a user notices it, so a number wrong by more than a
#: hundredth, which nobody notices, stands before it.
_LOUD = 0.01
#: What stands for a cause where a step gave no numbers.
_HEADINGS = {
    "raises": "A step raises an error.",
    "refuses": "A step is refused.",
    "crashes": "A step takes its process down.",
    "times-out": "A step gives no answer in time.",
    "unexplained": "Numbers are wrong, and no change that is known gives them.",
    "undiagnosed": "Numbers are wrong, and nothing was said of why.",
}
_WITHOUT_NUMBERS = {Verdict.REFUSED: "refuses", Verdict.CRASHED: "crashes", Verdict.TIMED_OUT: "times-out"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One cell that shows a cause."""

    cell: RecordedCell
    #: One of `KINDS`; empty where the run does not say.
    data: str
    #: Quantity and step where the cause is at its worst; empty where no numbers show it.
    place: str
    worst: WorstElement | None
    #: Of the worst element: distance from what is right, over the larger of both; 0 to 2, NaN and infinity as 2.
    error: float

    @property
    def rank(self) -> tuple[int, float, tuple[int, int, float]]:
        """The key by which sightings are sorted, what harms most people last."""
        return -("", *KINDS).index(self.data), self.error, self.cell.rank


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedFinding:
    """What one implementation does wrong, for one cause, in all its cells."""

    implementation: str
    framework: str
    #: The cause by its id, which is the name of its page.
    cause: str
    #: Tells apart findings of one implementation and cause whose sentences differ: 2 for the second; 0 for the first.
    variant: int
    #: What is done, in one sentence.
    sentence: str
    #: What a user sees of it, in one sentence; empty where nobody wrote one.
    seen: str
    clause: str
    #: Whether something of it is not listed as known.
    new: bool
    #: Where it was reported, and what was found out about it, of those that are known.
    upstream: tuple[str, ...]
    reasons: tuple[str, ...]
    cases: int
    columns: tuple[str, ...]
    #: The worst first.
    sightings: tuple[Sighting, ...]

    @property
    def worst(self) -> Sighting:
        """The one to look at first."""
        return self.sightings[0]

    @property
    def page(self) -> str:
        """The file name of the page of its cause."""
        return _plain_name(self.cause)

    @property
    def anchor(self) -> str:
        """Where it stands on a page."""
        return _plain_name(
            f"{self.implementation}-{self.cause}-{self.variant}"
            if self.variant
            else f"{self.implementation}-{self.cause}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFinding:
    """One cause across implementations."""

    id: str
    page: str
    sentence: str
    seen: str
    clause: str
    #: What harms most people first.
    findings: tuple[RankedFinding, ...]

    @property
    def implementations(self) -> tuple[str, ...]:
        """Who shows it, the worst first."""
        return tuple(dict.fromkeys(finding.implementation for finding in self.findings))


def causes(findings: Iterable[RankedFinding]) -> tuple[SharedFinding, ...]:
    """Return the causes of findings that are in order, in that order."""
    by_cause: dict[str, list[RankedFinding]] = {}
    for finding in findings:
        by_cause.setdefault(finding.cause, []).append(finding)
    return tuple(
        SharedFinding(
            id=id_,
            page=own[0].page,
            sentence=_HEADINGS.get(id_, own[0].sentence),
            seen=own[0].seen,
            clause=own[0].clause,
            findings=tuple(own),
        )
        for id_, own in by_cause.items()
    )


def _plain_name(text: str) -> str:
    """Return a text as letters, digits, dots and dashes: a run file may hold any."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip(".-")


def ranked(cells: Iterable[RecordedCell], data_kinds: Mapping[str, str]) -> tuple[RankedFinding, ...]:
    """Return what is wrong in those cells, what harms most people first. `data_kinds` are the kinds of data by globs over ids.

    A refusal that the documentation announces is nothing wrong.
    """
    sightings: dict[tuple[str, str, str], list[Sighting]] = {}
    words: dict[tuple[str, str, str], tuple[str, str, str]] = {}
    data_of_case: dict[str, str] = {}
    for cell in cells:
        if not cell.verdict.judged or cell.verdict.agrees or cell.standing is Standing.DOCUMENTED:
            continue
        case = cell.case
        if case.id not in data_of_case:
            data_of_case[case.id] = _data(case, data_kinds)
        data = data_of_case[case.id]
        for cause, told in _causes(cell):
            key = (cell.column.implementation, cause, told[0])
            words.setdefault(key, told)
            sightings.setdefault(key, []).append(_sighting(cell, cause, data))
    variants: Counter[tuple[str, str]] = Counter()
    gathered: list[RankedFinding] = []
    for key, group in sightings.items():
        variants[key[:2]] += 1
        gathered.append(_finding(key, words[key], group, variants[key[:2]]))
    return tuple(sorted(gathered, key=lambda finding: (finding.worst.rank, len(finding.sightings)), reverse=True))


def _causes(cell: RecordedCell) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Yield the id of each cause that a cell shows, with what is done, what a user sees, and the clause it breaks."""
    causes: list[RecordedCause] = [alternatives[0] for alternatives in cell.diagnosis if alternatives]
    seen: set[str] = set()
    for cause in causes:
        if cause.id in seen:
            continue
        seen.add(cause.id)
        entry = cell.causes[cause.id]
        if not entry.instead:
            yield cause.id, (" and ".join(shared.words for shared in shared_causes(cause, cell.causes)), "", "")
            continue
        parameters = {
            name: "…" if name in entry.varies or isinstance(value, tuple) else value
            for name, value in cause.parameters.items()
        }
        instead, user_sees = (filled(text, parameters) for text in (entry.instead, entry.seen))
        yield cause.id, (instead, user_sees, entry.clause)
    if not causes:
        id_ = _WITHOUT_NUMBERS.get(cell.verdict, "undiagnosed")
        heading, said = _HEADINGS[id_].removesuffix("."), what(cell.record, cell.causes, weights=False)
        yield id_, (f"{heading}: {said}" if said else f"{heading}.", "", "")


def _data(case: CaseLine, data_kinds: Mapping[str, str]) -> str:
    """Return what the data of a case are; empty where the run does not say."""
    if not data_kinds:
        return ""
    kind = next((kind for glob, kind in data_kinds.items() if fnmatchcase(case.id, glob)), KINDS[0])
    configuration = case.configuration
    half = configuration.dtype in _HALF or configuration.parameter_dtype in _HALF
    if kind == KINDS[0] and (half or case.ratio >= _DEMANDING_RATIO):
        return "demanding"
    return kind


def _sighting(cell: RecordedCell, cause: str, data: str) -> Sighting:
    """Return where in a cell the cause is at its worst: another may be what decided the cell's verdict."""
    judged = [(step, quantity) for step in cell.record.steps for quantity in step.quantities]
    showing = [pair for pair in judged if cause in _ids(pair[1])] or [pair for pair in judged if not _ids(pair[1])]
    worst = max(showing, key=lambda pair: severity(pair[1]), default=None)
    if worst is None or worst[1].worst is None:
        return Sighting(cell=cell, data=data, place="", worst=None, error=_LOUD)
    step, quantity = worst
    place = f"{quantity.quantity}, step {step.number} ({step.kind})"
    return Sighting(cell=cell, data=data, place=place, worst=quantity.worst, error=_error(worst[1].worst))


def _ids(quantity: QuantityRecord) -> Collection[str]:
    return [cause.id for cause in (*quantity.causes, *quantity.also)] if quantity.causes or quantity.also else ()


def _error(worst: WorstElement) -> float:
    """Return an element's error in natural units: |observed − expected| / max(|observed|, |expected|).

    It is 2 where one of them is no finite number.
    """
    expected, observed = number_from(worst.expected), number_from(worst.observed)
    if not (math.isfinite(expected) and math.isfinite(observed)):
        return 2.0
    size = max(abs(expected), abs(observed))
    return abs(observed / size - expected / size) if size else 0.0


def _finding(
    key: tuple[str, str, str], words: tuple[str, str, str], sightings: Sequence[Sighting], number: int
) -> RankedFinding:
    implementation, cause, _ = key
    cells = [sighting.cell for sighting in sightings]
    listed = [divergence for cell in cells for divergence in cell.divergence]
    own = [divergence for divergence in listed if divergence.cause in ("", cause)]
    return RankedFinding(
        implementation=implementation,
        framework=cells[0].column.library.partition(" ")[0],
        cause=cause,
        variant=number if number > 1 else 0,
        sentence=on_one_line(words[0]),
        seen=words[1],
        clause=words[2],
        new=any(cell.standing is Standing.UNEXPECTED for cell in cells),
        upstream=tuple(dict.fromkeys(divergence.upstream for divergence in own if divergence.upstream)),
        reasons=tuple(dict.fromkeys(divergence.reason for divergence in own)),
        cases=len({cell.case.id for cell in cells}),
        columns=tuple(dict.fromkeys(f"{cell.column.mode} {cell.column.device}" for cell in cells)),
        sightings=tuple(sorted(sightings, key=lambda sighting: sighting.rank, reverse=True)),
    )
