"""For all tests: what is collected lives to the end, and is no garbage to look for after every 700 new objects."""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    gc.set_threshold(20_000)
    gc.freeze()
