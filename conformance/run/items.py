"""The spec's files, cases and cells as pytest collects them: one item a cell, and one for what fails before any runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.planning.plan import Cell
from conformance.run.prepared import Prepared

#: Where a session has what it runs.
PREPARED: pytest.StashKey[Prepared] = pytest.StashKey()


class SpecFile(pytest.File):
    """One file of cases."""

    def collect(self) -> Iterator[pytest.Collector]:
        cells = self.config.stash[PREPARED].cells[self.path]
        for case in cells:
            yield CaseNode.from_parent(self, name=case)


class CaseNode(pytest.Collector):
    """One case; its items are the cells."""

    def collect(self) -> Iterator[pytest.Item]:
        parent = self.parent
        assert isinstance(parent, SpecFile)
        for cell in self.config.stash[PREPARED].cells[parent.path][self.name]:
            yield CellItem.from_parent(self, name=cell.column, cell=cell)


class CellItem(pytest.Item):
    """One cell."""

    def __init__(self, *, cell: Cell, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cell = cell

    def runtest(self) -> None:  # pragma: no cover - the plugin's loop runs cells
        raise AssertionError("cells run in the plugin's own loop")

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, self.nodeid


class FailedItem(pytest.Item):
    """What fails before any cell runs: an environment that does not work, an entry that matches nothing."""

    def __init__(self, *, message: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.message = message

    def runtest(self) -> None:  # pragma: no cover - the plugin's loop reports it
        raise AssertionError(self.message)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, self.nodeid
