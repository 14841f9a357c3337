"""Which versions of a package there are, and which of them make a row."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from conformance.errors import UsageError
from conformance.regression.every import Every
from conformance.regression.installer import PIP
from conformance.regression.pins import Nightly, NightlyBuilds
from conformance.regression.wheels import last_line

#: Listing one package; an index that takes longer does not answer.
_SECONDS = 300.0
_NAMED = 5
#: What pip says of an index that it goes on without.
_UNREACHED = "connection broken"


def released(package: str) -> tuple[Version, ...]:
    """Return the versions in the index that this Python can install, without pre-releases, oldest first.

    Raises `UsageError`.
    """
    return _versions(package, _asked(package))


def newest_nightly(builds: NightlyBuilds) -> Nightly:
    """Return the newest build of a night that this Python can install. Raises `UsageError` where there is none."""
    beside = ("--extra-index-url", builds.index) if builds.index else ()
    answer = _asked(builds.distribution, "--pre", *beside)
    versions = [version for version in _versions(builds.distribution, answer) if version.is_devrelease]
    if not versions:
        where = f"in {builds.index}" if builds.index else "in pip's index; --index-url names another"
        missed = f"; pip could not reach all that it asked: {_UNREACHED}" if _UNREACHED in answer.stderr else ""
        raise UsageError(f"--nightly: {builds.distribution} has no build of a night {where}{missed}")
    return Nightly(version=versions[-1], builds=builds)


def specified(text: str) -> SpecifierSet:
    """Return which versions a person asked for. Raises `UsageError`."""
    try:
        return SpecifierSet(text)
    except InvalidSpecifier:
        raise UsageError(f"--versions {text}: expected a range of versions, such as '>=0.6,<0.11'") from None


def thinned(versions: Sequence[Version], asked: SpecifierSet, every: Every, last: int | None) -> tuple[Version, ...]:
    """Return the versions within the range, of each minor or major release the newest alone, of those the last.

    Raises `UsageError` where none is within the range.
    """
    within = sorted(version for version in versions if asked.contains(version, prereleases=False))
    if not within:
        newest = ", ".join(str(version) for version in sorted(versions)[-_NAMED:])
        raise UsageError(f"--versions {asked}: no release is within it; the newest are {newest or 'none'}")
    kept = tuple({_shared(version, every): version for version in within}.values())
    return kept if last is None else kept[-last:]


def _shared(version: Version, every: Every) -> tuple[int, ...] | Version:
    """Return what a version has in common with those that it stands for."""
    match every:
        case Every.RELEASE:
            return version
        case Every.MINOR:
            return version.epoch, version.major, version.minor
        case Every.MAJOR:
            return version.epoch, version.major


def _asked(package: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Return what pip says of the versions of a package. Raises `UsageError` where it takes too long."""
    command = [*PIP, "index", "versions", *words, package]
    try:
        return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise UsageError(f"{package}: its versions cannot be listed: no answer within {_SECONDS:.0f} seconds") from None


def _versions(package: str, done: subprocess.CompletedProcess[str]) -> tuple[Version, ...]:
    """Return the versions that pip names, oldest first. Raises `UsageError` where it names none."""
    lines = [line.partition(":")[2] for line in done.stdout.splitlines() if line.startswith("Available versions:")]
    if done.returncode or not lines:
        raise UsageError(f"{package}: its versions cannot be listed: {last_line(done.stderr)}")
    versions = []
    for text in lines[0].split(","):
        try:
            versions.append(Version(text.strip()))
        except InvalidVersion:  # older than the rule for versions, and so than anything that is asked for
            continue
    return tuple(sorted(versions))
