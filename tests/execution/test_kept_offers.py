"""What adapters offered, kept from run to run: given again only while nothing has changed that it may depend on."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from conformance.errors import SuiteError, WorkerError
from conformance.execution.execute import execute
from conformance.execution.kept_offers import KeptOffers
from conformance.execution.pool import Limits, Workers
from conformance.execution.survey import survey
from conformance.planning.discovery import WorkerKey, keys
from conformance.planning.plan import Offer
from conformance.protocol import Configuration
from tests.fake_cells import cell

ADAPTER = """
import os
from pathlib import Path

from conformance.protocol import Adapter, Call, Implementation

PROCESSES = [{"name": "asked", "group": None, "environment": {}}]
{first}
with Path(__file__).with_name("imports").open("a") as file:
    file.write("x")
FACTOR = Path(__file__).with_name("factor")

ADAPTER = Adapter(library="asked", versions={"asked": FACTOR.read_text() if FACTOR.is_file() else "1"}, implementations=(Implementation(
    name="asked.layer", op="batch_norm", profile=(), modes=("eager",), dtypes=("float32",),
    supports=lambda configuration: "too large" if configuration.epsilon > 1 else None,
    call=lambda configuration: Call(path="numpy.zeros", keywords={"shape": 1}),
    start=lambda native, configuration, state, mode, device: native, state=lambda live: {},
    steps={"train": lambda live, x, upstream: {"output": x}}),))
"""


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    file = tmp_path / "asked.py"
    file.write_text(ADAPTER.replace("{first}", ""))
    return file


def asked(adapter: Path) -> int:
    """Return how many processes have imported the adapter."""
    imports = adapter.with_name("imports")
    return len(imports.read_text()) if imports.is_file() else 0


def surveyed(key: WorkerKey, folder: Path, configurations: tuple[Configuration, ...] = ()) -> Offer | WorkerError:
    """Return the answer of one adapter to a run of its own."""
    offers = KeptOffers(folder / "offers", configurations)
    with Workers(1, folder, Limits(start=20.0, cell=5.0), offers=offers) as workers:
        (answer,) = survey([key], configurations, workers)
    return answer


def interpreter_beside(packages: Path) -> str:
    """Return an interpreter that also looks into that folder for packages."""
    script = packages.parent / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{packages}" exec "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    return str(script)


def installed(packages: Path, name: str, **direct_url: object) -> None:
    """Install a package of that name in the folder, as an installer records it."""
    folder = packages / f"{name}-1.0.dist-info"
    folder.mkdir(parents=True)
    if direct_url:
        (folder / "direct_url.json").write_text(json.dumps(direct_url))


def test_a_second_run_imports_nothing_to_learn_the_same(adapter: Path, tmp_path: Path) -> None:
    (key,) = keys({}, [str(adapter)])
    first, second = surveyed(key, tmp_path), surveyed(key, tmp_path)
    assert asked(adapter) == 1
    assert isinstance(first, Offer)
    assert first == second


def test_a_changed_adapter_is_asked_again(adapter: Path, tmp_path: Path) -> None:
    (key,) = keys({}, [str(adapter)])
    surveyed(key, tmp_path)
    adapter.write_text(adapter.read_text().replace("asked.layer", "asked.other"))
    answer = surveyed(key, tmp_path)
    assert isinstance(answer, Offer)
    assert [implementation.name for implementation in answer.implementations] == ["asked.other"]


def test_other_questions_are_asked(adapter: Path, tmp_path: Path) -> None:
    (key,) = keys({}, [str(adapter)])
    surveyed(key, tmp_path)
    configuration = cell("asked", "one", worker=key).case.configuration
    for epsilon, reason in ((0.5, None), (2.0, "too large")):
        answer = surveyed(key, tmp_path, (replace(configuration, epsilon=epsilon),))
        assert isinstance(answer, Offer)
        assert answer.reasons == {"asked.layer": [reason]}


def test_what_a_run_asks_and_what_a_search_asks_are_kept_beside_one_another(adapter: Path, tmp_path: Path) -> None:
    """A search draws its configurations, so that it asks for the rows alone."""
    (key,) = keys({}, [str(adapter)])
    configuration = cell("asked", "one", worker=key).case.configuration
    for _ in range(2):
        surveyed(key, tmp_path)
        surveyed(key, tmp_path, (configuration,))
    assert asked(adapter) == 2


def test_another_environment_variable_has_it_asked_again(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (key,) = keys({}, [str(adapter)])
    surveyed(key, tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    surveyed(key, tmp_path)
    assert asked(adapter) == 2


def test_another_processor_has_it_asked_again(adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (key,) = keys({}, [str(adapter)])
    surveyed(key, tmp_path)
    monkeypatch.setattr("conformance.execution.kept_offers._instructions", lambda: "flags: none for bfloat16")
    surveyed(key, tmp_path)
    assert asked(adapter) == 2


def test_where_a_person_stands_does_not_matter(adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (key,) = keys({}, [str(adapter)])
    surveyed(key, tmp_path)
    monkeypatch.setenv("OLDPWD", "elsewhere")
    surveyed(key, tmp_path)
    assert asked(adapter) == 1


def test_a_newly_installed_package_has_it_asked_again(adapter: Path, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    installed(packages, "framework")
    key = replace(keys({}, [str(adapter)])[0], interpreter=interpreter_beside(packages))
    surveyed(key, tmp_path)
    surveyed(key, tmp_path)
    assert asked(adapter) == 1
    installed(packages, "another")
    surveyed(key, tmp_path)
    assert asked(adapter) == 2


def test_beside_somebodys_working_copy_nothing_is_kept(adapter: Path, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    installed(packages, "framework", url="file:///framework", dir_info={"editable": True})
    key = replace(keys({}, [str(adapter)])[0], interpreter=interpreter_beside(packages))
    surveyed(key, tmp_path)
    surveyed(key, tmp_path)
    assert asked(adapter) == 2


def test_a_missing_framework_is_told_again_without_a_process(adapter: Path, tmp_path: Path) -> None:
    adapter.write_text(ADAPTER.replace("{first}", "import no_such_framework"))
    (key,) = keys({}, [str(adapter)])
    first = surveyed(key, tmp_path)
    logs = len(list((tmp_path / "logs").iterdir()))
    (tmp_path / "logs" / next((tmp_path / "logs").iterdir()).name).unlink()
    second = surveyed(key, tmp_path)
    assert isinstance(first, WorkerError)
    assert isinstance(second, WorkerError)
    assert (first.missing, str(first)) == (second.missing, str(second))
    assert first.missing == "no_such_framework"
    assert (logs, list((tmp_path / "logs").iterdir())) == (1, [])


def test_what_fails_otherwise_is_asked_again(adapter: Path, tmp_path: Path) -> None:
    adapter.write_text(ADAPTER.replace("{first}", "raise RuntimeError('not today')"))
    (key,) = keys({}, [str(adapter)])
    assert isinstance(surveyed(key, tmp_path), WorkerError)
    assert not list(tmp_path.glob("offers/*"))


def test_a_spoiled_file_has_it_asked_again(adapter: Path, tmp_path: Path) -> None:
    (key,) = keys({}, [str(adapter)])
    surveyed(key, tmp_path)
    (kept,) = tmp_path.glob("offers/*.json")
    kept.write_bytes(kept.read_bytes()[:-20])
    assert isinstance(surveyed(key, tmp_path), Offer)
    assert asked(adapter) == 2


def test_a_worker_that_offers_something_else_ends_the_run_and_is_asked_the_next_time(
    adapter: Path, tmp_path: Path
) -> None:
    (key,) = keys({}, [str(adapter)])
    surveyed(key, tmp_path)
    adapter.with_name("factor").write_text("2")
    with Workers(1, tmp_path, Limits(start=20.0, cell=5.0), offers=KeptOffers(tmp_path / "offers", ())) as workers:
        assert len(list(survey([key], (), workers))) == 1
        with pytest.raises(SuiteError, match="asked: has other versions than when it was asked last"):
            list(execute([cell("asked", "one", worker=key)], workers))
    answer = surveyed(key, tmp_path)
    assert isinstance(answer, Offer)
    assert answer.versions["asked"] == "2"
