"""Findings over a row of versions: where each began and ended, and what no version tells."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version

from conformance.compare.values import Policy
from conformance.regression.checked import CheckedVersion
from conformance.regression.environments import Built, Environment, Unbuilt
from conformance.regression.following import history_of, judged, turns
from conformance.regression.history import Followed, History, State
from conformance.regression.history_text import course, sight_words, text
from conformance.regression.pins import Released
from conformance.runfile.results import results_of
from conformance.runfile.run import Run
from tests.run_lines import FLAX, TORCH, Line, record_line, run_of
from tests.run_pairs import CONFORMS, DEVIATES, FLAX_CELL, OTHER_CELL, dialect
from tests.runs_with_reasons import named, run_with

EPSILON = named("epsilon-outside-root", "output")
WRONG = run_with((record_line("deviates", 12.5), (EPSILON,), ()))
RIGHT = run_of(CONFORMS)
UNSUPPORTED = run_of(record_line("unsupported", None))
REFUSED = run_of(record_line("refused", None, status="failed"))
NOT_BUILT: Line = {"id": "torch", "group": "torch", "adapter": None, "failed": "no distribution"}


def version(number: int, run: Run | None, **packages: str) -> CheckedVersion:
    built = run is None or all(line.failed is None for line in run.environments)
    environment: Environment = (
        Built(
            group="torch",
            python=Path("python"),
            kept="as pinned",
            versions={"torch": str(number), **packages},
            seconds=1.0,
        )
        if built
        else Unbuilt(group="torch", log=Path("log"), reason="ERROR: no distribution")
    )
    return CheckedVersion(
        at=Released(version=Version(str(number))),
        environments=(environment,),
        file=Path(f"{number}.jsonl") if run else None,
        results=results_of([run], partial=True) if run else None,
        seconds=1.0,
    )


def followed(*runs: Run | None) -> History:
    """Return the history of versions 1, 2, … with those runs."""
    versions = [version(number, run) for number, run in enumerate(runs, start=1)]
    return history_of("torch", versions, [judged(run) for run in runs], Policy())


def only(history: History) -> Followed:
    (finding,) = history.findings
    return finding


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ("ssss", []),
        ("aass", [("began", "3", "2", ())]),
        ("ssaa", [("ended", "3", "2", ())]),
        ("as?s", [("began", "2", "1", ())]),
        ("a?!s", [("began", "4", "1", ("2", "3"))]),
        ("sasa", [("ended", "2", "1", ()), ("began", "3", "2", ()), ("ended", "4", "3", ())]),
        ("?s", []),
    ],
)
def test_a_finding_begins_and_ends_between_versions_that_can_tell(
    states: str, said: list[tuple[str, str, str, tuple[str, ...]]]
) -> None:
    letters = {"s": State.SHOWN, "a": State.ABSENT, "?": State.UNTOLD, "!": State.FAILED}
    numbers = [str(position + 1) for position in range(len(states))]
    found = turns([letters[letter] for letter in states], numbers)
    assert [(turn.kind.value, turn.version, turn.after, turn.between) for turn in found] == said


def test_a_finding_that_began_says_in_which_version_with_the_cell_that_shows_it() -> None:
    history = followed(RIGHT, RIGHT, WRONG)
    finding = only(history)
    assert (finding.implementation, finding.cause) == (TORCH, "epsilon-outside-root")
    assert course(finding) == "began in 3"
    assert (finding.example, finding.example_version) == ("a.one::torch.nn.BatchNorm-eager-cpu", "3")
    assert [sight_words(sight) for sight in finding.sights] == ["not seen", "not seen", "1 cell"]
    assert history.regression


def test_a_finding_that_ended_is_no_regression() -> None:
    history = followed(WRONG, RIGHT)
    assert course(only(history)) == "ended in 2"
    assert not history.regression


def test_a_finding_of_every_version_is_always_there() -> None:
    assert course(only(followed(WRONG, WRONG))) == "always: in every version"


def test_a_version_that_does_not_install_tells_nothing() -> None:
    not_built = run_of(environments=(NOT_BUILT,), narrowed=True)
    history = followed(RIGHT, not_built, WRONG)
    finding = only(history)
    assert [sight.state for sight in finding.sights] == [State.ABSENT, State.FAILED, State.SHOWN]
    assert course(finding) == "began in 3, or in 2, which cannot tell"
    assert history.versions[1].failures[0] == "torch: not built: ERROR: no distribution"
    # What is wrong now is compared with the last version of which cells ran.
    assert history.versions[2].since is not None
    assert history.versions[2].since.version == "1"


@pytest.mark.parametrize(
    "silent",
    [UNSUPPORTED, REFUSED, run_of(OTHER_CELL), None],
    ids=["unsupported", "refused", "another cell", "nothing"],
)
def test_a_version_whose_cells_gave_no_numbers_tells_nothing_of_wrong_ones(silent: Run | None) -> None:
    history = followed(WRONG, silent)
    finding = next(finding for finding in history.findings if finding.cause == "epsilon-outside-root")
    assert [sight.state for sight in finding.sights] == [State.SHOWN, State.UNTOLD]
    assert course(finding) == "always: in every version that can tell"


def test_a_refusal_is_a_finding_that_ends_where_the_cell_gives_numbers() -> None:
    finding = only(followed(REFUSED, RIGHT))
    assert course(finding) == "ended in 2"


def test_of_a_finding_that_is_half_mended_the_cells_are_counted() -> None:
    both = run_with(
        (record_line("deviates", 12.5), (EPSILON,), ()), (record_line("deviates", 12.5, of="a.two"), (EPSILON,), ())
    )
    half = run_with((record_line(), (), ()), (record_line("deviates", 12.5, of="a.two"), (EPSILON,), ()))
    finding = only(followed(both, half))
    assert [sight_words(sight) for sight in finding.sights] == ["2 cells", "1 of 2 cells"]


def test_what_is_wrong_nowhere_is_said_to_be_flawless() -> None:
    history = followed(run_of(DEVIATES, FLAX_CELL), run_of(DEVIATES, FLAX_CELL))
    assert history.flawless == (FLAX,)
    assert "never a finding: flax.linen.BatchNorm" in text(history)


def test_a_dialect_that_moved_in_the_newest_version_is_a_regression_without_a_finding() -> None:
    history = followed(dialect("update"), RIGHT)
    assert (history.findings, history.regression) == ((), True)


def test_what_else_moved_with_a_version_is_told() -> None:
    versions = [version(1, RIGHT, numpy="2.3.0"), version(2, RIGHT, numpy="2.4.0")]
    history = history_of("torch", versions, [judged(RIGHT)] * 2, Policy())
    assert "also moved: torch: numpy 2.3.0 → 2.4.0" in text(history)


def test_a_newest_version_of_which_nothing_was_selected_is_a_regression() -> None:
    history = followed(RIGHT, None)
    assert history.regression
    assert "2: 0 cells; since 1: No cell was selected there." in text(history)
