"""Every way a cell can die is blamed on that cell, by really dying."""

from __future__ import annotations

import os
import sys
import sysconfig
import time
import venv
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from conformance.errors import WorkerError
from conformance.execution.execute import Outcomes, execute
from conformance.execution.pool import Limits, Workers
from conformance.execution.process import OUTPUT_LIMIT
from conformance.execution.survey import survey
from conformance.outcome import Crashed, Produced, Refused, Repeated, TimedOut
from conformance.planning.plan import Cell, Offer
from tests.fake_cells import case, cell, key, row

QUICK = Limits(start=20.0, cell=1.5)


def perform(cells: list[Cell], folder: Path, count: int = 2) -> dict[str, Outcomes]:
    with Workers(count, folder, QUICK) as workers:
        return {each.id: outcomes for each, outcomes in execute(cells, workers)}


@pytest.fixture(name="second_interpreter", scope="session")
def _second_interpreter(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("second")
    venv.create(folder, symlinks=True, with_pip=False)
    packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (packages / "first.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return str(folder / "bin" / "python")


CRASHES = {
    "segfault": "killed by SIGSEGV",
    "abort": "killed by SIGABRT",
    "exit_0": "exited with status 0",
    "exit_3": "exited with status 3",
    "system_exit": "exited with status 4",
    "keyboard_interrupt": "killed by SIGINT",
    "closed_pipe": "closed its pipe and went on running",
    "forked_child_holds_the_pipe": "killed by SIGABRT",
    "early_end": "sent what is no answer: it ended before all of its steps",
    "one_answer_too_many": "sent what is no answer: more than it has steps",
    "too_large_a_frame": "sent a frame of 1,099,511,627,776 bytes, over the limit of 536,870,912",
    "no_frame": "sent a frame that ends within its arrays",
    "no_answer": "sent what is no answer: neither numbers nor a refusal",
    "an_offer_again": "sent what is no answer: neither numbers nor a refusal",
}


@pytest.mark.parametrize(("way", "how"), CRASHES.items())
def test_a_crash_is_blamed_on_the_cell_that_died(way: str, how: str, tmp_path: Path) -> None:
    """The fatal cell crashed, twice; its neighbours before and after it produced their numbers."""
    found = perform(row(way, 5, fatal=2), tmp_path)
    last = found[f"fake.2::dying.{way}-eager-cpu"][-1]
    assert isinstance(last, Crashed)
    assert (last.how, last.recurs) == (how, True)
    others = [outcomes for id_, outcomes in found.items() if not id_.startswith("fake.2::")]
    assert [[type(each) for each in outcomes] for outcomes in others] == [[Produced, Produced]] * 4


def test_a_crash_keeps_what_the_worker_printed(tmp_path: Path) -> None:
    """The tail of the worker's output joins the outcome, with the native trace of a segfault."""
    (outcomes,) = perform([cell("segfault", "only", fatal=True)], tmp_path).values()
    assert isinstance(outcomes[-1], Crashed)
    assert "about to die" in outcomes[-1].output
    assert "Segmentation fault" in outcomes[-1].output


def test_what_a_crashed_cell_did_before_is_kept(tmp_path: Path) -> None:
    """The start, which went well, stands before the crash of the first step."""
    (outcomes,) = perform([cell("abort", "only", fatal=True)], tmp_path).values()
    assert [type(each) for each in outcomes] == [Produced, Crashed]


def test_a_crash_that_does_not_recur_names_the_cells_before_it(tmp_path: Path) -> None:
    """Alone in a fresh process the cell lives: recorded as a crash all the same, with its history."""
    worker = key(DYING_ONCE=str(tmp_path / "died"))
    found = perform(row("once", 4, fatal=2, worker=worker), tmp_path / "logs")
    last = found["fake.2::dying.once-eager-cpu"][-1]
    assert isinstance(last, Crashed)
    assert not last.recurs
    assert last.before == ("fake.0::dying.once-eager-cpu", "fake.1::dying.once-eager-cpu")


@pytest.mark.parametrize("way", ["hang_in_python", "hang_in_native_code"])
def test_a_hang_is_blamed_on_the_cell_that_hung(way: str, tmp_path: Path) -> None:
    """The deadline ends the fatal cell alone."""
    found = perform(row(way, 3, fatal=1), tmp_path)
    assert isinstance(found[f"fake.1::dying.{way}-eager-cpu"][-1], TimedOut)
    assert isinstance(found[f"fake.0::dying.{way}-eager-cpu"][-1], Produced)
    assert isinstance(found[f"fake.2::dying.{way}-eager-cpu"][-1], Produced)


def test_endless_output_is_a_time_out_and_does_not_fill_the_disk(tmp_path: Path) -> None:
    """The log is emptied while the worker writes; its tail is still there."""
    (outcomes,) = perform([cell("endless_output", "only", fatal=True)], tmp_path).values()
    assert isinstance(outcomes[-1], TimedOut)
    assert "0123456789abcdef" in outcomes[-1].output
    # Between two looks a quarter of a second apart a worker can write some more.
    assert sum(log.stat().st_size for log in tmp_path.iterdir()) < 100 * OUTPUT_LIMIT


def test_an_exception_is_a_refusal_and_the_worker_goes_on(tmp_path: Path) -> None:
    """A ValueError ends neither the process nor the run, and its bases are told."""
    found = perform(row("value_error", 3, fatal=1), tmp_path)
    refused = found["fake.1::dying.value_error-eager-cpu"][-1]
    assert isinstance(refused, Refused)
    assert refused.types == ("ValueError", "Exception")
    assert "more than 1 value" in refused.message


def test_what_a_refusal_says_names_no_folder_of_the_machine(tmp_path: Path) -> None:
    """Two machines record the same, and a published run tells nobody's home."""
    refused = perform(row("naming_places", 1, fatal=0), tmp_path)["fake.0::dying.naming_places-eager-cpu"][-1]
    assert isinstance(refused, Refused)
    assert refused.message == "in <environment>/lib/layer.py, called from <suite>/tests/faults/dying.py"


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("giving_none", "output: gave None, expected an array of numbers"),
        ("giving_an_object", "output: gave object, expected an array of numbers"),
        ("giving_text", "output: gave the text 'text', expected an array of numbers"),
        ("giving_bytes", "output: gave bytes, expected an array of numbers"),
        ("giving_a_structure", "output: gave an array of [('a', '<f4')], expected an array of numbers"),
        ("giving_a_huge_integer", "output: gave int, expected an array of numbers"),
        ("giving_objects", "output: gave an array of object, expected an array of numbers"),
        ("misspelling", "a step gave 'outptu', which this operation does not have; did you mean output?"),
    ],
)
def test_what_a_step_must_not_give_is_its_refusal_in_one_line(way: str, said: str, tmp_path: Path) -> None:
    (outcomes,) = perform([cell(way, "only")], tmp_path).values()
    refused = outcomes[-1]
    assert isinstance(refused, Refused)
    assert refused.message == said
    assert refused.mistake.startswith("dying.py, line ")


def test_an_answer_that_no_frame_takes_is_a_refusal_before_it_is_made(tmp_path: Path) -> None:
    (outcomes,) = perform([cell("giving_a_broadcast", "only")], tmp_path).values()
    assert isinstance(outcomes[-1], Refused)
    assert outcomes[-1].message == "gave 4,194,304 MiB, over the limit of 512 MiB"


def test_state_that_is_no_array_is_told_with_the_function_that_gave_it(tmp_path: Path) -> None:
    (outcomes,) = perform([cell("listing", "only")], tmp_path).values()
    (refused,) = outcomes
    assert isinstance(refused, Refused)
    assert refused.message == "moving_mean: `state` gave list, expected a NumPy array"
    assert refused.mistake.endswith("in listing_state")


def test_the_numbers_of_an_array_of_the_other_byte_order_arrive(tmp_path: Path) -> None:
    swapped, straight = (perform([cell(way, "only")], tmp_path) for way in ("swapped", "nothing"))
    (one,), (other,) = swapped.values(), straight.values()
    assert isinstance(one[-1], Produced)
    assert isinstance(other[-1], Produced)
    assert one[-1].quantities["output"].tolist() == other[-1].quantities["output"].tolist()


def test_an_exception_without_a_text_is_a_refusal(tmp_path: Path) -> None:
    (outcomes,) = perform([cell("silent_exception", "only", fatal=True)], tmp_path).values()
    assert isinstance(outcomes[-1], Refused)
    assert (outcomes[-1].types[0], outcomes[-1].message) == ("Silent", "(its text raised RuntimeError)")


def test_a_child_that_goes_on_beside_its_parent_answers_nothing(tmp_path: Path) -> None:
    cells = row("forked_child_goes_on", 3, fatal=1)
    assert [type(outcomes[-1]) for outcomes in perform(cells, tmp_path).values()] == [Produced] * 3


def test_a_folder_of_logs_that_is_removed_costs_nothing(tmp_path: Path) -> None:
    worker = key(DYING_FOLDER=str(tmp_path / "logs"))
    performed = perform(row("removed_logs", 3, fatal=1, worker=worker), tmp_path)
    assert [type(outcomes[-1]) for outcomes in performed.values()] == [Produced] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="how much memory a process holds is asked of Linux")
def test_a_cell_that_holds_too_much_memory_is_ended_and_says_so(tmp_path: Path) -> None:
    limits = Limits(start=20.0, cell=20.0, memory=200 * 2**20)
    with Workers(1, tmp_path, limits) as workers:
        outcomes = [list(outcomes)[-1] for _, outcomes in execute(row("much_memory", 2, fatal=0), workers)]
    crashed, produced = outcomes
    assert isinstance(crashed, Crashed)
    assert crashed.how.endswith("GiB of memory, over the limit of 0.195 GiB")
    assert isinstance(produced, Produced)


def test_a_pause_of_the_run_is_not_a_cell_s_time_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is stopped while it waits: for longer than the deadline, before any answer is read."""
    with Workers(1, tmp_path, QUICK) as workers:
        select = workers.selector.select
        paused: list[bool] = []

        def stopped(timeout: float | None = None) -> Any:
            if not paused and any(process.deadline < float("inf") for process in workers.live.values()):
                paused.append(True)
                time.sleep(2.5)
            return select(timeout)

        workers.limits = Limits(start=2.0, cell=2.0)
        monkeypatch.setattr(workers.selector, "select", stopped)
        (outcomes,) = (outcomes for _, outcomes in execute([cell("nothing", "only")], workers))
    assert isinstance(outcomes[-1], Produced)


def test_two_interpreters_at_once_are_blamed_apart(second_interpreter: str, tmp_path: Path) -> None:
    """An abort in one interpreter and a hang in the other, on loaded cores, every time."""
    times = int(os.environ.get("CONFORMANCE_BLAME_RUNS", "3"))
    first, second = key("first"), key("second", second_interpreter)
    for attempt in range(times):
        cells = row("abort", 8, fatal=attempt % 8, worker=first, prefix="a")
        cells += row("hang_in_native_code", 8, fatal=(3 * attempt) % 8, worker=second, prefix="h")
        found = perform(cells, tmp_path / str(attempt))
        bad = {id_: type(outcomes[-1]) for id_, outcomes in found.items() if not isinstance(outcomes[-1], Produced)}
        assert bad == {
            f"fake.a{attempt % 8}::dying.abort-eager-cpu": Crashed,
            f"fake.h{(3 * attempt) % 8}::dying.hang_in_native_code-eager-cpu": TimedOut,
        }
        assert len(found) == 16


def test_no_more_workers_live_than_asked_for(tmp_path: Path) -> None:
    """Three keys and one worker: each takes its turn, and all cells end."""
    keys = [key(f"worker-{index}") for index in range(3)]
    cells = [each for index, one in enumerate(keys) for each in row("nothing", 2, -1, one, prefix=f"{index}-")]
    with Workers(1, tmp_path, QUICK) as workers:
        alive = [len(workers.live) for _ in execute(cells, workers)]
    assert len(alive) == 6
    assert max(alive) == 1


def test_leaving_ends_every_worker(tmp_path: Path) -> None:
    """No process of the run outlives it."""
    processes: list[psutil.Process] = []
    with Workers(2, tmp_path, QUICK) as workers:
        for _ in execute(row("nothing", 3, -1), workers):
            processes = processes or [psutil.Process(process.popen.pid) for process in workers.live.values()]
    assert processes
    assert not any(process.is_running() for process in processes)


@pytest.mark.parametrize(
    ("way", "said"),
    [("raise", "this library cannot be imported"), ("exit", "exited with status 5"), ("hang", "did not start within")],
)
def test_an_import_that_fails_is_said_by_its_worker(way: str, said: str, tmp_path: Path) -> None:
    """An adapter that cannot be imported is an error of its worker, and the other worker's offer arrives."""
    keys = [key("broken", DYING_IMPORT=way), key("whole")]
    with Workers(2, tmp_path, Limits(start=2.0, cell=1.5)) as workers:
        found = list(survey(keys, [], workers))
    errors = [each for each in found if isinstance(each, WorkerError)]
    assert [each.worker for each in errors] == ["broken"]
    assert said in str(errors[0])
    assert [each.key.name for each in found if isinstance(each, Offer)] == ["whole"]


def test_an_absent_library_is_named(tmp_path: Path) -> None:
    """What is missing is told apart from what is broken."""
    adapter = tmp_path / "absent.py"
    adapter.write_text("import a_library_nobody_has\n")
    absent = key("absent")
    absent = type(absent)(**{**{name: getattr(absent, name) for name in absent.__slots__}, "adapter": str(adapter)})
    with Workers(1, tmp_path, QUICK) as workers:
        (error,) = survey([absent], [], workers)
    assert isinstance(error, WorkerError)
    assert error.missing == "a_library_nobody_has"


def test_a_process_is_told_the_folder_where_its_caches_outlive_the_run(tmp_path: Path) -> None:
    """The place holder in its environment becomes an absolute path of its own."""
    adapter = tmp_path / "telling.py"
    adapter.write_text("import os\nraise RuntimeError(os.environ['KEPT'])\n")
    telling = replace(key("telling", KEPT="{caches}/compiled"), adapter=str(adapter))
    with Workers(1, tmp_path, QUICK) as workers:
        (error,) = survey([telling], [], workers)
    assert str(tmp_path / "caches" / "telling" / "compiled") in str(error)


def test_the_harness_costs_little_beside_the_cells(tmp_path: Path) -> None:
    """No cell waits for a timer: 200 cells end well before 200 ticks of the loop."""
    started = time.monotonic()
    found = perform(row("nothing", 200, -1), tmp_path)
    assert len(found) == 200
    assert time.monotonic() - started < 200 * 0.25 / 2


@pytest.mark.parametrize(
    ("way", "difference"),
    [
        ("nothing", ""),
        ("drifting", "output at step 1"),
        # Its numbers are in one buffer, which the second performance writes to before they are compared.
        ("reusing", "output at step 1"),
        # It writes to its input and to the state that it was given, which the second performance starts from.
        ("writing", ""),
    ],
)
def test_a_second_performance_tells_whether_the_bits_agree(way: str, difference: str, tmp_path: Path) -> None:
    """A layer that remembers how often it was called is found out; a healthy one gives the same bits."""
    twice = replace(cell(way, "twice"), case=case("twice", again=True))
    (outcomes,) = perform([twice], tmp_path).values()
    assert outcomes[-1] == Repeated(difference=difference)
