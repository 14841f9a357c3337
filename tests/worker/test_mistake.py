"""Who raised is told by the innermost frame: the adapter's file and those it shares, our call of it, or the library."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from conformance.worker.adapter_file import load_adapter
from conformance.worker.mistake import mistake

LIBRARY = """
def normalize(x, epsilon):
    return x + epsilon

def refuse(x):
    raise TypeError("takes no integers")

def annotated(function):
    try:
        return function()
    except Exception as error:
        error.add_note("frames were removed")
        raise error.with_traceback(error.__traceback__) from None

def calling(function):
    return function()

def rewritten(function):
    source = f"def {function.__name__}(x):\\n    raise TypeError('takes no integers')\\n"
    exec(compile(source, "generated.py", "exec"), function.__globals__)
    return function.__globals__[function.__name__]
"""
ADAPTER = """
import library_of_a_test as library

def refused(x):
    return library.refuse(x)

def misspelt(x):
    return library.normalise(x, 1)

def one_argument(x):
    return library.normalize(x)

def unknown(x):
    return undefined_name

def absent(x):
    return {}["moving_mean"]

def out_of_range(x):
    return [][1]

def compiled_index(x):
    return [].pop()

def refusing_itself(x):
    raise ValueError("more than one value is needed")

def within_the_library(x):
    return library.calling(lambda: x.nothing)

def annotated(x):
    return library.annotated(lambda: x.nothing)

def deep(x):
    return library.normalize(x, "1")

def traced(x):
    return library.rewritten(to_be_traced)(x)

def to_be_traced(x):
    return x
"""


@pytest.fixture(name="adapter")
def _adapter(tmp_path: Path) -> Iterator[ModuleType]:
    (tmp_path / "library_of_a_test.py").write_text(LIBRARY)
    (tmp_path / "told.py").write_text(ADAPTER)
    spec = importlib.util.spec_from_file_location("library_of_a_test", tmp_path / "library_of_a_test.py")
    assert spec is not None
    assert spec.loader is not None
    library = importlib.util.module_from_spec(spec)
    sys.modules["library_of_a_test"] = library
    spec.loader.exec_module(library)
    yield load_adapter(str(tmp_path / "told.py"))
    del sys.modules["library_of_a_test"]


def raised(function: Callable[..., Any], *arguments: Any) -> str:
    """Return whose mistake the exception of the call is."""
    try:
        function(*arguments)
    except Exception as error:  # noqa: BLE001 - it is what is asked about
        return mistake(error)
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    "name", ["misspelt", "one_argument", "unknown", "absent", "out_of_range", "within_the_library"]
)
def test_what_goes_wrong_in_the_adapter_is_its_mistake(adapter: ModuleType, name: str) -> None:
    assert raised(getattr(adapter, name), 1).startswith("told.py, line ")


@pytest.mark.parametrize("name", ["refused", "refusing_itself", "compiled_index", "deep", "annotated", "traced"])
def test_what_a_library_raises_is_its_refusal(adapter: ModuleType, name: str) -> None:
    assert raised(getattr(adapter, name), 1) == ""


def test_the_place_is_file_line_and_function(adapter: ModuleType) -> None:
    assert raised(adapter.misspelt, 1) == "told.py, line 8, in misspelt"


def test_what_libraries_files_share_is_the_adapter_s_too(tmp_path: Path) -> None:
    (tmp_path / "processes.yaml").write_text("plain:\n  processes: [{group: null, environment: {}}]\n")
    folder = tmp_path / "library_with_files"
    folder.mkdir()
    (folder / "_native.py").write_text("def tensor(x):\n    return x.nothing\n")
    text = "from conformance_adapters.library_with_files._native import tensor\n\ndef train(x):\n    return tensor(x)\n"
    (folder / "rows.py").write_text(text)
    module = load_adapter(str(folder / "rows.py"))
    assert raised(module.train, 1) == "library_with_files/_native.py, line 2, in tensor"


def test_an_exception_that_was_never_raised_is_nobody_s_mistake() -> None:
    assert mistake(TypeError("made, not raised")) == ""
