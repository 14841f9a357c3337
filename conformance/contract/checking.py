"""`conformance check --adapter`: every question to every implementation of an adapter, and what its answers break."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.contract import complaints
from conformance.contract.complaints import Steps
from conformance.contract.questions import DTYPES, questions
from conformance.errors import UsageError, WorkerError
from conformance.execution.execute import Outcomes, execute
from conformance.execution.pool import Limits, Workers
from conformance.execution.survey import survey
from conformance.outcome import Produced, Refused
from conformance.planning.discovery import keys
from conformance.planning.plan import Cell, Offer, Selection, plan
from conformance.spec.tiers import Tier

#: What each question shows, by its name; the rest are asked whether they end at all.
_SHOWN: Mapping[str, tuple[Callable[[Cell, Steps], str], ...]] = {
    "steps": (
        complaints.state_read_back,
        complaints.names_and_shapes,
        complaints.caller_s_own,
        complaints.inference_repeats,
        complaints.compiled,
        complaints.call_is_data,
        complaints.functions_in_file,
    ),
    "reload": (complaints.reload_keeps,),
    **dict.fromkeys(DTYPES, (complaints.dtype_kept,)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What an adapter was asked, and what its answers break."""

    implementations: tuple[str, ...]
    #: Answers that were judged; what is unsupported is none.
    answers: int
    complaints: tuple[str, ...]


def check(adapters: Sequence[str], interpreters: Mapping[str, str], folder: Path, limits: Limits) -> Checked:
    """Ask the named adapters every question. Raises `UsageError` where one cannot be asked."""
    asked = questions()
    with Workers(1, folder, limits) as workers:
        offers = []
        for answer in survey(keys(interpreters, adapters), [located.case.configuration for located in asked], workers):
            match answer:
                case Offer():
                    offers.append(answer)
                case WorkerError(worker=name, message=message):
                    raise UsageError(f"{name}: {message.strip().splitlines()[-1]}")
        cells = list(plan(asked, offers, Selection(tier=Tier.FULL)))
        performed = [(cell, outcomes) for cell, outcomes in execute(cells, workers)]
    found = [f"{cell.column}: {complaint}" for cell, outcomes in performed for complaint in _against(cell, outcomes)]
    names = tuple(offered.name for offer in offers for offered in offer.implementations)
    silent = sorted(set(names) - {cell.implementation.name for cell in cells if cell.unsupported is None})
    return Checked(
        implementations=names,
        answers=sum(cell.unsupported is None for cell in cells),
        complaints=(
            *_versionless(offers),
            *(f"{name}: supports none of the questions, so that nothing was asked" for name in silent),
            *dict.fromkeys(found),
        ),
    )


def _versionless(offers: Iterable[Offer]) -> Iterator[str]:
    """Yield a complaint of each adapter that does not tell its library's version: histories and reports name it so."""
    for offer in offers:
        if not offer.versions.get(offer.library):
            yield f"{offer.key.file_name}: `versions` does not have that of {offer.library!r}"


def _against(cell: Cell, outcomes: Outcomes) -> Iterator[str]:
    """Yield what the answer to one question breaks."""
    said = complaints.said_and_survived(cell, outcomes[-1])
    if said:
        yield said
    if said or cell.unsupported is not None:
        return
    name = cell.case.id.partition("/")[2]
    produced = [outcome for outcome in outcomes if isinstance(outcome, Produced)]
    if len(produced) < len(outcomes):
        refused = next(outcome for outcome in outcomes if isinstance(outcome, Refused))
        own = f" at {refused.mistake}" if refused.mistake else ""
        yield f"{name}: not unsupported, and raised {refused.types[0]}: {refused.message.partition(chr(10))[0]}{own}"
        return
    for complaint in _SHOWN.get(name, ()):
        text = complaint(cell, produced)
        if text:
            yield f"{name}: {text}"
