"""In which order Python evaluates the parts of an expression."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from conformance.reproduce.names import walk


def simple(node: ast.expr) -> bool:
    """Return whether evaluating the expression does nothing else, and gives the same however often."""
    allowed = ast.Name | ast.Constant | ast.Attribute | ast.Tuple | ast.UnaryOp | ast.expr_context | ast.unaryop
    return all(isinstance(inner, allowed) for inner in walk(node))


def does_nothing(node: ast.expr) -> bool:
    """Return whether leaving the expression out leaves nothing undone."""
    return not any(
        isinstance(inner, ast.NamedExpr | ast.Await)
        or (isinstance(inner, ast.Call) and ast.unparse(inner.func) != "replace")
        for inner in walk(node)
    )


def evaluated_first(node: ast.AST, name: str) -> bool:
    """Return whether the name is read in any case, and before anything is called."""
    called = False
    for part, certain in evaluated(node, certain=True):
        if isinstance(part, ast.Call | ast.Await | ast.Yield | ast.YieldFrom):
            called = True
        if isinstance(part, ast.Name) and part.id == name and (called or not certain):
            return False
    return True


def comes_first(node: ast.AST | None, call: ast.Call) -> bool:
    """Return whether a call is evaluated in any case, once, and before anything that it could change or that acts."""
    if node is None or node is call:
        return node is call
    inside = {id(inner) for inner in walk(call)}
    unpacked = {id(value) for inner in walk(node) for value in _unpacked(inner)}
    for part, certain in evaluated(node, certain=True):
        if part is call:
            return certain
        if id(part) not in inside and not (
            id(part) not in unpacked and isinstance(part, ast.Name | ast.Constant | ast.expr_context)
        ):
            return False
    return False


def _unpacked(node: ast.AST) -> list[ast.expr]:
    """Return what the node takes apart at once."""
    match node:
        case ast.Dict(keys=keys, values=values):
            return [value for key, value in zip(keys, values, strict=True) if key is None]
        case ast.Starred(value=value):
            return [value]
        case _:
            return []


def evaluated(node: ast.AST, *, certain: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Yield the parts of a node in the order they are evaluated, each with whether it is in any case, and once."""
    match node:
        case ast.Lambda():
            yield from ((inner, False) for inner in walk(node.body))
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            yield from evaluated(node.generators[0].iter, certain=certain)
            first = {id(inner) for inner in walk(node.generators[0].iter)}
            yield from ((inner, False) for inner in walk(node) if id(inner) not in first and inner is not node)
        case ast.IfExp():
            yield from evaluated(node.test, certain=certain)
            yield from evaluated(node.body, certain=False)
            yield from evaluated(node.orelse, certain=False)
        case ast.BoolOp(values=[head, *rest]):
            yield from evaluated(head, certain=certain)
            for value in rest:
                yield from evaluated(value, certain=False)
        case ast.Dict():
            for key, value in zip(node.keys, node.values, strict=True):
                if key is not None:
                    yield from evaluated(key, certain=certain)
                yield from evaluated(value, certain=certain)
        case ast.Assign():
            yield from evaluated(node.value, certain=certain)
            for target in node.targets:
                yield from evaluated(target, certain=certain)
        case _:
            for child in ast.iter_child_nodes(node):
                yield from evaluated(child, certain=certain)
    yield node, certain
