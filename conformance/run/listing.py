"""What `conformance list` lists: cases, implementations, clauses and causes, a row each."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum

from conformance.runfile.terminal import plain


class Listable(StrEnum):
    """What `list` lists."""

    CASES = "cases"
    IMPLEMENTATIONS = "implementations"
    CLAUSES = "clauses"
    CAUSES = "causes"


def rows_of(what: Listable, interpreters: Mapping[str, str], adapters: Sequence[str]) -> list[dict[str, object]]:
    """Return a row for each of them, its fields by name."""
    match what:
        case Listable.CASES:
            return _case_rows()
        case Listable.CLAUSES:
            return _clause_rows()
        case Listable.CAUSES:
            return _cause_rows()
        case Listable.IMPLEMENTATIONS:
            from conformance.run.programs import check_interpreters

            check_interpreters(interpreters, adapters)
            return _implementation_rows(interpreters, adapters)


def _case_rows() -> list[dict[str, object]]:
    from conformance.spec.loader import load
    from conformance.spec.locations import spec_folder

    return [
        {
            "id": entry.case.id,
            "op": entry.case.op,
            "dtype": entry.case.dtype,
            "shape": "×".join(map(str, entry.case.shape)),
            "clauses": list(entry.case.clauses),
            "title": entry.case.title,
        }
        for entry in load(spec_folder()).cases
    ]


def _clause_rows() -> list[dict[str, object]]:
    from conformance.spec.loader import load
    from conformance.spec.locations import spec_folder

    spec = load(spec_folder())
    return [
        {
            "clause": number,
            "title": title,
            "cases": sum(number in entry.case.clauses for entry in spec.cases),
        }
        for number, title in spec.clauses.items()
    ]


def _cause_rows() -> list[dict[str, object]]:
    from conformance.spec.causes import catalogue

    return [
        {"id": id_, "words": entry.words, "instead": entry.instead, "seen": entry.seen, "clause": entry.clause}
        for id_, entry in catalogue().items()
    ]


def _implementation_rows(interpreters: Mapping[str, str], adapters: Sequence[str]) -> list[dict[str, object]]:
    from conformance.execution.kept_offers import KeptOffers
    from conformance.execution.pool import Workers, usual_count
    from conformance.execution.survey import survey
    from conformance.planning.discovery import keys
    from conformance.planning.plan import Offer
    from conformance.run.run_options import FOLDER

    wanted = keys(interpreters, adapters)
    rows: dict[str, dict[str, object]] = {}
    with Workers(usual_count(), FOLDER, offers=KeptOffers(FOLDER / "offers", ())) as workers:
        for offer in survey(wanted, [], workers):
            if not isinstance(offer, Offer):
                print(plain(f"{offer.worker}: {offer.message.splitlines()[-1]}"), file=sys.stderr)
                continue
            for implementation in offer.implementations:
                row: dict[str, object] = {
                    "name": implementation.name,
                    "op": implementation.op,
                    "library": f"{offer.library} {offer.versions.get(offer.library, '')}".strip(),
                    "modes": list(implementation.modes),
                    "devices": list(implementation.devices),
                    "dtypes": list(implementation.dtypes),
                    "steps": list(implementation.steps),
                }
                rows.setdefault(implementation.name, row)
    return [rows[name] for name in sorted(rows)]
