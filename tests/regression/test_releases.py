"""Which versions make a row."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version

from conformance.errors import UsageError
from conformance.regression.every import Every
from conformance.regression.pins import NightlyBuilds
from conformance.regression.releases import newest_nightly, specified, thinned
from tests.tiny_wheels import write_wheel

RELEASES = tuple(map(Version, ("0.9.0", "0.9.1", "0.10.0", "0.10.1", "1.0.0", "1.0.1", "2.0.0rc1")))


@pytest.mark.parametrize(
    ("asked", "every", "last", "row"),
    [
        (">=0.10,<1.0.1", Every.RELEASE, None, ["0.10.0", "0.10.1", "1.0.0"]),
        ("", Every.RELEASE, 2, ["1.0.0", "1.0.1"]),
        ("", Every.MINOR, None, ["0.9.1", "0.10.1", "1.0.1"]),
        ("", Every.MAJOR, None, ["0.10.1", "1.0.1"]),
        ("<1", Every.MINOR, 1, ["0.10.1"]),
    ],
)
def test_a_row_is_thinned_to_the_newest_of_each_release_and_then_to_the_last(
    asked: str, every: Every, last: int | None, row: list[str]
) -> None:
    assert [str(version) for version in thinned(RELEASES, specified(asked), every, last)] == row


def test_an_index_of_nights_that_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Pip goes on with what other places have, and says so in a warning alone."""
    write_wheel(tmp_path, "layers", "1.0")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    builds = NightlyBuilds(distribution="layers", index="http://127.0.0.1:1/nights")
    with pytest.raises(UsageError, match=r"in http://127\.0\.0\.1:1/nights; pip could not reach all that it asked"):
        newest_nightly(builds)


def test_a_range_that_holds_nothing_is_refused_with_the_newest_that_there_are() -> None:
    with pytest.raises(
        UsageError, match=r"--versions >=3: no release is within it; the newest are .*1\.0\.1, 2\.0\.0rc1"
    ):
        thinned(RELEASES, specified(">=3"), Every.RELEASE, None)


def test_what_is_no_range_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--versions 0\.6: expected a range of versions"):
        specified("0.6")


def test_the_newest_build_of_a_night_is_taken_and_no_candidate_for_a_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("1.0", "1.1.dev20260101", "1.1.dev20260102", "1.1rc1"):
        write_wheel(tmp_path, "layers", version)
    write_wheel(tmp_path, "arrays", "1.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert str(newest_nightly(NightlyBuilds(distribution="layers"))) == "1.1.dev20260102"
    with pytest.raises(UsageError, match="--nightly: arrays has no build of a night in pip's index; --index-url"):
        newest_nightly(NightlyBuilds(distribution="arrays"))
