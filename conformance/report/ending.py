"""What a person at a terminal reads when a run has ended: the verdicts, the findings that are new, the worst, where it all is."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence

from conformance.report.ranked import RankedFinding, ranked
from conformance.report.wording import VERDICTS
from conformance.runfile.gathering import observed
from conformance.runfile.run import Run
from conformance.runfile.terminal import plain
from conformance.verdict import Verdict

#: Known findings that are shown.
_WORST = 5
#: New findings that are shown.
_NEW = 20


def ending(run: Run) -> str:
    """Return in a few lines what a run found."""
    cells = observed([run], partial=True).cells
    findings = ranked(cells, run.header.data_kinds)
    new, known = ([finding for finding in findings if finding.new is wanted] for wanted in (True, False))
    file = shlex.quote(str(run.path))
    lines = [
        f"Verdicts: {_verdicts(Counter(cell.verdict for cell in cells))}.",
        f"Findings: {len(findings):,}, of which {len(new):,} {'is' if len(new) == 1 else 'are'} new.",
        *_listed("New", new, _NEW),
        *_listed("The worst that are known" if new else "The worst, all of them known", known, _WORST),
        f"Run file: {file}. Its report: conformance report {file} --out report",
    ]
    return "\n".join(map(plain, lines))


def _verdicts(counts: Counter[Verdict]) -> str:
    judged, apart = (
        ", ".join(
            f"{counts[verdict]:,} {words.word}"
            for verdict, words in VERDICTS.items()
            if verdict.judged is wanted and counts[verdict]
        )
        for wanted in (True, False)
    )
    return (judged or "none") + (f"; counted apart: {apart}" if apart else "")


def _listed(title: str, findings: Sequence[RankedFinding], most: int) -> Iterator[str]:
    if findings:
        yield f"{title}:"
    for finding in findings[:most]:
        cells = len(finding.sightings)
        yield f"  {finding.implementation}: {finding.sentence} ({cells:,} {'cell' if cells == 1 else 'cells'})"
        yield f"    {finding.worst.cell.id}"
    if len(findings) > most:
        yield f"  and {len(findings) - most:,} more"
