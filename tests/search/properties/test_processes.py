"""`conformance properties` over processes: adapters that share one follow one another, and no leak decides a verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.execution.pool import Limits
from conformance.planning.plan import Selection
from conformance.runfile.reading import read
from conformance.search.properties import processes
from conformance.search.properties.processes import PropertyOptions, properties
from conformance.spec.locations import root
from conformance.verdict import Standing

FAULTS = Path(__file__).parents[2] / "faults"
NUMPY = (root() / "adapters" / "numpy" / "batch_norm.py").read_text()


def options(folder: Path, *adapters: str, names: tuple[str, ...] = (), within: float | None = None) -> PropertyOptions:
    return PropertyOptions(
        selection=Selection(implementations=names, modes=("eager",), devices=("cpu",)),
        interpreters={},
        adapters=tuple(f"{adapter}:ADAPTER" for adapter in adapters),
        examples=3,  # the first that Hypothesis draws is 0 everywhere
        seed=None,
        out=folder / "properties.jsonl",
        limits=Limits(start=60.0, cell=20.0),
        folder=folder,
        within=within,
    )


def sharing(folder: Path, name: str) -> str:
    """Write an adapter that may follow others in their process, with the right layer in one row."""
    file = folder / f"{name}.py"
    shared = f'PROCESSES = [{{"name": "{name}", "group": None, "environment": {{}}, "shared": "ours"}}]'
    assert 'PROCESSES = "numpy"' in NUMPY
    file.write_text(NUMPY.replace('PROCESSES = "numpy"', shared).replace('"numpy.', f'"{name}.'))
    return str(file)


def test_adapters_that_may_share_a_process_are_checked_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    class Counting(processes.Workers):
        def start(self, key):  # type: ignore[no-untyped-def] - as the method of its base has it
            started.append(key.name)
            return super().start(key)

    monkeypatch.setattr(processes, "Workers", Counting)
    adapters = [sharing(tmp_path, name) for name in ("one", "two")]
    assert properties(options(tmp_path, *adapters, names=("*.Centering",))) == 0
    assert {record.implementation for record in read(tmp_path / "properties.jsonl").records} == {
        "one.Centering",
        "two.Centering",
    }
    assert started == ["one"]


def test_what_a_neighbour_left_behind_breaks_no_property(tmp_path: Path) -> None:
    """One row negates the outputs of the other as soon as it has trained."""
    text = (FAULTS / "leaking.py").read_text()
    assert "live.decay == LEAKING_DECAY" in text
    text = text.replace("live.decay == LEAKING_DECAY", "live.decay")
    (tmp_path / "leaking.py").write_text(text.replace("Path(__file__).parents[2]", f"Path({str(root())!r})"))
    names = ("leaking.naming", "leaking.asks_the_environment")
    assert properties(options(tmp_path, str(tmp_path / "leaking.py"), names=names)) == 0
    records = read(tmp_path / "properties.jsonl").records
    assert {record.implementation for record in records} == set(names)
    assert {record.standing for record in records} == {Standing.AGREES}


def test_a_property_that_a_row_breaks_alone_is_broken(tmp_path: Path) -> None:
    names = ("leaking.wrong",)
    assert properties(options(tmp_path, str(FAULTS / "leaking.py"), names=names)) == 1
