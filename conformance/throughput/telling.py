"""What became of the speed, in words: worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from conformance.throughput.comparing import Finding, Pace, Speed

_ORDER = {pace: position for position, pace in enumerate(Pace)}
_WORDS = {Pace.SLOWER: "slower", Pace.FASTER: "faster", Pace.SAME: "the same", Pace.CANNOT_TELL: "cannot tell"}


def told(speed: Speed, *, marked: bool) -> str:
    """Return the comparison as lines of plain text, or of Markdown where `marked`."""
    counts = Counter(each.pace for each in speed.findings)
    said = ", ".join(f"{counts[pace]} {_WORDS[pace]}" for pace in Pace)
    grew = sum(each.grew for each in speed.findings)
    head = f"{len(speed.findings)} timed passes: {said}{f'; {grew} with an error that grew' if grew else ''}"
    return "\n".join([f"**{head}**" if marked else head, *_lines(speed, marked=marked)]) + "\n"


def _lines(speed: Speed, *, marked: bool) -> Iterator[str]:
    found = sorted(speed.findings, key=lambda each: (not each.regression, _ORDER[each.pace], -each.ratio))
    if marked and found:
        yield "\n| pass | pace | new / base | could have seen |\n| --- | --- | --- | --- |"
    for each in found:
        seen = f"+{each.detectable:.1%}"
        ratio = f"{each.ratio:.3f} ({each.low:.3f} to {each.high:.3f}, {each.pairs} pairs)"
        if marked:
            yield f"| <code>{each.subject}</code> | {pace(each)} | {ratio} | {seen} |"
        else:
            yield f"  {pace(each)}: {each.subject}: {ratio}; could have seen {seen}"


def pace(finding: Finding) -> str:
    """Return in words how the new is to the base; what its error did stands in the same finding."""
    if not finding.grew:
        return _WORDS[finding.pace]
    assert finding.new_score is not None
    factor = f"{finding.new_score / finding.base_score:.1f} times" if finding.base_score else "from nothing"
    joined = "but" if finding.pace is Pace.FASTER else "and"
    return f"{_WORDS[finding.pace]}, {joined} its error grew {factor}, to {finding.new_score:.2g} of its bound"
