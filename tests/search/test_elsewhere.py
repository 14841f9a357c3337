"""The search of a cluster as its run sees it: shares that go out, what comes back, and workers that are lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from conformance.cluster.messages import Promise, Wanted, taken, written
from conformance.errors import SuiteError, UsageError
from conformance.execution.pool import Limits
from conformance.planning.plan import Selection
from conformance.search.exercised import Exercised
from conformance.search.finding import Suspicion
from conformance.search.fuzz import FuzzOptions
from conformance.search.grounds import Ground
from conformance.search.hunt import Effort
from conformance.search.messages import SentShare, ShareReply, ToldFind, sent_case, told_exercised
from conformance.search.written import Script
from tests.cells import case, offer, offered

connection = pytest.importorskip("conformance.cluster.connection")
elsewhere = pytest.importorskip("conformance.search.elsewhere")

SUSPICION = Suspicion("fake.BatchNorm", "epsilon-twice")
Answer = Callable[[SentShare], ShareReply | None]


class Cluster:
    """A cluster of so many workers, whose shares are answered as soon as all workers have one."""

    def __init__(self, answer: Answer, workers: int) -> None:
        self.answer = answer
        self.there: Mapping[str, dict[str, float]] = {f"tcp://{number}:1": {} for number in range(workers)}
        self.asked: list[SentShare] = []
        self.ended: deque[Any] = deque()

    def workers(self) -> Mapping[str, dict[str, float]]:
        return self.there

    def promise(self, key: Any, names: frozenset[str]) -> Promise:
        worker = Wanted(name=key.name, adapter="fake.py", attribute="ADAPTER")
        return Promise(worker=worker, offer={"implementations": [{"name": name} for name in names]}, sources="0")

    def send(self, task: Any, share: SentShare, needs: Mapping[str, float], preferred: str) -> str:
        share = taken(written(share), SentShare)
        self.asked.append(share)
        name = f"task-{len(self.asked)}"
        reply = self.answer(share)
        self.ended.append(connection.Arrived(name=name, answer=None if reply is None else written(reply)))
        return name

    def arrived(self) -> Any:
        return self.ended.popleft() if self.ended else None


def came_to(share: SentShare, *finds: ToldFind, drawn: int | None = None) -> ShareReply:
    exercised = Exercised()
    drawn = share.examples if drawn is None else drawn
    exercised.cases = drawn
    return ShareReply(drawn=drawn, seconds=1.0, exercised=told_exercised(exercised), finds=finds, machine="there")


def find() -> ToldFind:
    made = case(id="found-one.epsilon-twice")
    scripts = (Script(text="print()\n"),)
    return ToldFind(suspicion=SUSPICION, case=sent_case(made), replays=True, scripts=scripts, examples=3, seconds=0.5)


@pytest.fixture(name="search")
def _search(tmp_path: Path) -> Callable[..., Any]:
    def search(cluster: Cluster, **effort: Any) -> Any:
        selection = Selection(implementations=("fake.BatchNorm",), modes=("eager",), devices=("cpu",))
        options = FuzzOptions(
            selection=selection,
            interpreters={},
            adapters=(),
            effort=Effort(**effort),
            out=tmp_path,
            limits=Limits(),
        )
        ground = Ground(offer=offer(offered()), selection=selection)
        (result,) = elsewhere.Elsewhere(cluster, options).searched([ground])
        return result

    return search


def test_every_worker_gets_a_share_and_what_they_came_to_is_joined(search: Callable[..., Any]) -> None:
    cluster = Cluster(came_to, 2)
    result = search(cluster, examples=1_300, seed=5)
    assert [(share.examples, share.seed) for share in cluster.asked] == [(500, 5), (500, 1_005), (300, 2_005)]
    assert (result.drawn, result.exercised.cases, result.seconds) == (1_300, 1_300, 3.0)


def test_what_two_shares_find_is_one_find_that_the_next_share_knows(
    search: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = Cluster(lambda share: came_to(share, *() if SUSPICION in share.done else (find(),)), 2)
    result = search(cluster, examples=1_500)
    assert [share.done for share in cluster.asked] == [(), (), (SUSPICION,)]
    assert [told["cause"] for told in result.finds] == ["epsilon-twice"]
    assert capsys.readouterr().out.count("found after") == 1
    assert (tmp_path / "found-one.yaml").is_file()
    assert (tmp_path / "found-one.py").read_text() == "print()\n"


def test_a_process_of_which_little_could_be_drawn_is_searched_no_further(search: Callable[..., Any]) -> None:
    cluster = Cluster(lambda share: came_to(share, drawn=10), 1)
    assert search(cluster, examples=5_000).drawn == 10


def test_a_lost_share_is_told_after_all_others(search: Callable[..., Any]) -> None:
    cluster = Cluster(lambda share: None if share.seed == 0 else came_to(share), 1)
    with pytest.raises(SuiteError, match="lost 1 shares of the search"):
        search(cluster, examples=1_500)
    assert len(cluster.asked) == 3


def test_a_refusal_is_one_line_with_the_worker(search: Callable[..., Any]) -> None:
    cluster = Cluster(lambda share: ShareReply(refused="has other sources"), 1)
    with pytest.raises(UsageError, match=r"^tcp://0:1: has other sources$"):
        search(cluster, examples=10)


def test_without_a_worker_that_could_a_search_does_not_wait_for_ever(
    search: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elsewhere, "PATIENCE", -1.0)
    with pytest.raises(SuiteError, match="no worker of the cluster is left"):
        search(Cluster(came_to, 0), examples=10)


def test_a_share_begins_with_what_earlier_searches_found(search: Callable[..., Any], tmp_path: Path) -> None:
    search(Cluster(lambda share: came_to(share, find()), 1), examples=10)
    cluster = Cluster(came_to, 1)
    search(cluster, examples=600)
    assert [len(share.earlier) for share in cluster.asked] == [1, 0]
    assert cluster.asked[0].earlier[0]["id"] == "found-one.epsilon-twice"
