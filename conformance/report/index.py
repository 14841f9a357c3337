"""Data for the pages' scripts: every cell as five numbers, worst first, which the front page filters; and shared words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from conformance.report.model import Report, framework_of
from conformance.report.pool import Pool
from conformance.report.wording import STANDS, VERDICTS, stand
from conformance.runfile.observed import RecordedCell, shortened
from conformance.runfile.structs import CaseLine
from conformance.verdict import Verdict

_TITLE = 200
_CODES = {
    (verdict, name): code * len(STANDS) + position
    for code, verdict in enumerate(Verdict)
    for position, name in enumerate(STANDS)
}
#: Verdicts that say the same of how two implementations differ.
_KINDS = {Verdict.EXACT: "agrees", Verdict.CONFORMS: "agrees"}


def words(report: Report, firsts: Iterable[str]) -> Any:
    """Return what every script needs: verdicts, standings, clauses, columns, and the first case of each shard.

    The last of a column is the arguments that it was called with in any case.
    """
    taken: dict[str, set[str]] = {column.name: set() for column in report.matrix.columns}
    for cell in report.cells:
        if cell.call is not None:
            taken[cell.column.name] |= cell.call.keywords.keys()
    return {
        "verdicts": [
            [verdict.value, VERDICTS[verdict].symbol, VERDICTS[verdict].word, verdict.judged] for verdict in Verdict
        ],
        "stands": [[name, sign.sign, sign.word] for name, sign in STANDS.items()],
        "clauses": [[number, title] for number, title in report.clauses.items()],
        "columns": [
            [
                column.name,
                column.implementation,
                column.mode,
                column.device,
                framework_of(column),
                report.slugs[column.implementation],
                " ".join(sorted(taken[column.name])),
            ]
            for column in report.matrix.columns
        ],
        "runs": [run.file for run in report.runs],
        "shards": list(firsts),
    }


def index(report: Report) -> Any:
    """Return the cells by columns: positions of case, column and text, a code of verdict and stand, the score."""
    texts = Pool()
    cases = {case.id: position for position, case in enumerate(report.cases)}
    columns = {column.name: position for position, column in enumerate(report.matrix.columns)}
    clauses = {number: position for position, number in enumerate(report.clauses)}
    cells = sorted(report.cells, key=lambda cell: cell.rank, reverse=True)
    return {
        "cases": [_case(case, clauses) for case in report.cases],
        "case": [cases[cell.case.id] for cell in cells],
        "column": [columns[cell.column.name] for cell in cells],
        "code": [_CODES[cell.verdict, stand(cell)] for cell in cells],
        "score": [shortened(cell.score, 3) for cell in cells],
        "what": [texts.position(_listed(cell)) for cell in cells],
        "texts": texts.values,
        "missing": [[cases[absent.case.id], columns[absent.column.name]] for absent in report.missing],
    }


def kind(verdict: Verdict) -> str:
    """Return what a verdict says of how an implementation differs."""
    return _KINDS.get(verdict, verdict.value)


def _case(case: CaseLine, clauses: dict[str, int]) -> Sequence[Any]:
    title = case.title
    return [
        case.id,
        title if len(title) <= _TITLE else title[: _TITLE - 1] + "…",
        case.op,
        case.configuration.dtype,
        [clauses[clause] for clause in case.clauses if clause in clauses],
    ]


def _listed(cell: RecordedCell) -> str:
    listed = cell.divergence if cell.verdict.judged else ()
    return listed[0].reason if listed else cell.what
