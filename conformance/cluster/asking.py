"""What of a command line leads to a cluster; the packages of Dask are asked for here, and nowhere before."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib.util import find_spec

from conformance.errors import UsageError
from conformance.execution.pool import Limits
from conformance.run.performers import Performer

#: What brings the packages.
EXTRA = "batchnorm-conformance[cluster]"


def check_installed(option: str) -> None:
    """Raise `UsageError` where Dask is not installed."""
    if find_spec("distributed") is None:
        raise UsageError(f"{option}: Dask is not installed here: pip install '{EXTRA}'")


def performer_of(
    address: str, limits: Limits, of_this_machine: Mapping[str, object]
) -> AbstractContextManager[Performer]:
    """Return the cluster of that scheduler. Raises `UsageError` where an option that is given says something of this machine."""
    for option, value in of_this_machine.items():
        if value:
            raise UsageError(f"{option}: is of a run on this machine; --scheduler has its workers' own")
    check_installed("--scheduler")
    # Late: most who run cells have no Dask.
    cluster: AbstractContextManager[Performer] = importlib.import_module("conformance.cluster.cluster").Cluster(
        address, limits
    )
    return cluster
