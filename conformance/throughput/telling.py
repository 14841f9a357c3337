"""A comparison of speed as text: a line for every timed pass, worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from conformance.throughput.comparing import Finding, Pace, Speed

_ORDER = {pace: position for position, pace in enumerate(Pace)}
_WORDS = {Pace.SLOWER: "slower", Pace.FASTER: "faster", Pace.SAME: "the same", Pace.CANNOT_TELL: "cannot tell"}


def speed_text(speed: Speed, *, marked: bool) -> str:
    """Return the comparison as lines of plain text, or of Markdown where `marked`."""
    counts = Counter(finding.pace for finding in speed.findings)
    paces = ", ".join(f"{counts[pace]} {_WORDS[pace]}" for pace in Pace)
    grew = sum(finding.grew for finding in speed.findings)
    head = f"{len(speed.findings)} timed passes: {paces}{f'; {grew} with an error that grew' if grew else ''}"
    return "\n".join([f"**{head}**" if marked else head, *_lines(speed, marked=marked)]) + "\n"


def _lines(speed: Speed, *, marked: bool) -> Iterator[str]:
    worst_first = sorted(
        speed.findings, key=lambda finding: (not finding.regression, _ORDER[finding.pace], -finding.ratio)
    )
    if marked and worst_first:
        yield "\n| pass | pace | new / base | could have seen |\n| --- | --- | --- | --- |"
    for finding in worst_first:
        detectable = f"+{finding.detectable:.1%}"
        ratio = f"{finding.ratio:.3f} ({finding.low:.3f} to {finding.high:.3f}, {finding.pairs} pairs)"
        if marked:
            yield f"| <code>{finding.subject}</code> | {pace(finding)} | {ratio} | {detectable} |"
        else:
            yield f"  {pace(finding)}: {finding.subject}: {ratio}; could have seen {detectable}"


def pace(finding: Finding) -> str:
    """Return in words how the new build compares with the base: its speed, and its error if that grew."""
    if not finding.grew:
        return _WORDS[finding.pace]
    assert finding.new_score is not None
    factor = f"{finding.new_score / finding.base_score:.1f} times" if finding.base_score else "from nothing"
    joined = "but" if finding.pace is Pace.FASTER else "and"
    return f"{_WORDS[finding.pace]}, {joined} its error grew {factor}, to {finding.new_score:.2g} of its bound"
