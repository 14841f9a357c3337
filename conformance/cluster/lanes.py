"""Which batch a Dask worker gets next: one that its live processes can go on with, so that each framework is imported rarely."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Container, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

from conformance.cluster.suite import GPU, resource_of
from conformance.planning.batches import Batch
from conformance.planning.discovery import WorkerKey

#: Batches that a Dask worker has at once: one at work, and one that is there when that has ended.
AT_ONCE = 2


def resources_of(key: WorkerKey, device: str = "cpu") -> dict[str, float]:
    """Return what a Dask worker must have to run cells of that worker on that device."""
    group = {} if key.group is None else {resource_of(key.group): 1.0}
    return group | ({GPU: 1.0} if device == "gpu" else {})


def able(has: Mapping[str, float], needs: Mapping[str, float]) -> bool:
    """Return whether a Dask worker has the resources."""
    return all(has.get(name, 0.0) >= amount for name, amount in needs.items())


class Lanes:
    """The batches that wait, and which Dask worker is at which process. Batches of one worker and device are a lane."""

    def __init__(self, waiting: Iterable[Batch]) -> None:
        self._waiting: dict[tuple[WorkerKey, str], deque[Batch]] = {}
        #: What the waiting batches of each process cost together.
        self._cost: defaultdict[object, float] = defaultdict(float)
        for batch in waiting:
            self._waiting.setdefault((batch.key, batch.device), deque()).append(batch)
            self._cost[batch.key.process] += batch.cost
        #: Address of a Dask worker -> how many batches it has.
        self._at_work: Counter[str] = Counter()
        #: Address of a Dask worker -> the processes that it was given batches of; and of how many workers each process is.
        self._warm: dict[str, set[object]] = {}
        self._warm_at: Counter[object] = Counter()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def given(self, workers: Mapping[str, Mapping[str, float]]) -> Iterator[tuple[str, Batch]]:
        """Yield the batches that go out now, each with the Dask worker that should have it, until all have enough."""
        for count in range(AT_ONCE):
            for address in [address for address in workers if self._at_work[address] <= count]:
                batch = self._next(address, workers[address])
                if batch is not None:
                    yield address, batch

    def ended(self, address: str) -> None:
        """Take in that a batch which that Dask worker was given has ended."""
        self._at_work[address] -= 1

    def left(self, workers: Container[str]) -> None:
        """Take in which Dask workers are left."""
        for address in [address for address in self._warm if address not in workers]:
            self._warm_at.subtract(self._warm.pop(address))

    def impossible(self, workers: Iterable[Mapping[str, float]]) -> list[Batch]:
        """Return the waiting batches that none of these Dask workers can perform."""
        has = list(workers)
        lanes = [lane for lane in self._waiting if not any(able(one, resources_of(*lane)) for one in has)]
        return [batch for lane in lanes for batch in self._waiting[lane]]

    def _next(self, address: str, has: Mapping[str, float]) -> Batch | None:
        """Take the batch for a Dask worker: of a process that is there, else of one that is nowhere, else of the longest."""
        lanes = [lane for lane in self._waiting if able(has, resources_of(*lane))]
        if not lanes:
            return None
        here = self._warm.setdefault(address, set())
        lane = min(lanes, key=lambda lane: (self._rank(lane[0].process, here), -self._cost[lane[0].process]))
        batch = self._waiting[lane].popleft()
        if not self._waiting[lane]:
            del self._waiting[lane]
        self._cost[batch.key.process] -= batch.cost
        self._at_work[address] += 1
        if batch.key.process not in here:
            here.add(batch.key.process)
            self._warm_at[batch.key.process] += 1
        return batch

    def _rank(self, process: object, here: AbstractSet[object]) -> int:
        if process in here:
            return 0
        return 2 if self._warm_at[process] > 0 else 1
