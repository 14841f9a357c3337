"""Who imports whom: the core no framework, an adapter its library and the protocol, the report the record alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.shipped import adapter_files

PACKAGE = Path(__file__).resolve().parent.parent / "conformance"
CORE = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] != "report")
REPORT = sorted((PACKAGE / "report").rglob("*.py"))

#: What the core may import beside the standard library: the dependencies of pyproject.toml and what comes with pytest.
CORE_PACKAGES = {
    "ml_dtypes",
    "numpy",
    "packaging",
    "pydantic",
    "pydantic_core",
    "pytest",
    "rich",
    "scipy",
    "typer",
    "yaml",
}
REPORT_OURS = {
    f"conformance.{name}"
    for name in ("errors", "json_text", "ladder", "observed", "record", "results", "shipped", "verdict", "whole")
}
#: Modules that run inside the frameworks' processes; and those that do so where throughput is timed, with pytest.
WORKER = ("protocol", "wire", "worker", "throughput.timing")
TIMING = ("throughput.timing", "throughput.timed_pass")
FAMILIES = {
    "equinox": {"equinox", "jax", "jaxlib", "optax"},
    "flax_linen": {"flax", "jax", "jaxlib", "optax"},
    "flax_nnx": {"flax", "jax", "jaxlib", "optax", "orbax"},
    "flax_nnx_transforms": {"flax", "jax", "jaxlib", "optax"},
    "flax_transforms": {"flax", "jax", "jaxlib", "optax"},
    "haiku": {"haiku", "jax", "jaxlib", "jmp", "optax"},
    "jax": {"jax", "jaxlib", "optax"},
    # The batch norms of the libraries on JAX, over its replicas.
    "jax_replicas": {"equinox", "flax", "haiku", "jax", "jaxlib"},
    "jax_nn": {"jax", "jaxlib", "optax"},
    # Keras and each of its backends.
    "keras": {"jax", "jaxlib", "keras", "tensorflow", "torch"},
    "keras_masked": {"jax", "jaxlib", "keras", "tensorflow", "torch"},
    "keras_ops": {"jax", "jaxlib", "keras", "tensorflow", "torch"},
    "keras_replicas": {"keras", "tensorflow"},
    "keras_transforms": {"jax", "jaxlib", "keras", "tensorflow", "torch"},
    "mlx": {"mlx"},
    "numpy": set[str](),
    "onnx": {"onnx", "onnxruntime"},
    "openvino": {"openvino"},
    "paddle": {"paddle"},
    "sklearn": {"joblib", "sklearn"},
    "tensorflow": {"keras", "tensorflow"},
    "tensorflow_fused": {"tensorflow"},
    "tf_keras": {"tensorflow", "tf_keras"},
    "tf_keras_masked": {"tensorflow", "tf_keras"},
    "tf_keras_replicas": {"tensorflow", "tf_keras"},
    "tf_keras_transforms": {"tensorflow", "tf_keras"},
    "torch": {"torch"},
    "torch_replicas": {"torch"},
    "torch_transforms": {"torch"},
}
FRAMEWORKS = set[str]().union(*FAMILIES.values())


def imported(text: str) -> Iterator[str]:
    """Every module that the code imports by statement or by `import_module` of a literal, at any depth of it."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=aliases):
                yield from (alias.name for alias in aliases)
            case ast.ImportFrom(module=module, names=aliases, level=0):
                assert module is not None
                yield module
                if module == "conformance":
                    yield from (f"conformance.{alias.name}" for alias in aliases)
            case ast.ImportFrom():
                raise AssertionError("a relative import")
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="__import__" | "import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield name
            case _:
                pass


def foreign(text: str, packages: set[str], ours: set[str] | None = None) -> set[str]:
    """What the code imports beyond the standard library, those packages, and those modules of ours (None: all)."""
    found = set()
    for name in imported(text):
        top = name.partition(".")[0]
        if top == "conformance":
            if (
                ours is not None
                and name != "conformance"
                and not any(name == each or name.startswith(f"{each}.") for each in ours)
            ):
                found.add(name)
        elif top not in sys.stdlib_module_names and top not in packages:
            found.add(name)
    return found


def _named(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent))


@pytest.mark.parametrize("path", CORE, ids=_named)
def test_the_core_imports_no_framework_and_no_adapter(path: Path) -> None:
    assert foreign(path.read_text(), CORE_PACKAGES) == set()


@pytest.mark.parametrize("path", REPORT, ids=_named)
def test_the_report_imports_nothing_of_ours_that_runs_or_judges(path: Path) -> None:
    assert foreign(path.read_text(), {"jinja2", "pygal"}, REPORT_OURS | {"conformance.report"}) == set()


@pytest.mark.parametrize("name", ["errors", "json_text", "ladder", "observed", "record", "results", "verdict", "whole"])
def test_what_the_report_imports_imports_nothing_else_of_ours(name: str) -> None:
    assert foreign((PACKAGE / f"{name}.py").read_text(), set(), REPORT_OURS) == set()


@pytest.mark.parametrize("name", dict.fromkeys((*WORKER, *TIMING)))
def test_a_worker_imports_numpy_and_ml_dtypes_alone(name: str) -> None:
    ours = {f"conformance.{each}" for each in WORKER}
    packages = {"ml_dtypes", "numpy", *(("pytest",) if name in TIMING else ())}
    assert foreign((PACKAGE / f"{name.replace('.', '/')}.py").read_text(), packages, ours) == set()


@pytest.mark.parametrize("path", adapter_files(), ids=lambda path: path.stem)
def test_an_adapter_imports_its_library_and_the_protocol_alone(path: Path) -> None:
    packages = FAMILIES[path.stem] | {"ml_dtypes", "numpy"}
    assert foreign(path.read_text(), packages, {"conformance.protocol"}) == set()


def test_there_are_files_to_look_at() -> None:
    assert {path.stem for path in adapter_files()} == set(FAMILIES)
    assert len(CORE) > 20
    assert len(REPORT) > 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import torch", {"torch"}),
        ("import numpy, jax.numpy as jnp", {"jax.numpy"}),
        ("from tensorflow.python import x", {"tensorflow.python"}),
        ("def f():\n    import torch", {"torch"}),
        ("if TYPE_CHECKING:\n    import torch", {"torch"}),
        ("importlib.import_module('torch.nn')", {"torch.nn"}),
        ("from conformance import execute", {"conformance.execute"}),
        ("from conformance.plan import Cell", {"conformance.plan"}),
        ("import conformance.judge", {"conformance.judge"}),
        ("from conformance.recorder import x", {"conformance.recorder"}),
        ("import os\nfrom numpy import linalg\nfrom conformance.record import read", set()),
    ],
)
def test_a_forbidden_import_would_be_found(text: str, found: set[str]) -> None:
    assert foreign(text, {"numpy"}, {"conformance.record"}) == found


def loaded_by(statement: str, *names: str) -> set[str]:
    """Which of those modules a fresh interpreter has after the statement."""
    code = f"import sys; {statement}; print(*(sys.modules.keys() & {set(names)!r}))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_command_line_loads_no_framework() -> None:
    assert loaded_by("import conformance.cli, conformance.running", *FRAMEWORKS) == set()


def test_the_command_line_loads_nothing_heavy_before_it_is_used() -> None:
    assert loaded_by("import conformance.cli", "numpy", "pydantic", "pytest", "yaml") == set()


def test_a_worker_loads_none_of_the_core_s_packages() -> None:
    names = CORE_PACKAGES - {"ml_dtypes", "numpy"}
    assert loaded_by("import conformance.worker", *names, "conformance.case", "conformance.judge") == set()


def test_the_report_loads_neither_execution_nor_judging() -> None:
    names = [f"conformance.{name}" for name in ("execute", "judge", "plan", "reference", "registry", "spec", "worker")]
    assert loaded_by("import conformance.report", *names, "numpy", "pydantic") == set()


def test_a_module_that_is_loaded_would_be_seen() -> None:
    assert loaded_by("import json", "json", "torch") == {"json"}
