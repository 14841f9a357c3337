"""A history in words: what a terminal shows, and what its page says of each finding."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.compare.telling import counted
from conformance.regression.history import Followed, History, Sight, State, TurnKind, Version


def text(history: History) -> str:
    """Return the history for a terminal."""
    return "\n".join(_lines(history)) + "\n"


def course(finding: Followed) -> str:
    """Return where a finding began and ended, in words."""
    if finding.turns:
        return ", ".join(
            f"{turn.kind} in {turn.version}"
            + (f", or in {' or '.join(turn.between)}, which cannot tell" if turn.between else "")
            for turn in finding.turns
        )
    untold = any(sight.state is not State.SHOWN for sight in finding.sights)
    return "always: in every version that can tell" if untold else "always: in every version"


def sight_words(sight: Sight) -> str:
    """Return how a version stands to a finding, in words."""
    match sight.state:
        case State.SHOWN:
            return (
                counted(sight.cells, "cell") if sight.cells == sight.asked else f"{sight.cells} of {sight.asked} cells"
            )
        case State.ABSENT:
            return "not seen"
        case State.UNTOLD:
            return "cannot tell"
        case State.FAILED:
            return "not run"


def summary(history: History) -> str:
    """Return in one line how many findings began, ended, or are always there."""
    if not history.findings:
        return "No finding in any version."
    newest = [finding.turns[-1].kind if finding.turns else None for finding in history.findings]
    counts = [
        (newest.count(TurnKind.BEGAN), "that began and did not end"),
        (newest.count(TurnKind.ENDED), "that ended"),
        (newest.count(None), "always there"),
    ]
    parts = [f"{count} {words}" for count, words in counts if count]
    return f"{counted(len(history.findings), 'finding')}: {', '.join(parts)}."


def others_moved(version: Version) -> str:
    """Return which other packages differ from the version before; empty where none does."""
    moved = version.since.moved if version.since else {}
    return "; ".join(
        f"{group}: " + ", ".join(f"{name} {was or 'none'} → {now or 'none'}" for name, (was, now) in packages.items())
        for group, packages in moved.items()
    )


def _lines(history: History) -> Iterator[str]:
    yield f"{history.package}: {', '.join(version.version for version in history.versions)}"
    yield summary(history)
    for version in history.versions:
        yield from _version(version)
    for finding in history.findings:
        yield ""
        yield f"{finding.implementation}: {finding.sentence}"
        yield f"  {course(finding)}"
        pairs = zip(history.versions, finding.sights, strict=True)
        yield "  " + "; ".join(f"{version.version}: {sight_words(sight)}" for version, sight in pairs)
    if history.flawless:
        yield ""
        yield f"never a finding: {', '.join(history.flawless)}"


def _version(version: Version) -> Iterator[str]:
    since = f"; since {version.since.version}: {version.since.headline}" if version.since else ""
    yield f"  {version.version}: {counted(version.cells, 'cell')}{since}"
    if moved := others_moved(version):
        yield f"    also moved: {moved}"
    yield from (f"    {failure}" for failure in version.failures)
