"""How much memory is free, read from a copy of the files in which Linux says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.execution.memory import free_share

MACHINE = "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    800 kB\n"


def system(folder: Path, files: dict[str, str]) -> Path:
    """Write files by their path below the root, and return that root."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def test_a_machine_without_groups_has_what_it_says_itself(tmp_path: Path) -> None:
    assert free_share(system(tmp_path, {"proc/meminfo": MACHINE})) == 0.8


def test_a_system_that_does_not_tell_has_none(tmp_path: Path) -> None:
    assert free_share(tmp_path) == 0.0
    assert free_share(system(tmp_path, {"proc/meminfo": "MemTotal: 1000 kB\n"})) == 0.0


@pytest.mark.parametrize("group", ["", "ours/", "ours/inner/"])
def test_a_limited_group_around_the_process_counts(group: str, tmp_path: Path) -> None:
    place = f"sys/fs/cgroup/{group}"
    files = {
        "proc/meminfo": MACHINE,
        "proc/self/cgroup": "0::/ours/inner\n",
        f"{place}memory.max": "400\n",
        f"{place}memory.current": "400\n",
        f"{place}memory.stat": "anon 300\ninactive_file 100\n",
    }
    assert free_share(system(tmp_path, files)) == 0.25


def test_a_group_without_a_limit_does_not_count(tmp_path: Path) -> None:
    files = {"proc/meminfo": MACHINE, "sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "400\n"}
    assert free_share(system(tmp_path, files)) == 0.8


def test_a_group_of_somebody_else_does_not_count(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": MACHINE,
        "proc/self/cgroup": "0::/ours\n",
        "sys/fs/cgroup/others/memory.max": "400\n",
        "sys/fs/cgroup/others/memory.current": "400\n",
        "sys/fs/cgroup/others/memory.stat": "inactive_file 0\n",
    }
    assert free_share(system(tmp_path, files)) == 0.8


def test_a_group_of_the_first_version_counts(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": MACHINE,
        "proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/ours\n0::/\n",
        "sys/fs/cgroup/memory/ours/memory.limit_in_bytes": "400\n",
        "sys/fs/cgroup/memory/ours/memory.usage_in_bytes": "300\n",
        "sys/fs/cgroup/memory/ours/memory.stat": "cache 1\ntotal_inactive_file 100\n",
    }
    assert free_share(system(tmp_path, files)) == 0.5


def test_a_group_that_holds_more_than_its_limit_has_none(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": MACHINE,
        "sys/fs/cgroup/memory.max": "400\n",
        "sys/fs/cgroup/memory.current": "500\n",
        "sys/fs/cgroup/memory.stat": "inactive_file 0\n",
    }
    assert free_share(system(tmp_path, files)) == 0.0
