"""What one process needs for many cells, and a script of one cell does not: kept compilations, and counters of cells."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from conformance.reproduce.names import bound_in, is_name, loaded_in, walk

_KEEPING = {"functools.cache", "functools.lru_cache"}
#: Where more starts than these share a compilation it stays shared.
_FEW_STARTS = 4


def without_caches(definitions: list[ast.stmt], main: list[ast.stmt]) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """Return the program without dictionaries that start empty and keep what was made, and what counts the cells.

    Only where few starts could share something: what is kept must not depend on who asks first.
    """
    if _starts(main) > _FEW_STARTS:
        return definitions, main
    for name in _kept(definitions, main):
        cache = _Cache(name, [*definitions, *main])
        definitions, main = cache.block(definitions), cache.block(main)
    counters = {
        statement.targets[0].id
        for statement in definitions
        if isinstance(statement, ast.Assign)
        and isinstance(statement.targets[0], ast.Name)
        and ast.unparse(statement.value).startswith("itertools.count(")
    }
    for statement in definitions:
        if isinstance(statement, ast.FunctionDef):
            keeping = [ast.unparse(item).partition("(")[0] in _KEEPING for item in statement.decorator_list]
            statement.decorator_list = [
                item for item, keeps in zip(statement.decorator_list, keeping, strict=True) if not keeps
            ]
    uncounted = _Uncounted(counters)
    return uncounted.block(definitions), uncounted.block(main)


def _starts(main: Sequence[ast.stmt]) -> int:
    """Return how often something is started, more than anything where that is in a loop."""
    starts = 0
    for statement in main:
        names = bound_in(statement)
        starts += names.count("live") * (1 if isinstance(statement, ast.Assign) else _FEW_STARTS + 1)
    return starts


def _kept(definitions: Sequence[ast.stmt], main: Sequence[ast.stmt]) -> Iterator[str]:
    """Yield the names of dictionaries that start empty and are only asked for a key or given one."""
    for statement in definitions:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(keys=[])):
                uses = [
                    node
                    for other in [*definitions, *main]
                    if other is not statement
                    for node in walk(other)
                    if is_name(node) and node.id == name
                ]
                asked = [use for other in [*definitions, *main] for use in _asked(other, name)]
                if uses and len(uses) == len(asked) and len({ast.unparse(key) for key in asked}) == 1:
                    yield name
            case _:
                pass


def _asked(statement: ast.stmt, name: str) -> Iterator[ast.expr]:
    """Yield the keys for which a dictionary is asked or that it is given."""
    for node in walk(statement):
        match node:
            case ast.Compare(left=key, ops=[ast.In() | ast.NotIn()], comparators=[ast.Name(id=other)]) if other == name:
                yield key
            case ast.Subscript(value=ast.Name(id=other), slice=key) if other == name:
                yield key
            case ast.Call(func=ast.Attribute(value=ast.Name(id=other), attr="setdefault"), args=[key, _]):
                if other == name:
                    yield key
            case _:
                pass


class _Blocks(ast.NodeTransformer):
    """A transformation of statements, `pass` where nothing is left of a block."""

    def block(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        """Return statements transformed."""
        new = (self.visit(statement) for statement in statements)
        return [
            statement for result in new if result for statement in (result if isinstance(result, list) else [result])
        ]

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Visit a node, and leave no block of it empty."""
        super().generic_visit(node)
        if getattr(node, "body", None) == []:
            node.body = [ast.Pass()]  # type: ignore[attr-defined] # a block
        return node


class _Cache(_Blocks):
    """Takes a kept dictionary out: it is never asked for what it has, and a variable carries what it is given."""

    def __init__(self, name: str, statements: Sequence[ast.stmt]) -> None:
        self.name = name
        reserved = {node.id for statement in statements for node in walk(statement) if is_name(node)}
        loaded = [name for statement in statements for name in loaded_in(statement)]
        keys = [key.id for statement in statements for key in _asked(statement, name) if is_name(key)]
        #: The variable of the key, where it has no other use.
        self.key = keys[0] if keys and loaded.count(keys[0]) == len(keys) else None
        self.variable = name.lower() if name.lower() not in reserved else f"{name.lower()}_kept"

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        match node:
            case ast.Compare(ops=[operator], comparators=[ast.Name(id=name)]) if name == self.name:
                return ast.Constant(value=isinstance(operator, ast.NotIn))
        return self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if is_name(node.value) and node.value.id == self.name:
            return ast.Name(id=self.variable, ctx=node.ctx)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="setdefault"), args=[_, value]):
                return value if name == self.name else node
            case _:
                return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]) if name == self.key:
                return None
        return self.generic_visit(node)


class _Uncounted(_Blocks):
    """Leaves out what is done at every so many cells."""

    def __init__(self, counters: set[str]) -> None:
        self.counters = counters

    def visit_If(self, node: ast.If) -> ast.AST | None:
        if not node.orelse and any(is_name(inner) and inner.id in self.counters for inner in walk(node.test)):
            return None
        return self.generic_visit(node)
