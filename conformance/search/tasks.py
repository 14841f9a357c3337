"""The task of a Dask worker that searches; what it leads to needs Hypothesis, which such a worker may lack."""

from __future__ import annotations

from importlib.util import find_spec

import msgspec

from conformance.cluster.tasks import bench_of_worker

_WITHOUT = "cannot search: Hypothesis is not installed there: pip install 'batchnorm-conformance[search]'"


def search(raw: bytes) -> bytes:
    """Search a share that came as bytes, in a Dask task."""
    if find_spec("hypothesis") is None:
        return msgspec.json.encode({"refused": _WITHOUT})
    from conformance.search.sharing import reply_to  # noqa: PLC0415 - it needs Hypothesis

    return reply_to(raw, bench_of_worker)
