"""The scheduler as a run sees it, with a client that answers as a test says."""

from __future__ import annotations

from typing import Any, cast

import pytest

from conformance.cluster.suite import suite
from conformance.errors import SuiteError, UsageError

connection = pytest.importorskip("conformance.cluster.connection")


class Client:
    """A client of Dask that knows what it is made with."""

    def __init__(self, suites: dict[str, Any], status: str = "running") -> None:
        self.suites, self.status, self.scheduler = suites, status, self

    def run(self, function: Any, on_error: str) -> dict[str, Any]:
        assert on_error == "return"
        return self.suites

    def sync(self, function: Any, **keywords: Any) -> Any:
        return function(**keywords)

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        """What the client asked for itself last, which has no workers."""
        return {"workers": {}}

    def identity(self, n_workers: int) -> dict[str, Any]:
        if self.status != "running":
            raise OSError("closed")
        assert n_workers == -1
        return {"workers": {address: {"resources": {"TORCH": 1.0}} for address in self.suites}}


def connected(suites: dict[str, Any], status: str = "running") -> Any:
    return connection.Connection(cast("Any", Client(suites, status)), "tcp://there:1")


def test_workers_of_the_same_suite_are_in_order() -> None:
    connected({"tcp://a:1": suite(), "tcp://b:1": suite()}).check_suites()


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        ("0.0.1 x", "tcp://b:1: has suite 0.0.1, and the run has "),
        (f"{suite().partition(' ')[0]} x", "tcp://b:1: has other sources, adapters or spec of suite "),
        (ModuleNotFoundError("No module named 'conformance'"), "tcp://b:1: the suite does not answer there: ModuleNot"),
    ],
)
def test_a_worker_of_another_suite_or_of_none_is_one_line(theirs: Any, told: str) -> None:
    with pytest.raises(UsageError) as refused:
        connected({"tcp://a:1": suite(), "tcp://b:1": theirs}).check_suites()
    assert str(refused.value).startswith(told)
    assert "\n" not in str(refused.value)


def test_a_worker_that_is_lost_while_it_is_asked_is_none_of_another_suite() -> None:
    connected({"tcp://a:1": suite(), "tcp://b:1": OSError("Stream is closed")}).check_suites()


def test_a_scheduler_that_is_gone_is_told_with_what_to_do() -> None:
    assert connected({"tcp://a:1": suite()}).workers() == {"tcp://a:1": {"TORCH": 1.0}}
    with pytest.raises(SuiteError, match="tcp://there:1: the scheduler is gone; --resume completes the run"):
        connected({}, "closed").workers()
