"""An adapter's file as a module, and the texts of the files of ours that it is made of.

A folder of adapters has a folder for each library, and `processes.yaml` beside those. Its files are imported as
`conformance_adapters.<library>.<file>`, and so may import what their library's share:
`from conformance_adapters.torch._native import tensor`. Any other file stands alone, as `conformance_adapters.<file>`.
`sys.path` is never asked: a file or folder named `torch` must not shadow the library of that name. Nor is bytecode kept
of these files, as it is of the libraries that they import.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

PACKAGE = "conformance_adapters"
#: What stands beside the folders of the libraries, and tells what processes there are.
PROCESSES_FILE = "processes.yaml"


class _Uncached(SourceFileLoader):
    """Compiles a file whenever it is imported.

    What Python would keep beside it is of no use to whoever wrote it, and passes for a text that has the same length and
    was rewritten within a second.
    """

    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def library_of(file: Path) -> str | None:
    """Return the library in whose folder of a folder of adapters the file is; None where it stands alone."""
    folder = file.absolute().parent
    return folder.name if (folder.parent / PROCESSES_FILE).is_file() else None


def load_adapter(file: str) -> ModuleType:
    """Import the adapter file under its name in `conformance_adapters`."""
    path = Path(file).absolute()
    package = sys.modules.setdefault(PACKAGE, ModuleType(PACKAGE))
    # A package with a path: pickle, as torch.compile's cache uses it, imports a module by its whole name.
    folders: list[str] = vars(package).setdefault("__path__", [])
    library = library_of(path)
    if library is not None:
        folder = path.parent.parent
        for place in (folder, *(entry for entry in folder.iterdir() if entry.is_dir())):
            sys.path_importer_cache[str(place)] = FileFinder(str(place), (_Uncached, SOURCE_SUFFIXES))
        folders.extend({str(folder)} - set(folders))
        return importlib.import_module(f"{PACKAGE}.{library}.{path.stem}")
    name = f"{PACKAGE}.{path.stem}"
    loader = _Uncached(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None or path.suffix not in SOURCE_SUFFIXES:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
    return module


def reached(module: ModuleType) -> tuple[ModuleType, ...]:
    """Return the modules of adapters that this one imports, and itself last: each after all that it imports."""
    ordered: dict[str, ModuleType] = {}
    _visit(module, ordered)
    return tuple(ordered.values())


def text_of(module: ModuleType) -> str:
    """Return the source of a module that was loaded from a file."""
    return Path(str(module.__file__)).read_text(encoding="utf-8")


def _visit(module: ModuleType, ordered: dict[str, ModuleType]) -> None:
    for name in _imports_of_adapters(text_of(module)):
        if name not in ordered:
            _visit(sys.modules[name], ordered)
    ordered[module.__name__] = module


def _imports_of_adapters(text: str) -> Iterator[str]:
    """Yield the modules from which a text imports names that other adapters have, in its order."""
    for statement in ast.parse(text).body:
        match statement:
            case ast.ImportFrom(module=str(name), level=0) if name.startswith(f"{PACKAGE}."):
                yield name
            case _:
                pass
