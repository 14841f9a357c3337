"""A search on the workers of a cluster: shares of it go out as workers are free, and what they found comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from conformance.cluster.cluster import PATIENCE, Cluster
from conformance.cluster.lanes import able, resources_of
from conformance.cluster.messages import Bounds, taken
from conformance.cluster.suite import suite
from conformance.errors import SuiteError, UsageError
from conformance.planning.discovery import one_thread
from conformance.planning.plan import Offer
from conformance.runfile.terminal import plain
from conformance.search.finds import Finds, earlier_cases
from conformance.search.fuzz import FuzzOptions, Searcher, offers_among
from conformance.search.grounds import Ground
from conformance.search.messages import SentAgainst, SentShare, ShareReply, exercised_of, find_of, sent_case
from conformance.search.shares import Share, Shares
from conformance.search.summary import Searched, begun, told
from conformance.search.tasks import search
from conformance.spec.case import Case


@contextmanager
def on_cluster(address: str, options: FuzzOptions) -> Iterator[Searcher]:
    """Have the workers of that scheduler."""
    with Cluster(address, options.limits) as cluster:
        yield Elsewhere(cluster, options)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Searching:
    """A process that is searched, with what was found so far."""

    ground: Ground
    result: Searched
    finds: Finds

    @property
    def needs(self) -> dict[str, float]:
        """What a Dask worker must have to search it."""
        return {
            name: amount for key in self.ground.keys for name, amount in resources_of(key, self.ground.device).items()
        }


@dataclass(slots=True, kw_only=True)
class _AtWork:
    """Which shares are out, by the name of their task, and which processes each Dask worker has started."""

    out: dict[str, tuple[str, Share]] = field(default_factory=dict)
    warm: dict[str, set[int]] = field(default_factory=dict)

    def idle(self, workers: Mapping[str, object]) -> list[str]:
        """Return the Dask workers that search nothing."""
        busy = {address for address, _ in self.out.values()}
        return [address for address in workers if address not in busy]


class Elsewhere:
    """The Dask workers of a cluster, each of which searches a share at a time."""

    def __init__(self, cluster: Cluster, options: FuzzOptions) -> None:
        self._cluster, self._options = cluster, options
        self._earlier: list[Case] = []

    def offers(self) -> list[Offer]:
        """Return what the processes offer. Raises `UsageError` where what was asked for does not start."""
        selection = replace(self._options.selection, implementations=self._options.named)
        asked, missing = self._cluster.keys(self._options.adapters, selection)
        for group, why in missing.items():
            print(f"not searched: {group}: {why}")
        wanted = [one_thread(key) for key in asked]
        return offers_among(self._cluster.survey(wanted, []), wanted)

    def searched(self, grounds: Sequence[Ground]) -> Iterator[Searched]:
        """Search all at once, tell what is found as it arrives, and yield what each search came to."""
        effort, out = self._options.effort, self._options.out
        self._earlier = list(earlier_cases(out))
        begun_at = [begun(ground) for ground in grounds]
        searching = [
            _Searching(ground=ground, result=result, finds=Finds(out, result))
            for ground, result in zip(grounds, begun_at, strict=True)
        ]
        end = None if effort.seconds is None else time.monotonic() + effort.seconds
        lost = self._conduct(searching, Shares(len(grounds), effort.examples, effort.seed), end)
        for one in searching:
            print(told(one.result))
        if lost:
            raise SuiteError(f"lost {lost} shares of the search with the workers that had them")
        yield from begun_at

    def _conduct(self, searching: Sequence[_Searching], shares: Shares, end: float | None) -> int:
        """Hand out shares and take in what they came to, until none is left; return how many were lost."""
        at_work = _AtWork()
        lost = 0
        since = time.monotonic()
        while True:
            workers = self._cluster.workers()
            if end is None or time.monotonic() < end:
                self._hand_out(searching, shares, at_work, workers, end)
            if not at_work.out and (not shares.open() or (end is not None and time.monotonic() >= end)):
                return lost
            arrived = self._cluster.arrived()
            if arrived is None or arrived.name not in at_work.out:
                waiting = [share.ground for _, share in at_work.out.values()] or shares.open()
                stuck = not any(able(has, searching[ground].needs) for ground in waiting for has in workers.values())
                since = since if stuck else time.monotonic()
                if time.monotonic() - since > PATIENCE:
                    raise SuiteError("no worker of the cluster is left that could search what is left")
                continue
            since = time.monotonic()
            address, share = at_work.out.pop(arrived.name)
            if arrived.answer is None:
                lost += 1
            else:
                self._take(searching[share.ground], share, shares, taken(arrived.answer, ShareReply), address)

    def _hand_out(
        self,
        searching: Sequence[_Searching],
        shares: Shares,
        at_work: _AtWork,
        workers: Mapping[str, Mapping[str, float]],
        end: float | None,
    ) -> None:
        """Send a share to each Dask worker that searches nothing."""
        for address in at_work.idle(workers):
            fit = {number for number, one in enumerate(searching) if able(workers[address], one.needs)}
            warm = at_work.warm.setdefault(address, set())
            share = shares.take(fit, warm)
            if share is not None:
                warm.add(share.ground)
                one = searching[share.ground]
                name = self._cluster.send(search, self._sent(one, share, end), one.needs, address)
                at_work.out[name] = (address, share)

    def _sent(self, one: _Searching, share: Share, end: float | None) -> SentShare:
        ground, limits = one.ground, self._options.limits
        against = None
        if ground.against is not None:
            name = ground.against.name
            promise = self._cluster.promise(ground.against.offer.key, frozenset([name]))
            against = SentAgainst(promise=promise, name=name, every=ground.against.every)
        return SentShare(
            suite=suite(),
            bounds=Bounds(start=limits.start, cell=limits.cell, memory=limits.memory),
            promise=self._cluster.promise(ground.offer.key, frozenset(ground.implementations)),
            mode=ground.selection.modes[0],
            device=ground.device,
            examples=share.examples,
            seconds=None if end is None else max(0.0, end - time.monotonic()),
            shrinking=self._options.effort.shrinking,
            seed=share.seed,
            against=against,
            done=tuple(sorted(one.finds.suspicions, key=str)),
            earlier=tuple(map(sent_case, self._earlier)) if share.first else (),
        )

    def _take(self, one: _Searching, share: Share, shares: Shares, reply: ShareReply, address: str) -> None:
        """Take in what a share came to. Raises `UsageError` where it was refused."""
        if reply.refused or reply.exercised is None:
            raise UsageError(f"{address}: {reply.refused or 'told nothing of a share'}")
        one.result.exercised.join(exercised_of(reply.exercised))
        one.result.drawn += reply.drawn
        one.result.seconds += reply.seconds
        shares.ended(share, reply.drawn)
        for still in reply.still:
            if still.case < len(self._earlier):
                one.finds.still(still.suspicion, self._earlier[still.case])
        for find in reply.finds:
            one.finds.new(find_of(find))
        for left in reply.left:
            print(plain(f"could not be ended: {left} on {reply.machine}"))
