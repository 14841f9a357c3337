"""The environments of a regression check, as far as the Dask workers have them: built in a folder that they can read too."""

from __future__ import annotations

from collections.abc import Mapping

from conformance.cluster.connection import Connection
from conformance.cluster.suite import resource_of


class Environments:
    """Which environment the workers of each group run in, by its name: of groups that are not named, none takes part.

    Where `named` is None, all do, in the interpreters that the Dask workers name.
    """

    def __init__(self, named: Mapping[str, str] | None, connection: Connection) -> None:
        self._all, self._names, self._connection = named is None, named or {}, connection
        #: Address of a Dask worker -> which of the environments it has.
        self._having: dict[str, frozenset[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._names)

    def of(self, group: str | None) -> str | None:
        """Return the name of the group's."""
        return self._names.get(group or "")

    def takes(self, group: str | None) -> bool:
        """Return whether the group takes part."""
        return self._all or group in self._names

    def workers(self) -> dict[str, dict[str, float]]:
        """Return the resources of each Dask worker, without those of groups whose environment it lacks."""
        there = self._connection.workers()
        if not self._names:
            return there
        new = there.keys() - self._having.keys()
        if new:
            self._having |= self._connection.environments(sorted(self._names.values()), sorted(new))
        return {
            address: {name: amount for name, amount in has.items() if name not in self._lacked(address)}
            for address, has in there.items()
        }

    def lacking(self, group: str) -> str:
        """Return why no Dask worker can run the group, where none can."""
        resource, name = resource_of(group), self.of(group)
        if name is None or not any(resource in has for has in self._connection.workers().values()):
            return f"no worker of the cluster has the resource {resource}"
        return (
            f"no worker of the cluster with the resource {resource} has the environment {name}: "
            "conformance.environments of its configuration names the folder that it was built in"
        )

    def _lacked(self, address: str) -> frozenset[str]:
        having = self._having.get(address, frozenset())
        return frozenset(resource_of(group) for group, name in self._names.items() if name not in having)
