"""Which processes run which adapter, found out without importing any."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from conformance.errors import UsageError
from conformance.planning import discovery
from conformance.planning.discovery import WorkerKey, keys, limited, one_thread, processes
from conformance.runfile.ladder import DTYPES
from conformance.spec.locations import adapter_files, root
from tests.cells import key as process

PROCESSES = """PROCESSES = [
    {"name": "own", "group": "torch", "environment": {"B": "2", "A": "1"}, "dtypes": ["float64"]},
    {"name": "own-narrow", "group": None, "environment": {}},
]
raise SystemExit("an adapter was imported")
"""


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    file = tmp_path / "own.py"
    file.write_text(PROCESSES)
    return file


def names(found: tuple[WorkerKey, ...]) -> list[str]:
    return [key.name for key in found]


def test_processes_are_read_without_importing_the_file(adapter: Path) -> None:
    wide, narrow = keys({}, [f"{adapter}:OWN"])
    assert (wide.name, wide.group, wide.adapter, wide.attribute) == ("own", "torch", str(adapter), "OWN")
    assert (wide.environment, wide.dtypes) == ((("A", "1"), ("B", "2")), ("float64",))
    assert (narrow.name, narrow.group, narrow.environment, narrow.dtypes) == ("own-narrow", None, (), None)


def test_annotated_processes_are_read_alike(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text('PROCESSES: list[dict] = [{"name": "x", "group": None, "environment": {}}]\n')
    assert [each["name"] for each in processes(file)] == ["x"]


def threads(tmp_path: Path, value: str) -> WorkerKey:
    file = tmp_path / "own.py"
    file.write_text(f'PROCESSES = [{{"name": "x", "group": None, "environment": {{"A": "0"}}, "threads": {value}}}]\n')
    return keys({}, [str(file)])[0]


def test_a_process_is_limited_by_its_own_variables(tmp_path: Path) -> None:
    key = threads(tmp_path, '{"T": "{threads}", "FLAGS": "--pool={threads} --own=true"}')
    assert (key.threads, key.environment) == (None, (("A", "0"),))
    one = limited(key, 3)
    assert (one.name, one.threads) == ("x-threads-3", 3)
    assert one.environment == (("A", "0"), ("FLAGS", "--pool=3 --own=true"), ("T", "3"))


def test_why_nothing_limits_a_process_is_kept_in_words(tmp_path: Path) -> None:
    key = threads(tmp_path, '"it has one thread"')
    assert (key.limits, key.unlimited) == ((), "it has one thread")


def test_a_file_without_processes_runs_in_one_of_its_own_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("ADAPTER = None\n")
    assert processes(file) == [{"name": "mine", "group": None, "environment": {}}]


def test_the_attribute_is_adapter_unless_named(adapter: Path) -> None:
    assert {key.attribute for key in keys({}, [str(adapter)])} == {"ADAPTER"}


def test_an_adapter_that_was_named_is_asked_for(adapter: Path) -> None:
    assert all(key.asked for key in keys({}, [str(adapter)]))


def test_a_named_adapter_stands_alone(adapter: Path) -> None:
    assert names(keys({}, [str(adapter)])) == ["own", "own-narrow"]


def test_a_group_runs_in_the_interpreter_named_for_it(adapter: Path) -> None:
    found = keys({"torch": "/envs/torch/bin/python"}, [str(adapter)])
    assert [key.interpreter for key in found] == ["/envs/torch/bin/python", sys.executable]


def test_with_interpreters_named_only_their_groups_and_those_of_none_take_part() -> None:
    found = keys({"torch": "/envs/torch/bin/python"})
    assert {key.group for key in found} == {"torch", None}
    assert {key.name for key in found if key.asked} == {key.name for key in found if key.group == "torch"}


def test_without_interpreters_every_shipped_adapter_takes_part_and_none_is_asked_for() -> None:
    found = keys({})
    assert {Path(key.adapter) for key in found} == set(adapter_files())
    assert not any(key.asked for key in found)


def test_shipped_processes_have_names_of_their_own() -> None:
    found = names(keys({}))
    assert len(found) == len(set(found))


@pytest.mark.parametrize("file", adapter_files(), ids=lambda file: f"{file.parent.name}.{file.stem}")
def test_no_dtype_falls_between_the_processes_of_a_shipped_adapter(file: Path) -> None:
    """A process that serves some dtypes has another beside it, of the same group and backend, for the rest."""
    served: dict[tuple[str | None, str], set[str]] = {}
    for key in keys({}, [str(file)]):
        of = key.group, dict(key.environment).get("KERAS_BACKEND", "")
        served.setdefault(of, set()).update(key.dtypes or DTYPES)
    assert [of for of, found in served.items() if found != set(DTYPES)] == []


def test_an_adapter_in_a_package_is_found_by_its_module(
    tmp_path: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "thirdparty_conformance"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "own.py").write_text(adapter.read_text())
    monkeypatch.syspath_prepend(tmp_path)
    found = keys({}, ["thirdparty_conformance.own:OWN"])
    assert [(key.adapter, key.attribute) for key in found] == [(str(package / "own.py"), "OWN")] * 2
    assert "thirdparty_conformance.own" not in sys.modules


def test_installed_adapters_join_the_shipped_ones(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "_installed", lambda: [(str(adapter), "OWN")])
    assert names(keys({}))[-2:] == ["own", "own-narrow"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("absent.py:OWN", "--adapter absent.py:OWN: no such file: absent.py"),
        ("no_such_module_anywhere:OWN", "expected path/file.py:NAME or package.module:NAME"),
        ("no_such_package.module:OWN", "cannot find no_such_package.module"),
        (":OWN", "--adapter :OWN: "),
        ("", "--adapter : "),
    ],
)
def test_an_adapter_that_is_not_there_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        keys({}, [text])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("PROCESSES = [\n", "not an adapter: "),
        ("x = '\0'\n", "not an adapter: "),
        ("PROCESSES = make()\n", ":1: PROCESSES must be a literal"),
        ("PROCESSES = {[]: 1}\n", ":1: PROCESSES must be a literal"),
        ("PROCESSES = []\n", ":1: expected PROCESSES to be a list of"),
        ("PROCESSES = 'trch'\n", "processes.yaml: 'trch'; did you mean torch?"),
        ("PROCESSES = ''\n", "processes.yaml: ''"),
        ('PROCESSES = {"name": "x"}\n', ":1: expected PROCESSES to be a list of"),
        ('PROCESSES = ["x"]\n', ":1: expected PROCESSES to be a list of"),
        ('PROCESSES = [{"name": "x"}]\n', ":1: expected PROCESSES to be a list of"),
        (
            'PROCESSES = [{"name": "x", "group": None, "environment": {}, "dtype": "f"}]\n',
            ":1: expected PROCESSES to be a list of",
        ),
        *(
            (
                f'PROCESSES = [{{"name": "x", "group": None, "environment": {{}}, "threads": {value}}}]\n',
                f':1: expected threads to be {{variable: text with "{{threads}}"}}, or why nothing limits them, got {value}',
            )
            for value in ("1", "{}", "''", "{'T': '1'}", "{'T': 1}", "{1: '{threads}'}")
        ),
    ],
)
def test_processes_that_cannot_be_read_are_refused_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "own.py"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        processes(file)
    assert str(caught.value).startswith(str(file))
    assert message in str(caught.value)


# A `torch.py` that is imported here instead of the library would raise.
def test_an_adapter_file_named_after_a_library_never_shadows_it(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("import json\nVALUE = json\n")
    (tmp_path / "json.py").write_text("raise SystemExit('the adapter json.py shadows the library')\n")
    code = (
        "import sys; from conformance.worker.adapter_file import load_adapter; "
        f"made = load_adapter({str(tmp_path / 'torch.py')!r}); "
        "assert made.VALUE.dumps({}) == '{}'; "
        "assert made.__name__ == 'conformance_adapters.torch', made.__name__; "
        "assert 'torch' not in sys.modules; "
        f"assert {str(tmp_path)!r} not in sys.path"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_shipped_adapters_are_on_no_path() -> None:
    code = f"import sys, conformance.planning.discovery as r; r.keys({{}}); assert {str(root() / 'adapters')!r} not in sys.path"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


def test_a_process_may_be_limited_to_one_thread() -> None:
    limited = one_thread(process(limits=(("OMP_NUM_THREADS", "{threads}"),), environment=(("A", "1"),)))
    assert dict(limited.environment) == {"A": "1", "OMP_NUM_THREADS": "1"}


def test_it_remains_the_process_that_plans_and_logs_know() -> None:
    whole = process(limits=(("OMP_NUM_THREADS", "{threads}"),))
    assert replace(one_thread(whole), environment=()) == whole


def test_a_process_whose_threads_nothing_limits_stays_as_it_is() -> None:
    assert one_thread(process()) == process()


def test_a_process_of_one_thread_is_told_from_one_whose_threads_a_case_names() -> None:
    whole = process(limits=(("OMP_NUM_THREADS", "{threads}"),))
    assert [each.is_single for each in (whole, one_thread(whole), limited(whole, 1), process())] == [
        False,
        True,
        False,
        False,
    ]
