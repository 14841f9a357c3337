"""The finds of one process: told, written, and kept for `search.json`; those of earlier searches among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from conformance.search.finding import Suspicion
from conformance.search.summary import Searched
from conformance.search.written import Reported, write_find
from conformance.spec.case import Case
from conformance.spec.loader import load_clauses, load_file
from conformance.spec.locations import spec_folder


def earlier_cases(out: Path) -> Iterator[Case]:
    """Yield the cases of what earlier searches found. Raises `SpecErrors`."""
    clauses = load_clauses(spec_folder() / "semantics.md")
    for file in sorted(out.glob("found-*.yaml")):
        yield from (located.case for located in load_file(file, clauses))


class Finds:
    """What was found in a process so far; each suspicion once."""

    def __init__(self, out: Path, result: Searched) -> None:
        self._out, self._result = out, result
        self.suspicions: set[Suspicion] = set()

    def still(self, suspicion: Suspicion, case: Case) -> None:
        """Tell that something which an earlier search found is still so; it is not searched for again."""
        if suspicion in self.suspicions:
            return
        self.suspicions.add(suspicion)
        path = self._out / f"{case.family}.yaml"
        self._result.finds.append(_line(suspicion, case, replays=True, path=path, scripts=()))
        print(f"still found: {case.title}\n  {path}")

    def new(self, find: Reported) -> None:
        """Write a find, and tell of it."""
        if find.suspicion in self.suspicions:
            return
        self.suspicions.add(find.suspicion)
        path, scripts = write_find(self._out, find)
        remark = "" if find.replays else " (performed again, it did not show)"
        print(f"found after {find.examples} examples, {find.seconds:.1f} s: {find.case.title}{remark}\n  {path}")
        for why in dict.fromkeys(script.why for script in find.scripts if script.why):
            print(f"  no script: {why}")
        line = _line(find.suspicion, find.case, replays=find.replays, path=path, scripts=scripts)
        self._result.finds.append(line | {"examples": find.examples, "seconds": round(find.seconds, 2)})


def _line(suspicion: Suspicion, case: Case, *, replays: bool, path: Path, scripts: Sequence[str]) -> dict[str, Any]:
    return {
        "implementation": suspicion.implementation,
        "against": suspicion.against or None,
        "cause": suspicion.cause,
        "parameters": list(suspicion.parameters),
        "title": case.title,
        "case": path.name,
        "scripts": list(scripts),
        "replays": replays,
    }
