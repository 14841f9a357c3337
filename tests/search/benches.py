"""Benches for the tests of search: one adapter file of the planted faults in a process of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from conformance.execution.pool import Limits, Workers
from conformance.execution.survey import survey
from conformance.planning.discovery import keys
from conformance.planning.plan import Offer, Selection
from conformance.search.bench import Bench
from conformance.spec.divergences import Listed

FAULTS = Path(__file__).parents[1] / "faults"
PLANTED = f"{FAULTS / 'planted.py'}:ADAPTER"


@contextlib.contextmanager
def bench(folder: Path, adapter: str, *names: str, divergences: Sequence[Listed] = ()) -> Iterator[Bench]:
    """Yield a bench over those implementations of an adapter."""
    (key,) = keys({}, [adapter])
    with Workers(1, folder, Limits(start=60.0, cell=20.0), kept=True) as workers:
        (offer,) = survey([key], [], workers)
        assert isinstance(offer, Offer), offer
        selection = Selection(implementations=names, modes=("eager",), devices=("cpu",))
        yield Bench(offer=offer, selection=selection, workers=workers, divergences=divergences)
