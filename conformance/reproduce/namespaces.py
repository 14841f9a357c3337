"""The fields of what a start returns: those that nothing reads left out, those of one value known."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence

from conformance.reproduce.evaluation import Fields, Known
from conformance.reproduce.names import is_name, walk

#: By these a field is read without being named.
_READERS = {"vars", "getattr", "hasattr", "setattr"}
#: The variable of what the start returns.
LIVE = "live"


def without_unread(definitions: list[ast.stmt], main: list[ast.stmt]) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """Return the program without the fields of `SimpleNamespace` that nothing reads."""
    nodes = list(_nodes([*definitions, *main]))
    if any(_read_unnamed(node) for node in nodes):
        return definitions, main
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}
    fields = {
        keyword.arg for node in nodes if (call := namespace_call(node)) for keyword in call.keywords if keyword.arg
    }
    stored = {name for name in fields - read if all(_droppable(node, name) for node in nodes)}
    transformer = _Unread(stored)
    return _block(transformer, definitions), _block(transformer, main)


def fields_of(definitions: Sequence[ast.stmt], main: Sequence[ast.stmt]) -> dict[str, Known]:
    """Return the fields of `live` that have one literal value in the whole program."""
    nodes = list(_nodes([*definitions, *main]))
    if any(_read_unnamed(node) for node in nodes):
        return {}
    calls = [call for node in nodes if (call := namespace_call(node))]
    stored = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    # One kind of namespace: what is assigned to `live` is one of them, or what it was.
    if len({tuple(keyword.arg for keyword in call.keywords) for call in calls}) != 1:
        return {}
    constant = {
        keyword.arg: {repr(_value(call, keyword.arg)) for call in calls}
        for keyword in calls[0].keywords
        if keyword.arg and keyword.arg not in stored
    }
    facts = {
        name: value.value
        for name, values in constant.items()
        if len(values) == 1 and isinstance(value := _field(calls[0], name), ast.Constant)
    }
    return {LIVE: Fields(tuple(facts.items()))} if facts else {}


def _nodes(statements: Iterable[ast.stmt]) -> Iterator[ast.AST]:
    for statement in statements:
        yield from walk(statement)


def namespace_call(node: ast.AST) -> ast.Call | None:
    """Return the node if it makes the namespace that a start returns."""
    match node:
        case ast.Call(func=ast.Name(id="SimpleNamespace"), args=[]) if all(keyword.arg for keyword in node.keywords):
            return node
        case _:
            return None


def _field(call: ast.Call, name: str | None) -> ast.expr:
    return next(keyword.value for keyword in call.keywords if keyword.arg == name)


def _value(call: ast.Call, name: str | None) -> object:
    value = _field(call, name)
    return value.value if isinstance(value, ast.Constant) else value


def _read_unnamed(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id=name), args=[ast.Name(id=owner), *_]):
            return name in _READERS and owner == LIVE
        case ast.keyword(arg=None, value=ast.Name(id=owner)):
            return owner == LIVE
        case _:
            return False


def _droppable(node: ast.AST, name: str) -> bool:
    """Return whether nothing is left undone where the node no longer gives that field its value."""
    if call := namespace_call(node):
        return not any(keyword.arg == name and _calls(keyword.value) for keyword in call.keywords)
    match node:
        case ast.Assign(targets=[ast.Attribute(attr=attribute)], value=value) if attribute == name:
            return not _calls(value) and _of_live(node.targets[0])
        case ast.Attribute(attr=attribute, ctx=ast.Store() | ast.Del()) if attribute == name:
            return _of_live(node)
        case ast.Assign(targets=targets):
            return not any(_stores(target, name) for target in targets)
        case ast.AugAssign(target=target):
            return not _stores(target, name)
        case _:
            return True


def _stores(target: ast.expr, name: str) -> bool:
    return any(isinstance(inner, ast.Attribute) and inner.attr == name for inner in walk(target))


def _of_live(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and is_name(node.value) and node.value.id == LIVE


def _calls(node: ast.expr) -> bool:
    return any(isinstance(inner, ast.Call | ast.NamedExpr) for inner in walk(node))


def _block(transformer: _Unread, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    new = (transformer.visit(statement) for statement in statements)
    return [statement for statement in new if statement is not None]


class _Unread(ast.NodeTransformer):
    """Leaves fields out of the namespaces, and what gives them a value later."""

    def __init__(self, fields: set[str]) -> None:
        self.fields = fields

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if namespace_call(node):
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in self.fields]
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        match node.targets:
            case [ast.Attribute(attr=name) as target] if name in self.fields and _of_live(target):
                return None
        return self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Visit a node, and leave no block of it empty."""
        super().generic_visit(node)
        if getattr(node, "body", None) == []:
            node.body = [ast.Pass()]  # type: ignore[attr-defined] # a block
        return node
