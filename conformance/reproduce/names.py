"""Which names a piece of Python binds and which it reads."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterable
from typing import TypeGuard


def walk(node: ast.AST) -> list[ast.AST]:
    """Return the node and everything inside it, outer ones first, but for the contexts of names.

    As `ast.walk`, in a third of its time: a script is made by asking these questions some hundred thousand times.
    """
    nodes = [node]
    for inner in nodes:
        for field in inner._fields:
            value = getattr(inner, field, None)
            if isinstance(value, list):
                nodes += [item for item in value if isinstance(item, ast.AST)]
            elif isinstance(value, ast.AST) and field != "ctx":
                nodes.append(value)
    return nodes


def bound_in(node: ast.AST) -> list[str]:
    """Return the names that anything inside the node binds, as often as they are bound; its own left out."""
    names = []
    for inner in walk(node):
        match inner:
            case ast.Name():
                if not isinstance(inner.ctx, ast.Load):
                    names.append(inner.id)
            case ast.Attribute() | ast.Constant() | ast.Call():
                pass
            case ast.arg():
                names.append(inner.arg)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.ExceptHandler(name=str(name)):
                names.extend([name] if inner is not node else [])
            case ast.alias(name=name, asname=other):
                names.append(other or name.partition(".")[0])
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                names.append(name)
            case ast.Global(names=several) | ast.Nonlocal(names=several):
                names.extend(several)
            case _:
                pass
    return names


def loaded_in(node: ast.AST) -> list[str]:
    """Return the names that anything inside the node reads, as often as they are read."""
    return [inner.id for inner in walk(node) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load)]


def free_in(statement: ast.stmt) -> set[str]:
    """Return the names that a statement reads; of a function, those that are not its own."""
    own = bound_in(statement) if isinstance(statement, ast.FunctionDef | ast.ClassDef) else []
    return set(loaded_in(statement)) - set(own)


def is_name(node: ast.AST) -> TypeGuard[ast.Name]:
    """Return whether the node is a name."""
    return isinstance(node, ast.Name)


def defined(node: ast.AST) -> set[str]:
    """Return the names that a statement, or a whole file, gives a value at its outermost level."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    table = symtable.symtable(ast.unparse(node), "", "exec")
    return {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()}


def needed_by(statement: ast.stmt) -> set[str]:
    """Return the names of the file that a statement of it reads, now or when it is called."""
    if not isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return set(loaded_in(statement))
    tables = [symtable.symtable(ast.unparse(statement), statement.name, "exec")]
    names: set[str] = set()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        outermost = table.get_type() == "module"
        names |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global() or outermost}
    return names


def words(statements: Iterable[ast.stmt]) -> set[str]:
    """Return every name, attribute and keyword in statements."""
    names: set[str] = set()
    for node in (inner for statement in statements for inner in walk(statement)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
                names.add(name)
            case _:
                pass
    return names
