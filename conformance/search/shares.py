"""How a search is shared out among the workers of a cluster: which process a worker searches next, and with which seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

#: Cases of a share: enough for a search to climb, and few enough that the next one knows what was found.
_EXAMPLES = 500
#: From share to share the seeds are so far apart: a hunt uses one for each round, and has no more rounds than cases.
_SEEDS = 1_000
#: Shares for which a worker stays with a process that it has started, ahead of those that had fewer.
_STAY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """So many cases of one process, by its number, drawn from that seed on."""

    ground: int
    examples: int
    seed: int
    #: Whether it is the first of its process, which performs what earlier searches found.
    first: bool


class Shares:
    """The shares of a search of so many processes; without a number of examples, of each there is always another."""

    def __init__(self, grounds: int, examples: int | None, seed: int) -> None:
        self._examples, self._seed = examples, seed
        #: By process: the cases that have been given out, and how many shares they were.
        self._given = dict.fromkeys(range(grounds), 0)
        self._turns = Counter(dict.fromkeys(range(grounds), 0))
        self._over: set[int] = set()

    def open(self) -> list[int]:
        """Return the processes of which there is another share."""
        return [
            ground
            for ground, given in self._given.items()
            if ground not in self._over and (self._examples is None or given < self._examples)
        ]

    def take(self, able: Collection[int], warm: Collection[int]) -> Share | None:
        """Return the next share for a worker that can search those processes, and has started the warm ones."""
        candidates = [ground for ground in self.open() if ground in able]
        if not candidates:
            return None
        ground = min(candidates, key=lambda ground: (self._turns[ground] - (_STAY if ground in warm else 0), ground))
        turn, given = self._turns[ground], self._given[ground]
        examples = _EXAMPLES if self._examples is None else min(_EXAMPLES, self._examples - given)
        self._turns[ground] += 1
        self._given[ground] += examples
        return Share(ground=ground, examples=examples, seed=self._seed + turn * _SEEDS, first=turn == 0)

    def ended(self, share: Share, drawn: int) -> None:
        """Take in how many cases a share drew: where they are few, whatever can be drawn there has been drawn."""
        if drawn < share.examples // 2:
            self._over.add(share.ground)
