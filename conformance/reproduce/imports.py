"""The imports of a script: one line a module, the standard library first, and none of a module that it never names."""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterable, Iterator

from conformance.reproduce.names import walk


def import_lines(imports: Iterable[str], body: str) -> list[str]:
    """Return the groups of the imports that `body` needs, each one text."""
    tree = ast.parse("\n".join(imports))
    named = set(_paths(ast.parse(body)))
    modules = {alias.name for statement in tree.body if isinstance(statement, ast.Import) for alias in statement.names}
    lines: set[str] = set()
    members: dict[str, set[str]] = {}
    for statement in tree.body:
        match statement:
            case ast.ImportFrom(module=str(module), names=aliases):
                members.setdefault(module, set()).update(map(ast.unparse, aliases))
            case ast.Import(names=aliases):
                lines |= {f"import {ast.unparse(alias)}" for alias in aliases if _needed(alias, modules, named)}
            case _:
                raise AssertionError("an import from nowhere")
    lines |= {f"from {module} import {', '.join(sorted(names))}" for module, names in members.items()}
    inside = {line for line in lines if line.split(" ")[1].partition(".")[0] in sys.stdlib_module_names}
    groups = [sorted(group, key=lambda line: (line.startswith("from"), line)) for group in (inside, lines - inside)]
    return ["\n".join(group) for group in groups]


def _needed(alias: ast.alias, modules: Collection[str], named: Collection[str]) -> bool:
    """Return whether the script names the module, or has its package by no other import."""
    package = alias.name.partition(".")[0]
    if alias.asname or alias.name == package or alias.name in named:
        return True
    return not any(other.partition(".")[0] == package and other in {package, *named} for other in modules)


def _paths(tree: ast.AST) -> Iterator[str]:
    """Yield every dotted name, and those that it begins with."""
    for node in walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            yield ast.unparse(node)
