"""One cluster on the loopback for all tests of a run on one: starting it takes longer than most of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.loopback import DYING, LEAKING, PLANTED, SLOW, VERSIONED


@pytest.fixture(name="environments", scope="package")
def _environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which that cluster looks for environments."""
    return tmp_path_factory.mktemp("environments")


@pytest.fixture(name="cluster", scope="package")
def _cluster(tmp_path_factory: pytest.TempPathFactory, environments: Path) -> Iterator[Any]:
    local = pytest.importorskip("conformance.cluster.local")
    pytest.importorskip("distributed")
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("cluster"))
    with local.LocalCluster(2, {}, [DYING, LEAKING, PLANTED, SLOW, VERSIONED], environments=environments) as started:
        os.chdir(before)
        yield started
