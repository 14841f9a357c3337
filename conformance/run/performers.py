"""Who performs the cells of a run: the processes of this machine, or another `Performer`, which has its own elsewhere."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from conformance.errors import WorkerError
from conformance.execution.execute import Outcomes, execute
from conformance.execution.pool import Workers
from conformance.execution.survey import survey
from conformance.execution.time_profile import Stages
from conformance.outcome import Array, Produced, Refused, Repeated
from conformance.planning.costs import Costs
from conformance.planning.discovery import ProcessIdentity, WorkerKey, holding, keys
from conformance.planning.plan import Cell, Offer, Selection
from conformance.protocol import Configuration
from conformance.run.entries import Entry, Judging
from conformance.runfile.structs import Record
from conformance.verdict import Standing, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """What a second try of a cell is compared with, and what ran before the first."""

    #: Of all that the judgement depends on.
    digest: str
    #: The last cells that were performed in the same process.
    before: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A cell after its first try."""

    entry: Entry
    #: None where it went as expected.
    doubt: Doubt | None


class Performer(Protocol):
    """Performs and judges cells, wherever that is."""

    @property
    def stages(self) -> Stages:
        """Where the time of the run goes."""

    @property
    def left(self) -> Sequence[str]:
        """What was left behind there and could not be ended."""

    def survey(
        self, keys: Sequence[WorkerKey], configurations: Sequence[Configuration]
    ) -> Iterator[Offer | WorkerError]:
        """Yield what each worker offers for those configurations, or why it could not be asked."""

    def keys(self, adapters: Sequence[str], selection: Selection) -> tuple[Sequence[WorkerKey], Mapping[str, str]]:
        """Return the workers to ask, and the groups that are selected and that nothing there can run, with the reason."""

    def begin(self, costs: Costs) -> None:
        """Take in what the cells to come are expected to cost."""

    def announce(self, later: Sequence[Cell]) -> None:
        """Take in which cells are to be performed after those that come next."""

    def perform(self, cells: Sequence[Cell], judging: Judging) -> Iterator[Tried]:
        """Yield each cell after its first try, as they end."""

    def again(
        self, rounds: Iterable[Sequence[Cell]], judging: Judging, doubts: Mapping[str, Doubt]
    ) -> Iterator[tuple[Cell, Entry | None]]:
        """Yield each cell after a second try in a fresh process, with its entry; None where it gave the same again.

        The cells of a round may be performed at once; of each process it has one implementation's alone.
        """


class Processes:
    """The processes of this machine."""

    def __init__(self, workers: Workers, interpreters: Mapping[str, str], *, grouped: bool = False) -> None:
        self._workers, self._interpreters, self._grouped = workers, interpreters, grouped
        #: What reserves memory of an accelerator as long as it lives.
        self._on_gpu: set[ProcessIdentity] = set()

    @property
    def stages(self) -> Stages:
        """Where the time of the run goes."""
        return self._workers.stages

    @property
    def left(self) -> Sequence[str]:
        """What workers left behind and could not be ended."""
        return self._workers.left

    def survey(
        self, keys: Sequence[WorkerKey], configurations: Sequence[Configuration]
    ) -> Iterator[Offer | WorkerError]:
        """Yield what each worker offers for those configurations, or why it could not be asked."""
        self._workers.awaited |= {key.process for key in keys} - self._on_gpu
        for answer in survey(keys, configurations, self._workers):
            if isinstance(answer, Offer) and _takes_gpu(answer):
                self._on_gpu.add(answer.key.process)
                self._workers.awaited -= self._on_gpu
            yield answer

    def keys(self, adapters: Sequence[str], selection: Selection) -> tuple[Sequence[WorkerKey], Mapping[str, str]]:
        """Return the workers to ask; which of them cannot run is found when they start."""
        offered = keys(self._interpreters, adapters, grouped=self._grouped)
        return holding(offered, selection.implementations, adapters), {}

    def begin(self, costs: Costs) -> None:
        """Take in nothing: cells are handed over one by one."""

    def announce(self, later: Sequence[Cell]) -> None:
        """Let the processes of those cells stay alive, where they have done what comes before them."""
        self._workers.awaited = {cell.key.process for cell in later if cell.unsupported is None} - self._on_gpu

    def perform(self, cells: Sequence[Cell], judging: Judging) -> Iterator[Tried]:
        """Yield each cell after its first try, as they end."""
        for cell, outcomes in execute(cells, self._workers):
            entry = judging.entry(cell, outcomes)
            doubt = None
            if is_doubtful(entry.record):
                doubt = Doubt(digest=digest_of(outcomes), before=self._workers.performed_before(cell.id))
            yield Tried(entry=entry, doubt=doubt)

    def again(
        self, rounds: Iterable[Sequence[Cell]], judging: Judging, doubts: Mapping[str, Doubt]
    ) -> Iterator[tuple[Cell, Entry | None]]:
        """Yield each cell after a second try in a fresh process, with its entry; None where it gave the same again."""
        self._workers.end_all()
        for cells in rounds:
            for cell, outcomes in execute(cells, self._workers):
                # A judgement is a function of the cell and its outcomes: equal ones need no second.
                repeats = digest_of(outcomes) == doubts[cell.id].digest
                yield cell, None if repeats else judging.entry(cell, outcomes)
            self._workers.end_all()


def _takes_gpu(offer: Offer) -> bool:
    return any("gpu" in implementation.devices for implementation in offer.implementations)


def is_doubtful(record: Record) -> bool:
    """Return whether nobody expects what a cell gave, so that it is tried again."""
    return record.standing is Standing.UNEXPECTED and record.verdict is not Verdict.CRASHED


def digest_of(outcomes: Outcomes) -> str:
    """Return a digest of all that a judgement depends on."""
    digest = hashlib.blake2b(digest_size=16)
    for outcome in outcomes:
        match outcome:
            case Produced(quantities=quantities, state=state):
                _add(digest, "produced", outcome.compilations, outcome.overwritten, outcome.call)
                for name, array in itertools.chain(quantities.items(), state.items()):
                    _add_array(digest, name, array)
            case Refused(state=state):
                _add(digest, "refused", outcome.types, outcome.message, outcome.mistake, outcome.call, state is None)
                for name, array in (state or {}).items():
                    _add_array(digest, name, array)
            case Repeated(difference=difference):
                _add(digest, "repeated", difference)
            case other:
                _add(digest, repr(other))
    return digest.hexdigest()


def _add(digest: hashlib.blake2b, *parts: object) -> None:
    digest.update(repr(parts).encode(errors="surrogatepass"))


def _add_array(digest: hashlib.blake2b, name: str, array: Array) -> None:
    _add(digest, name, array.dtype.name, array.shape)
    digest.update(array.tobytes())
