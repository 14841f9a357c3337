"""What the search of each process came to: in lines, as cases with the largest scores, and as `search.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from conformance.search.exercised import Exercised
from conformance.search.grounds import Ground
from conformance.spec.case import Case


@dataclass(slots=True, kw_only=True)
class Searched:
    """What the search of one process came to."""

    worker: str
    implementations: tuple[str, ...]
    exercised: Exercised
    declared: dict[str, list[str]]
    #: Cases drawn, without those of shrinking, and the seconds of all that searched.
    drawn: int = 0
    seconds: float = 0.0
    finds: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Cells judged a second, while nothing was shrunk."""
        return self.exercised.cells / self.seconds if self.seconds else 0.0


def begun(ground: Ground) -> Searched:
    """Return what the search of a process has come to when it begins."""
    return Searched(
        worker=ground.offer.key.name,
        implementations=ground.implementations,
        exercised=Exercised(),
        declared={
            offered.name: [declared.field for declared in offered.profile]
            for offered in ground.offer.implementations
            if offered.name in ground.implementations
        },
    )


def told(result: Searched) -> str:
    """Return what is told of a process: a line, and one for each thing that is noted and is no find."""
    finds = len(result.finds)
    return (
        f"{result.worker}: {result.drawn} cases, {result.exercised.cells} cells, {result.rate:.0f} cells a second, "
        f"{finds} find{'' if finds == 1 else 's'}"
        f"{''.join(f'{chr(10)}  {note} ({count} cells)' for note, count in result.exercised.noted.most_common())}"
    )


def worst_cases(result: Searched) -> Iterator[Case]:
    """Yield the case with the largest score of each implementation, named so."""
    for name, (score, case) in sorted(result.exercised.worst.items()):
        title = f"The largest score of {name} that search has found among cells that agree is {score:.3g}."
        slug = name.replace("+", "-")
        yield case.model_copy(update={"id": f"worst-found.{result.worker}/{slug}", "title": title})


def summary(searched: Sequence[Searched], clauses: Mapping[str, str]) -> dict[str, Any]:
    """Return `search.json`."""
    return {
        "format": 2,
        "processes": [
            {
                "worker": result.worker,
                "implementations": list(result.implementations),
                "cases": result.exercised.cases,
                "cells": result.exercised.cells,
                "input_values": result.exercised.values,
                "seconds": round(result.seconds, 2),
                "cells_per_second": round(result.rate, 1),
                "finds": result.finds,
                "noted": dict(result.exercised.noted.most_common()),
                "worst_scores": {name: score for name, (score, _) in sorted(result.exercised.worst.items())},
                "verdicts": {name: dict(counter) for name, counter in sorted(result.exercised.verdicts.items())},
                "exercised": {
                    kind: dict(sorted(counter.items())) for kind, counter in sorted(result.exercised.counts.items())
                },
                "not_exercised": result.exercised.not_exercised(result.declared, clauses),
            }
            for result in searched
        ],
    }
