"""A scheduler and Dask workers on this machine's loopback: processes of their own, which end with the one that started them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from conformance.cluster.suite import resource_of
from conformance.errors import UsageError
from conformance.files.whole import check_place
from conformance.planning.discovery import keys

#: What a Dask process is started by: it ends when its standard input does, which is when whoever started it has ended.
_BOOT = """
import os, sys, threading
def watch():
    sys.stdin.buffer.read()
    os._exit(0)
threading.Thread(target=watch, daemon=True).start()
from importlib import import_module
sys.argv = sys.argv[1:]
import_module(sys.argv[0]).main()
"""
_LOOPBACK = "127.0.0.1"
_STARTING = 120.0
_ENDING = 5.0
_FOLDER = Path(".conformance") / "cluster"


def resources_of_groups(interpreters: Mapping[str, str], adapters: Sequence[str]) -> list[str]:
    """Return the resources of a worker that has those groups; of all that there are where none is named."""
    groups = interpreters or {key.group for key in (*keys({}), *keys({}, adapters)) if key.group is not None}
    return [f"{resource_of(group)}=1" for group in sorted(groups)]


def check_address_file(path: Path) -> None:
    """Raise `UsageError` where a scheduler cannot write its address, or would overwrite something else."""
    check_place(path)
    if path.exists():
        try:
            is_scheduler_s = "address" in json.loads(path.read_bytes())
        except (OSError, ValueError, TypeError):
            is_scheduler_s = False
        if not is_scheduler_s:
            raise UsageError(f"{path}: is there, and is no scheduler's file: it would be overwritten")


class LocalCluster:
    """A scheduler and so many Dask workers; a context, whose end is theirs."""

    def __init__(
        self,
        count: int,
        interpreters: Mapping[str, str],
        adapters: Sequence[str],
        scheduler_file: Path | None = None,
        environments: Path | None = None,
    ) -> None:
        self._count, self._interpreters, self._adapters = count, interpreters, adapters
        self._file, self._environments = scheduler_file, environments
        self._scheduler: subprocess.Popen[bytes] | None = None
        #: The Dask workers, in the order of their numbers.
        self.workers: list[subprocess.Popen[bytes]] = []
        self.address = ""

    def __enter__(self) -> Self:
        try:
            with tempfile.TemporaryDirectory() as folder:
                file = self._file or Path(folder) / "scheduler.json"
                file.unlink(missing_ok=True)
                words = [
                    "--host",
                    _LOOPBACK,
                    "--port",
                    "0",
                    "--no-dashboard",
                    "--no-show",
                    "--scheduler-file",
                    str(file),
                ]
                self._scheduler = _started("distributed.cli.dask_scheduler", words, {}, "scheduler")
                self.address = self._address(file)
            for number in range(self._count):
                self.workers.append(self._worker(number))
            self._await_workers()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def wait(self) -> None:
        """Wait until the scheduler ends."""
        assert self._scheduler is not None
        self._scheduler.wait()

    def _worker(self, number: int) -> subprocess.Popen[bytes]:
        resources = " ".join(resources_of_groups(self._interpreters, self._adapters))
        folder = _FOLDER.absolute() / f"worker-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        variables = {
            "DASK_CONFORMANCE__PYTHON": repr(dict(self._interpreters)),
            "DASK_CONFORMANCE__ADAPTERS": repr([_absolute(adapter) for adapter in self._adapters]),
            "DASK_CONFORMANCE__FOLDER": str(folder),
        }
        if self._environments is not None:
            variables["DASK_CONFORMANCE__ENVIRONMENTS"] = str(self._environments.absolute())
        words = [self.address, "--host", _LOOPBACK, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        words += ["--name", f"worker-{number}", "--local-directory", str(folder), "--death-timeout", "60"]
        words += ["--resources", resources] if resources else []
        return _started("distributed.cli.dask_worker", words, variables, f"worker-{number}")

    def _address(self, file: Path) -> str:
        deadline = time.monotonic() + _STARTING
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, ValueError):
                return str(json.loads(file.read_bytes())["address"])
            self._check_alive()
            time.sleep(0.05)
        raise UsageError(f"the scheduler did not start within {_STARTING:g} s; {_log('scheduler')} has what it printed")

    def _await_workers(self) -> None:
        from distributed import Client  # noqa: PLC0415 - Dask belongs to an extra

        with Client(self.address, set_as_default=False) as client:
            deadline = time.monotonic() + _STARTING
            while len(client.sync(client.scheduler.identity, n_workers=-1)["workers"]) < self._count:
                self._check_alive()
                if time.monotonic() > deadline:
                    raise UsageError(
                        f"the workers did not start within {_STARTING:g} s; {_FOLDER} has what they printed"
                    )
                time.sleep(0.1)

    def _check_alive(self) -> None:
        names = ["scheduler", *(f"worker-{number}" for number in range(len(self.workers)))]
        for name, process in zip(names, [self._scheduler, *self.workers], strict=True):
            if process is not None and process.poll() is not None:
                raise UsageError(f"{name} ended with {process.returncode}; {_log(name)} has what it printed")

    def _end(self) -> None:
        """End the workers and the scheduler; one that does not end in time is killed. Frameworks end with their worker."""
        everything = [*self.workers, *([self._scheduler] if self._scheduler else [])]
        for process in everything:
            if process.stdin is not None:
                process.stdin.close()
        deadline = time.monotonic() + _ENDING
        for process in everything:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _started(module: str, words: Sequence[str], variables: Mapping[str, str], name: str) -> subprocess.Popen[bytes]:
    """Start a Dask process, whose output goes to a file of that name."""
    log = _log(name)
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1", **variables}
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", _BOOT, module, *words],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            # Ctrl-C at a terminal reaches this process alone, which then ends them in order.
            start_new_session=True,
        )


def _log(name: str) -> Path:
    return _FOLDER / f"{name}.log"


def _absolute(adapter: str) -> str:
    where, colon, attribute = adapter.partition(":")
    return f"{Path(where).resolve()}{colon}{attribute}" if where.endswith(".py") else adapter
