"""What takes longest runs first, so that at the end no process is left alone with it."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
#: Folders whose tests start processes.
FIRST = ("cluster", "cli", "execution", "search", "throughput", "regression", "adapters", "run")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the tests of those folders to the front, in their order otherwise."""
    items.sort(key=_is_quick)


def _is_quick(item: pytest.Item) -> bool:
    return item.path.is_relative_to(TESTS) and item.path.relative_to(TESTS).parts[0] not in FIRST
