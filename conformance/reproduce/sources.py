"""The files of an adapter as one text: each after what it imports, as if there had been one file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from conformance.errors import UsageError
from conformance.reproduce.names import defined
from conformance.reproduce.text import parsed, unparsed
from conformance.runfile.structs import EnvironmentLine
from conformance.spec.locations import adapter_files
from conformance.worker.adapter_file import PACKAGE


def chained(environment: EnvironmentLine) -> str:
    """Return the recorded texts of an adapter's files as one. Raises `UsageError` where they give one name twice."""
    meanings: dict[str, str] = {}
    for module, text in environment.sources.items():
        for name, meaning in _names(text, module):
            other = meanings.setdefault(name, meaning)
            if other != meaning:
                raise UsageError(f"{environment.adapter}: {name!r} is of {other} and of {meaning}")
    return unparsed([statement for text in environment.sources.values() for statement in _standing_alone(text)])


def foreign(environment: EnvironmentLine) -> tuple[str, ...]:
    """Return the modules whose recorded text is not that of a file that the suite ships, by name."""
    shipped = {f"{PACKAGE}.{file.parent.name}.{file.stem}": file for file in _shipped()}
    return tuple(
        module
        for module, text in environment.sources.items()
        if module not in shipped or shipped[module].read_text(encoding="utf-8") != text
    )


def _shipped() -> Iterator[Path]:
    """Yield the files of the shipped adapters, and those that they share."""
    for folder in dict.fromkeys(file.parent for file in adapter_files()):
        yield from sorted(folder.glob("*.py"))


def _names(text: str, module: str) -> Iterator[tuple[str, str]]:
    """Yield the names that a file gives a value, but for those of every adapter, each with the module it is of."""
    own = []
    for statement in _with_branches(ast.parse(text).body):
        match statement:
            case _ if _belongs_to_one_file(statement):
                pass
            case ast.Import(names=aliases):
                yield from (
                    (alias.asname or _top(alias.name), alias.name if alias.asname else _top(alias.name))
                    for alias in aliases
                )
            case ast.ImportFrom(module=origin, names=aliases):
                yield from ((alias.asname or alias.name, f"{origin}.{alias.name}") for alias in aliases)
            case _:
                own.append(statement)
    names = defined(ast.Module(body=own, type_ignores=[])) - {"ADAPTER", "PROCESSES"}
    yield from ((name, module) for name in sorted(names))


def _with_branches(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements; in place of a condition those of its branches, which may import."""
    for statement in statements:
        match statement:
            case ast.If(body=body, orelse=orelse):
                yield from _with_branches([*body, *orelse])
            case _:
                yield statement


def _top(module: str) -> str:
    """Return the package that a module belongs to."""
    return module.partition(".")[0]


def _standing_alone(text: str) -> list[ast.stmt]:
    """Return the statements but for the docstring and the imports that one file has at its beginning or not at all."""
    return [statement for statement in parsed(text).body if not _belongs_to_one_file(statement)]


def _belongs_to_one_file(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.ImportFrom(module="__future__"):
            return True
        case ast.ImportFrom(module=str(module)):
            return module.startswith(f"{PACKAGE}.")
        case _:
            return False
