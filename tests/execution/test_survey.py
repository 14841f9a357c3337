"""How adapters are asked what they offer."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from conformance.execution.pool import Limits, Workers
from conformance.execution.survey import survey
from conformance.planning.discovery import keys
from conformance.planning.plan import Offer

ADAPTER = """
import time

time.sleep(0.1)

from conformance.protocol import Adapter, Call, Implementation

ADAPTER = Adapter(library="{name}", versions={{}}, implementations=(Implementation(
    name="{name}.Norm", op="batch_norm", profile=(), modes=("eager",), dtypes=("float32",),
    supports=lambda configuration: None, call=lambda configuration: Call(path="numpy.zeros", keywords={{"shape": 1}}),
    start=lambda native, configuration, state, mode, device: native, state=lambda live: {{}}, steps={{"train": lambda live, x, upstream: {{}}}}),))
"""


def test_no_more_adapters_are_imported_at_once_than_there_are_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conformance.execution.survey.cores", lambda: 1)
    files = [tmp_path / f"{name}.py" for name in ("first", "second", "third", "fourth", "fifth")]
    for file in files:
        file.write_text(ADAPTER.format(name=file.stem))
    with Workers(len(files), tmp_path, Limits(start=20.0, cell=5.0)) as workers:
        answers = list(survey(keys({}, [str(file) for file in files]), [], workers))
        assert all(isinstance(answer, Offer) for answer in answers), answers
        assert len(workers.live) == len(files), "none is ended while there is room for all"
        imports = sorted(stretch for lane in workers.stages.lanes for stretch in lane.imports)
    assert len(imports) == len(files)
    assert all(ended <= began for (_, ended, _), (began, _, _) in itertools.pairwise(imports))


def test_no_two_processes_import_the_same_packages_while_another_interpreter_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conformance.execution.survey.cores", lambda: 2)
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    other.chmod(0o755)
    group_by_name = {"a": "here", "b": "here", "c": "there", "d": "there"}
    files = [tmp_path / f"{name}.py" for name in group_by_name]
    for file in files:
        process = {"name": file.stem, "group": group_by_name[file.stem], "environment": {}}
        file.write_text(f"PROCESSES = [{process}]\n" + ADAPTER.format(name=file.stem))
    asked = keys({"here": sys.executable, "there": str(other)}, [str(file) for file in files])
    with Workers(2, tmp_path, Limits(start=20.0, cell=5.0)) as workers:
        answers = list(survey(asked, [], workers))
    assert all(isinstance(answer, Offer) for answer in answers), answers
    groups = [group_by_name[lane.name] for lane in workers.stages.lanes]
    assert groups[:2] == ["here", "there"]


def test_a_process_that_dies_while_others_are_asked_is_ended_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        (tmp_path / f"{name}.py").write_text(ADAPTER.format(name=name))
    first, second = keys({}, [str(tmp_path / f"{name}.py") for name in ("first", "second")])
    with Workers(2, tmp_path, Limits(start=20.0, cell=5.0)) as workers:
        list(survey([first], [], workers))
        workers.live[first].popen.kill()
        workers.live[first].popen.wait()
        wait = Mock(wraps=workers.wait)
        monkeypatch.setattr(workers, "wait", wait)
        assert [type(answer) for answer in survey([second], [], workers)] == [Offer]
        assert list(workers.live) == [second]
        assert wait.call_count < 40
