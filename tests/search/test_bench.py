"""A bench searches in one thread, since to divide small arrays costs more than to compute with them."""

from __future__ import annotations

from dataclasses import replace

from conformance.search.bench import one_thread
from tests.cells import key


def test_a_search_limits_a_process_to_one_thread() -> None:
    limited = one_thread(key(limits=(("OMP_NUM_THREADS", "{threads}"),), environment=(("A", "1"),)))
    assert dict(limited.environment) == {"A": "1", "OMP_NUM_THREADS": "1"}


def test_it_remains_the_process_that_plans_and_logs_know() -> None:
    whole = key(limits=(("OMP_NUM_THREADS", "{threads}"),))
    assert replace(one_thread(whole), environment=()) == whole


def test_a_process_whose_threads_nothing_limits_stays_as_it_is() -> None:
    assert one_thread(key()) == key()
