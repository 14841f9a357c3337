"""What of a command line leads to a cluster; the packages of Dask are asked for here, and nowhere before."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib.util import find_spec

from conformance.errors import UsageError
from conformance.execution.pool import Limits
from conformance.run.performers import Performer
from conformance.run.programs import ENVIRONMENT

#: What brings the packages.
EXTRA = "batchnorm-conformance[cluster]"


def check_installed(option: str) -> None:
    """Raise `UsageError` where Dask is not installed."""
    if find_spec("distributed") is None:
        raise UsageError(f"{option}: Dask is not installed here: pip install '{EXTRA}'")


def check_elsewhere(of_this_machine: Mapping[str, object]) -> None:
    """Raise `UsageError` where Dask is not installed, or an option that is given says something of this machine."""
    for option, value in of_this_machine.items():
        if value:
            raise UsageError(f"{option}: is of a run on this machine; --scheduler has its workers' own")
    check_installed("--scheduler")


def performer_of(
    address: str, limits: Limits, environments: Mapping[str, str] | None
) -> AbstractContextManager[Performer]:
    """Return the cluster of that scheduler, whose workers run in those environments, by group. Raises `UsageError`.

    Where they are None, all groups run, in the interpreters that the Dask workers name.
    """
    for group, name in (environments or {}).items():
        if not re.match(ENVIRONMENT, name):
            raise UsageError(f"--environment {group}={name[:80]}: expected the name of a folder, and no path")
    # Late: most who run cells have no Dask.
    cluster: AbstractContextManager[Performer] = importlib.import_module("conformance.cluster.cluster").Cluster(
        address, limits, environments
    )
    return cluster


def check_scheduler(address: str) -> None:
    """Raise `UsageError` where no scheduler answers there whose workers have this suite."""
    check_installed("--scheduler")
    with importlib.import_module("conformance.cluster.connection").connected(address) as connection:
        connection.check_suites()
