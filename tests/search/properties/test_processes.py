"""`conformance properties` over processes: adapters that share one follow one another, and no leak decides a verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.execution.pool import Limits, Workers
from conformance.execution.process import Process
from conformance.planning.discovery import WorkerKey
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

    class Counting(Workers):
        def start(self, key: WorkerKey) -> Process:
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


def test_an_implementation_with_a_process_for_each_dtype_has_one_row_of_each_property(tmp_path: Path) -> None:
    """That of the process in which more is wrong: in the second the layer computes with half of the epsilon."""
    both = """PROCESSES = [
    {"name": "narrow", "group": None, "environment": {"HALVES": "0"}, "dtypes": ["float32"]},
    {"name": "wide", "group": None, "environment": {"HALVES": "1"}, "dtypes": ["float64"]},
]"""
    for told in ('PROCESSES = "numpy"', '"epsilon": configuration.epsilon'):
        assert told in NUMPY
    text = NUMPY.replace('PROCESSES = "numpy"', f"import os\n\n{both}")
    halved = "\"epsilon\": 0.5 ** int(os.environ['HALVES']) * configuration.epsilon"
    text = text.replace('"epsilon": configuration.epsilon', halved)
    (tmp_path / "both.py").write_text(text)
    assert properties(options(tmp_path, str(tmp_path / "both.py"), names=("numpy.BatchNorm",))) == 1
    records = read(tmp_path / "properties.jsonl").records
    assert len({record.cell for record in records}) == len(records)
    broken = {record.environment for record in records if record.standing is Standing.UNEXPECTED}
    assert broken == {"wide"}


def test_what_a_neighbour_left_behind_breaks_no_property(tmp_path: Path) -> None:
    """One row negates the outputs of the other as soon as it has trained."""
    text = (FAULTS / "leaking.py").read_text()
    assert "live.decay == LEAKING_DECAY" in text
    text = text.replace("live.decay == LEAKING_DECAY", "live.decay")
    (tmp_path / "leaking.py").write_text(text.replace("Path(__file__).parents[2]", f"Path({str(root())!r})"))
    names = ("leaking.naming", "leaking.reads_the_environment")
    assert properties(options(tmp_path, str(tmp_path / "leaking.py"), names=names)) == 0
    records = read(tmp_path / "properties.jsonl").records
    assert {record.implementation for record in records} == set(names)
    assert {record.standing for record in records} == {Standing.AGREES}


def test_a_property_that_a_row_breaks_alone_is_broken(tmp_path: Path) -> None:
    names = ("leaking.wrong",)
    assert properties(options(tmp_path, str(FAULTS / "leaking.py"), names=names)) == 1
