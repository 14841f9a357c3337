"""The fields of what a start returns as variables of the main part, where nothing else asks for the whole of it."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence
from typing import TypeGuard

from conformance.reproduce.names import bound_in, free_in, is_name, loaded_in, walk
from conformance.reproduce.namespaces import namespace_call
from conformance.reproduce.order import does_nothing
from conformance.reproduce.scopes import names_in_main, other_name, straight


def unpacked(definitions: Sequence[ast.stmt], main: list[ast.stmt], own: Collection[str]) -> list[ast.stmt]:
    """Return the main part with a variable for each field, and without variables that nothing reads but its `own`."""
    bound = [name for statement in main for name in bound_in(statement)]
    for name, start in [(name, statement) for statement in main for name in _started(statement)]:
        loads = sum(loaded_in(statement).count(name) for statement in main)
        fields = sum(_is_field(node, name) for statement in main for node in walk(statement))
        if bound.count(name) == 1 and loads == fields:
            main = _unpacked(definitions, main, name, start)
    return _read(definitions, main, own)


def _started(statement: ast.stmt) -> list[str]:
    """Return the name that a statement gives to a new namespace."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if namespace_call(value) is not None:
            return [name]
        case _:
            return []


def _is_field(node: ast.AST, name: str) -> TypeGuard[ast.Attribute]:
    return isinstance(node, ast.Attribute) and is_name(node.value) and node.value.id == name


def _unpacked(definitions: Sequence[ast.stmt], main: Sequence[ast.stmt], name: str, start: ast.stmt) -> list[ast.stmt]:
    assert isinstance(start, ast.Assign)
    call = namespace_call(start.value)
    assert call is not None
    taken = names_in_main(definitions, main)
    loaded = [loaded_name for statement in main for loaded_name in loaded_in(statement)]
    values = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    nodes = [node for statement in main for node in walk(statement)]
    variables: dict[str, str] = {}
    for field in dict.fromkeys([*values, *(node.attr for node in nodes if _is_field(node, name))]):
        value = values.get(field)
        same = isinstance(value, ast.Name) and value.id == field and loaded.count(field) == 1
        variables[field] = field if same else other_name(field, taken)
        taken.add(variables[field])
    assigned: list[ast.stmt] = [
        ast.Assign(targets=[ast.Name(id=variables[field], ctx=ast.Store())], value=value, lineno=0)
        for field, value in values.items()
    ]
    unpack, place = _Unpack(name, variables), main.index(start)
    return [*main[:place], *assigned, *(unpack.visit(statement) for statement in main[place + 1 :])]


class _Unpack(ast.NodeTransformer):
    """Puts variables in the place of the fields."""

    def __init__(self, name: str, variables: Mapping[str, str]) -> None:
        self.name, self.variables = name, variables

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if _is_field(node, self.name):
            return ast.Name(id=self.variables[node.attr], ctx=node.ctx)
        return self.generic_visit(node)


def _read(definitions: Sequence[ast.stmt], main: Sequence[ast.stmt], own: Collection[str]) -> list[ast.stmt]:
    """Return the main part without variables that nothing reads, where giving them a value does nothing else."""
    loaded = {name for statement in [*definitions, *main] for name in loaded_in(statement)} | {*own}
    kept = {*own, *(name for statement in definitions for name in free_in(statement))}
    return [
        statement
        for index, statement in enumerate(main)
        if not (_unread(statement, loaded) or _overwritten(statement, main[index + 1 :], kept))
    ]


def _overwritten(statement: ast.stmt, after: Sequence[ast.stmt], kept: Collection[str]) -> bool:
    """Return whether the value that a statement gives a name is never read: the next to name it gives it another."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if name not in kept and does_nothing(value):
            for other in straight(after):
                if name in loaded_in(other):
                    return False
                if name in bound_in(other):
                    return isinstance(other, ast.Assign)
    return False


def _unread(statement: ast.stmt, loaded: set[str]) -> bool:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return name not in loaded and does_nothing(value)
        case _:
            return False
