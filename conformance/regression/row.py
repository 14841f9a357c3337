"""A row of versions: which it has, and the same cells run in the environments of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.version import Version

from conformance.compare.values import Policy
from conformance.errors import UsageError
from conformance.regression.every import Every
from conformance.regression.following import history_of, judged
from conformance.regression.history import History
from conformance.regression.pins import Local, Nightly, NightlyBuilds, Released, Source
from conformance.regression.releases import newest_nightly, released, specified, thinned
from conformance.regression.version import Asked, built_side_by_side, ran, wheel_of
from conformance.regression.wheels import check_package
from conformance.runfile.reading import read

#: Where `pyproject.toml` says of a package where its builds of every night are.
_TABLE = "tool.conformance.nightly"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which versions of a package a person asked for."""

    #: A range of released versions; None: no released versions but those that are named.
    within: str | None
    every: Every
    last: int | None
    #: Versions, wheels or checkouts that were named.
    named: tuple[Source, ...]
    #: The newest build of a night, from there.
    nightly: NightlyBuilds | None


def nightly_builds(project: Mapping[str, Any], package: str, index: str) -> NightlyBuilds:
    """Return where the builds of every night of a package are, as `pyproject.toml` says or in the index named.

    Raises `UsageError` for what is no such entry.
    """
    table = project.get("tool", {}).get("conformance", {}).get("nightly", {})
    entry = {"distribution": package, **table.get(package, {})}
    texts, lists = ("distribution", "index"), ("along", "without")
    for key, value in entry.items():
        right = isinstance(value, str) if key in texts else key in lists and isinstance(value, list)
        if not right:
            raise UsageError(
                f"pyproject.toml: {_TABLE}.{package}.{key}: expected a text in {' or '.join(texts)},"
                f" or a list of names in {' or '.join(lists)}"
            )
    return NightlyBuilds(
        distribution=entry["distribution"],
        index=index or entry.get("index", ""),
        along=tuple(entry.get("along", ())),
        without=tuple(entry.get("without", ())),
    )


def versions_of(package: str, span: Span) -> tuple[Source, ...]:
    """Return the versions of a row, oldest first, what is no release last. Raises `UsageError` where it has no two."""
    releases: tuple[Version, ...] = ()
    if span.within is not None:
        asked = specified(span.within)
        releases = thinned(released(package), asked, span.every, span.last)
    nightly = [newest_nightly(span.nightly)] if span.nightly else []
    sources: list[Source] = [*(Released(version=version) for version in releases), *span.named, *nightly]
    row = tuple(sorted(dict.fromkeys(sources), key=_place))
    if len(row) < 2:
        raise UsageError(f"{package}: a row needs two versions, and this one is {', '.join(map(str, row)) or 'empty'}")
    for source in row:
        check_package("--base or --head", package, source)
    return row


def run_row(asked: Asked, versions: Sequence[Source], policy: Policy) -> History:
    """Build every environment, run the cells in each, and return the history. Raises `UsageError`."""
    versions = [wheel_of(asked, at) for at in versions]
    environments = built_side_by_side(asked, versions)
    checked = [ran(asked, at, built, str(at)) for at, built in zip(versions, environments, strict=True)]
    runs = [judged(read(version.file) if version.file else None) for version in checked]
    if not any(run.present for run in runs):
        raise UsageError(f"{asked.package}: no cell was selected, or no version of the row could run one")
    return history_of(asked.package, checked, runs, policy)


def _place(source: Source) -> tuple[int, Version, str]:
    match source:
        case Released(version=version):
            return 0, version, ""
        case Nightly(version=version):
            return 1, version, ""
        case Local(path=path):
            return 2, Version("0"), str(path)
