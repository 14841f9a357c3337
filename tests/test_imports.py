"""Who imports whom: the core no framework, an adapter its library and the protocol, the report the record alone."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from conformance.reproduce.sources import chained
from conformance.runfile.structs import EnvironmentLine
from conformance.spec.locations import adapter_files, root

PACKAGE = Path(__file__).resolve().parent.parent / "conformance"
MODULES = sorted(PACKAGE.rglob("*.py"))

#: From the ground up: a package or module imports what stands in a row before its own, and itself.
LAYERS = (
    ("cause", "errors", "outcome", "precision", "protocol", "verdict"),
    ("dialect", "files"),
    ("worker",),
    ("operations",),
    ("spec",),
    ("reference",),
    ("planning",),
    ("execution",),
    ("judging",),
    ("runfile",),
    ("run",),
    ("cluster", "contract", "throughput"),
    ("answers", "compare", "report", "reproduce"),
    ("regression", "search"),
    ("publish",),
    ("api", "testing"),
    ("cli",),
    ("__main__",),
)
FLOORS = {name: floor for floor, names in enumerate(LAYERS) for name in names}

#: What the core may import beside the standard library: the dependencies of pyproject.toml and what comes with pytest.
CORE_PACKAGES = {
    "dask",  # of the extra `cluster`, imported when a cluster is asked for
    "distributed",  # likewise
    "filelock",
    "h5py",  # of the extra `weights`, imported when a file of Keras is read
    "hypothesis",  # of the extra `search`, imported when a search is asked for
    "ml_dtypes",
    "msgspec",
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
#: Of our own, what a report is made from: vocabulary, the run file, the place of the shipped files.
REPORT_OURS = {
    "conformance.cause",
    "conformance.dialect",
    "conformance.errors",
    "conformance.files",
    "conformance.report",
    "conformance.runfile",
    "conformance.spec.locations",
    "conformance.verdict",
}
#: Of our own, what runs inside the frameworks' processes, where nothing but NumPy and ml_dtypes is certain.
WORKER_OURS = {"conformance.precision", "conformance.protocol", "conformance.worker"}
#: What times there, by pytest.
TIMING = {"benchmark.py", "timed_pass.py"}
#: How the folder of the adapters is called where it is loaded.
ADAPTERS = "conformance_adapters"
#: By library: what its adapters import, its own package among it.
LIBRARIES = {
    "equinox": {"equinox", "jax", "jaxlib", "optax"},
    "flax": {"flax", "jax", "jaxlib", "optax", "orbax"},
    "haiku": {"haiku", "jax", "jaxlib", "jmp", "optax"},
    "jax": {"jax", "jaxlib", "optax"},
    # Keras and each of its backends.
    "keras": {"jax", "jaxlib", "keras", "tensorflow", "torch"},
    "mlx": {"mlx"},
    "numpy": set[str](),
    "onnx": {"onnx", "onnxruntime"},
    "openvino": {"openvino"},
    "paddle": {"paddle"},
    "sklearn": {"joblib", "sklearn"},
    "tensorflow": {"keras", "tensorflow"},
    "tf_keras": {"tensorflow", "tf_keras"},
    "torch": {"torch"},
}
#: The batch norms of the libraries on JAX, over its replicas: what these share serves there too.
FURTHER = {"jax.replicas": {"equinox", "flax", "haiku"}}
ADAPTER_FILES = sorted((root() / "adapters").rglob("*.py"))
FRAMEWORKS = set[str]().union(*LIBRARIES.values())


def imported(text: str) -> Iterator[str]:
    """Every module that the code imports by statement or by `import_module` of a literal, at any depth of it."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=aliases):
                yield from (alias.name for alias in aliases)
            case ast.ImportFrom(module=module, names=aliases, level=0):
                assert module is not None
                yield from _imported_from(module, [alias.name for alias in aliases])
            case ast.ImportFrom():
                raise AssertionError("a relative import")
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="__import__" | "import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield name
            case _:
                pass


def _imported_from(module: str, names: list[str]) -> Iterator[str]:
    """What `from module import names` imports: of our packages their modules, else the package itself."""
    if module.partition(".")[0] != "conformance":
        yield module
        return
    folder = PACKAGE.joinpath(*module.split(".")[1:])
    submodules = [name for name in names if (folder / f"{name}.py").is_file() or (folder / name).is_dir()]
    yield from (f"{module}.{name}" for name in submodules)
    if len(submodules) < len(names):
        yield module


def foreign(text: str, packages: set[str], ours: set[str] | None = None) -> set[str]:
    """What the code imports beyond the standard library, those packages, and those modules of ours (None: all)."""
    beyond = set()
    for name in imported(text):
        top = name.partition(".")[0]
        if top == "conformance":
            if ours is not None and name != "conformance" and not _is_among(name, ours):
                beyond.add(name)
        elif top == ADAPTERS and ours is not None and name in ours:
            pass
        elif top not in sys.stdlib_module_names and top not in packages:
            beyond.add(name)
    return beyond


def _is_among(name: str, modules: set[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def upward(importer: str, text: str) -> set[str]:
    """What the code of a module or package of ours, named without `conformance.`, imports from its own row or above."""
    tops = {name.split(".")[1] for name in imported(text) if name.startswith("conformance.")}
    return {top for top in tops if top != importer and FLOORS[top] >= FLOORS[importer]}


def _named(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent))


def _top(path: Path) -> str:
    """The package or module of the top level that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", MODULES, ids=_named)
def test_imports_point_downwards_only(path: Path) -> None:
    if path != PACKAGE / "__init__.py":
        assert upward(_top(path), path.read_text()) == set()


def test_every_module_and_package_has_a_floor() -> None:
    assert {_top(path) for path in MODULES} - {"__init__"} == set(FLOORS)


def test_few_files_stand_beside_the_packages() -> None:
    assert sum(path.is_file() for path in PACKAGE.iterdir()) <= 12


def circle(graph: Mapping[str, set[str]]) -> tuple[str, ...]:
    """Return a module that imports itself by way of others, with those; empty where none does."""
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        return tuple(error.args[1])
    return ()


def test_no_modules_import_one_another_in_a_circle() -> None:
    graph = {_module(path): set(imported(path.read_text())) for path in MODULES}
    assert circle(graph) == ()


def test_a_circle_would_be_seen() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == ()
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("importer", "text", "expected"),
    [
        ("worker", "from conformance.worker import wire", set()),
        ("worker", "from conformance.precision import rounded", set()),
        ("worker", "from conformance.operations.score import fit", {"operations"}),
        ("spec", "def f():\n    from conformance.judging import judge", {"judging"}),
        ("compare", "from conformance.report.site import pages", {"report"}),
        ("precision", "from conformance import protocol", {"protocol"}),
    ],
)
def test_an_import_upwards_would_be_seen(importer: str, text: str, expected: set[str]) -> None:
    assert upward(importer, text) == expected


@pytest.mark.parametrize("path", [path for path in MODULES if _top(path) != "report"], ids=_named)
def test_the_core_imports_no_framework_and_no_adapter(path: Path) -> None:
    assert foreign(path.read_text(), CORE_PACKAGES) == set()


@pytest.mark.parametrize("path", [path for path in MODULES if _top(path) == "report"], ids=_named)
def test_the_report_imports_nothing_of_ours_that_runs_or_judges(path: Path) -> None:
    assert foreign(path.read_text(), {"jinja2", "msgspec"}, REPORT_OURS) == set()


@pytest.mark.parametrize("path", [path for path in MODULES if _top(path) == "worker"], ids=_named)
def test_a_worker_imports_numpy_and_ml_dtypes_alone(path: Path) -> None:
    packages = {"ml_dtypes", "numpy", *(("pytest",) if path.name in TIMING else ())}
    assert foreign(path.read_text(), packages, WORKER_OURS) == set()


def _adapter(path: Path) -> str:
    return f"{path.parent.name}.{path.stem}"


def shared_by(library: str, further: Iterable[str] = ()) -> set[str]:
    """The modules whose names an adapter of that library may import: its own library's, and of those it imports."""
    folders = {library} | (LIBRARIES[library].union(further) & LIBRARIES.keys())
    files = [path for path in ADAPTER_FILES if path.stem.startswith("_") and path.parent.name in folders]
    return {f"{ADAPTERS}.{_adapter(path)}" for path in files}


@pytest.mark.parametrize("path", ADAPTER_FILES, ids=_adapter)
def test_an_adapter_imports_its_library_the_protocol_and_what_its_library_s_share_alone(path: Path) -> None:
    library, further = path.parent.name, FURTHER.get(_adapter(path), set())
    packages = LIBRARIES[library] | further | {"ml_dtypes", "numpy"}
    assert foreign(path.read_text(), packages, {"conformance.protocol", *shared_by(library, further)}) == set()


@pytest.mark.parametrize(
    ("text", "beyond"),
    [
        ("from conformance_adapters.torch._native import tensor", set()),
        ("from conformance_adapters.torch import _native", {"conformance_adapters.torch"}),
        ("from conformance_adapters.torch.transforms import train", {"conformance_adapters.torch.transforms"}),
        ("from conformance_adapters.jax._native import array", {"conformance_adapters.jax._native"}),
    ],
)
def test_an_import_of_another_adapter_would_be_seen(text: str, beyond: set[str]) -> None:
    assert foreign(text, {"torch"}, {"conformance.protocol", *shared_by("torch")}) == beyond


def sources(name: str) -> dict[str, str]:
    """The texts of that module of adapters and of those that it imports, each after what it imports."""
    text = root().joinpath("adapters", *name.split(".")[1:]).with_suffix(".py").read_text()
    texts: dict[str, str] = {}
    for module in imported(text):
        if module.startswith(ADAPTERS):
            texts |= sources(module)
    return {**texts, name: text}


@pytest.mark.parametrize("path", adapter_files(), ids=_adapter)
def test_an_adapter_gives_no_name_that_it_imports_another_meaning(path: Path) -> None:
    """A script chains the texts."""
    assert chained(EnvironmentLine(id="x", adapter=path.name, sources=sources(f"{ADAPTERS}.{_adapter(path)}")))


def test_there_are_files_to_look_at() -> None:
    assert {path.parent.name for path in adapter_files()} == set(LIBRARIES)
    assert len(MODULES) > 100


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import torch", {"torch"}),
        ("import numpy, jax.numpy as jnp", {"jax.numpy"}),
        ("from tensorflow.python import x", {"tensorflow.python"}),
        ("def f():\n    import torch", {"torch"}),
        ("if TYPE_CHECKING:\n    import torch", {"torch"}),
        ("importlib.import_module('torch.nn')", {"torch.nn"}),
        ("from conformance.execution import execute", {"conformance.execution.execute"}),
        ("from conformance.planning.plan import Cell", {"conformance.planning.plan"}),
        ("import conformance.judging.judge", {"conformance.judging.judge"}),
        ("from conformance.recorder import x", {"conformance.recorder"}),
        ("import os\nfrom numpy import linalg\nfrom conformance.runfile.reading import read", set()),
    ],
)
def test_a_forbidden_import_would_be_found(text: str, found: set[str]) -> None:
    assert foreign(text, {"numpy"}, {"conformance.runfile.reading"}) == found


def loaded_by(statement: str, *names: str) -> set[str]:
    """Which of those modules a fresh interpreter has after the statement."""
    code = f"import sys; {statement}; print(*(sys.modules.keys() & {set(names)!r}))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_command_line_loads_no_framework() -> None:
    assert loaded_by("import conformance.cli, conformance.run.session", *FRAMEWORKS) == set()


def test_the_command_line_loads_nothing_heavy_before_it_is_used() -> None:
    assert loaded_by("import conformance.cli", "numpy", "pydantic", "pytest", "yaml") == set()


def test_a_worker_loads_none_of_the_core_s_packages() -> None:
    names = CORE_PACKAGES - {"ml_dtypes", "numpy"}
    assert (
        loaded_by("import conformance.worker.main", *names, "conformance.spec.case", "conformance.judging.judge")
        == set()
    )


def test_the_report_loads_neither_execution_nor_judging() -> None:
    packages = ("execution", "judging", "operations", "planning", "reference", "worker")
    names = [*(f"conformance.{name}" for name in packages), "conformance.spec.loader"]
    assert loaded_by("import conformance.report", *names, "numpy", "pydantic") == set()


def test_a_module_that_is_loaded_would_be_seen() -> None:
    assert loaded_by("import json", "json", "torch") == {"json"}
