"""An adapter's file as a module: in the folder of its library, or alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.worker.adapter_file import library_of

#: A folder of adapters whose library has the name of one of the standard library's modules.
FILES = {
    "processes.yaml": "",
    "json/_arrays.py": "import json\nVALUE = json.loads('3')\n",
    "json/_native.py": "from conformance_adapters.json._arrays import VALUE\n\n\ndef twice():\n    return 2 * VALUE\n",
    "json/layer.py": "import json\n\nfrom conformance_adapters.json._native import twice\n\nSIX = json.dumps(twice())\n",
    "json/other.py": "from conformance_adapters.json._native import twice\n\nSIX = twice()\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / "adapters" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "adapters"


def told(code: str, folder: Path) -> object:
    """What a fresh interpreter, started beside the folder's files, prints as JSON."""
    head = "import json; from conformance.worker.adapter_file import load_adapter, reached, text_of; "
    command = [sys.executable, "-P", "-c", head + code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_file_of_a_library_imports_what_its_library_s_files_share(folder: Path) -> None:
    file = str(folder / "json" / "layer.py")
    found = told(f"made = load_adapter({file!r}); print(json.dumps([made.__name__, made.SIX]))", folder)
    assert found == ["conformance_adapters.json.layer", "6"]


def test_a_folder_named_after_a_library_never_shadows_it(folder: Path) -> None:
    """Neither by its name nor by a path that is left behind."""
    file = str(folder / "json" / "layer.py")
    code = f"import sys; load_adapter({file!r}); print(json.dumps([json.__file__, sys.path]))"
    found = told(code, folder)
    assert isinstance(found, list)
    assert not found[0].startswith(str(folder))
    assert not [place for place in found[1] if place.startswith(str(folder))]


def test_what_an_adapter_reaches_stands_before_it(folder: Path) -> None:
    file = str(folder / "json" / "layer.py")
    code = f"print(json.dumps({{each.__name__: text_of(each) for each in reached(load_adapter({file!r}))}}))"
    found = told(code, folder)
    assert isinstance(found, dict)
    names = ["json/_arrays.py", "json/_native.py", "json/layer.py"]
    assert list(found) == [f"conformance_adapters.{name[:-3].replace('/', '.')}" for name in names]
    assert list(found.values()) == [FILES[name] for name in names]


def test_files_of_two_folders_are_loaded_in_one_process(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "others" / "csv"
    other.mkdir(parents=True)
    (other.parent / "processes.yaml").write_text("")
    (other / "layer.py").write_text("SIX = 6.0\n")
    files = [str(folder / "json" / "other.py"), str(other / "layer.py")]
    assert told(f"print(json.dumps([load_adapter(file).SIX for file in {files}]))", folder) == [6, 6.0]


def test_a_file_elsewhere_stands_alone(tmp_path: Path) -> None:
    """What is beside it is no module of its own."""
    (tmp_path / "_native.py").write_text("")
    (tmp_path / "mine.py").write_text("import _native\n")
    assert library_of(tmp_path / "mine.py") is None
    command = f"from conformance.worker.adapter_file import load_adapter; load_adapter({str(tmp_path / 'mine.py')!r})"
    done = subprocess.run([sys.executable, "-P", "-c", command], capture_output=True, text=True, check=False)
    assert "No module named '_native'" in done.stderr


def test_the_library_of_a_file_is_the_folder_it_is_in(folder: Path) -> None:
    assert library_of(folder / "json" / "layer.py") == "json"
    assert library_of(folder / "beside.py") is None


@pytest.mark.parametrize("name", ["layer.py", "../alone.py"])
def test_no_bytecode_is_kept_of_an_adapter_nor_read(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of the same length that is written within the same second is the one that is imported."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    file = folder / "json" / name
    for value in (1, 2):
        file.write_text(f"VALUE = {value}\n")
        os.utime(file, (1e9, 1e9))
        assert told(f"print(load_adapter({str(file)!r}).VALUE)", folder) == value
    assert not list(folder.rglob("__pycache__"))
