"""Functions in the place of their calls: those called once, and those that are one short expression.

Nothing is evaluated earlier, later, oftener or less often than before; where that is not plain, the call stays.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeAlias

from conformance.reproduce.calls import Calls, Site, argument, parameters
from conformance.reproduce.names import bound_in, is_name, loaded_in, walk
from conformance.reproduce.order import comes_first, evaluated_first, simple
from conformance.reproduce.scopes import names_in_main, other_name
from conformance.reproduce.variables import joined

#: An expression up to this long may stand at several places.
_SHORT = 60
_Scope: TypeAlias = ast.FunctionDef | ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def inlined(definitions: list[ast.stmt], main: list[ast.stmt]) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """Return the program with every function that may stand in the place of its calls there; nothing reaches it then."""
    while _one_inlined(definitions, main):
        pass
    functions = {statement.name for statement in definitions if isinstance(statement, ast.FunctionDef)}
    return all_joined(definitions, main, functions)


def all_joined(
    definitions: list[ast.stmt], main: list[ast.stmt], apart: Collection[str] = ()
) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """Return every function and the main part without variables that are read once, right below."""
    for statement in definitions:
        if isinstance(statement, ast.FunctionDef):
            statement.body = joined(statement.body, (), [item.arg for item in parameters_of(statement)], apart)
    return definitions, joined(main, definitions, (), apart)


def _one_inlined(definitions: Sequence[ast.stmt], main: list[ast.stmt]) -> bool:
    """Put one function in the place of its calls; return whether there was one."""
    calls = Calls(definitions, main)
    for name, function in calls.functions.items():
        sites = calls.sites[name]
        if name not in calls.followed or not sites or any(site.statement is function for site in sites):
            continue
        once = len(sites) == 1 and _body_inlined(function, sites[0], definitions, main)
        if once or _expression_inlined(function, sites):
            return True
    return False


def _without_docstring(function: ast.FunctionDef) -> list[ast.stmt]:
    first, *rest = function.body
    return (
        rest if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str) else [first, *rest]
    )


# One expression


def _expression_inlined(function: ast.FunctionDef, sites: Sequence[Site]) -> bool:
    """Put a function that returns one expression in the place of its calls, if that changes none."""
    match _without_docstring(function):
        case [ast.Return(value=ast.expr() as expression)]:
            pass
        case _:
            return False
    if len(sites) > 1 and len(ast.unparse(expression)) > _SHORT:
        return False
    if not all(_replaceable(expression, site, _arguments(function, site.call)) for site in sites):
        return False
    # A call may stand in an argument of another, which was found first.
    for site in reversed(sites):
        arguments = _arguments(function, site.call)
        _Put(site.call, _Substituted(arguments).visit(copy.deepcopy(expression))).visit(site.statement)
    return True


def _arguments(function: ast.FunctionDef, call: ast.Call) -> dict[str, ast.expr]:
    """Return what a call gives for every parameter."""
    arguments = {parameter.arg: argument(function, call, parameter.arg) for parameter in parameters(function)}
    return {name: value for name, value in arguments.items() if value is not None}


def _replaceable(expression: ast.expr, site: Site, arguments: Mapping[str, ast.expr]) -> bool:
    inner = set(bound_in(expression))
    outer = set(bound_in(site.statement)) if isinstance(site.statement, ast.FunctionDef | ast.ClassDef) else set[str]()
    own = set(loaded_in(expression)) - inner - set(arguments)
    if inner & (set(arguments) | {name for value in arguments.values() for name in loaded_in(value)}) or own & outer:
        return False
    if any(isinstance(node, ast.Lambda) for node in walk(expression)):
        return False
    fits = all(_fits(expression, name, value) for name, value in arguments.items())
    return fits and sum(not simple(value) for value in arguments.values()) <= 1


def _fits(expression: ast.expr, name: str, value: ast.expr) -> bool:
    """Return whether a value may stand for the name in the expression."""
    reads = loaded_in(expression).count(name)
    if isinstance(value, ast.Name | ast.Constant) or (simple(value) and not reads):
        return True
    return (simple(value) or reads == 1) and evaluated_first(expression, name)


class _Substituted(ast.NodeTransformer):
    """Puts expressions in the place of names that are read."""

    def __init__(self, expressions: Mapping[str, ast.expr]) -> None:
        self.expressions = expressions

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if isinstance(node.ctx, ast.Load) and node.id in self.expressions:
            return copy.deepcopy(self.expressions[node.id])
        return node


class _Put(ast.NodeTransformer):
    """Puts a node in the place of another."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


# A body


def _body_inlined(function: ast.FunctionDef, site: Site, definitions: Sequence[ast.stmt], main: list[ast.stmt]) -> bool:
    """Put the body of a function in the place of its only call, if that changes nothing."""
    place = _place(main if site.main else [site.statement], site.call)
    if place is None or (not site.main and not isinstance(site.statement, ast.FunctionDef)):
        return False
    block, index, looped = place
    body = [copy.deepcopy(statement) for statement in _without_docstring(function)]
    scopes = [node for statement in body for node in walk(statement) if isinstance(node, _Scope)]
    if any(isinstance(node, ast.Global | ast.Nonlocal | ast.Yield | ast.YieldFrom) for node in walk(function)):
        return False
    if looped and any(isinstance(scope, ast.FunctionDef | ast.Lambda) for scope in scopes):
        return False
    outer = _names_around(site, definitions, main)
    named = _named(function, site, body, outer)
    if named is None:
        return False
    whole = getattr(block[index], "value", None) is site.call
    name = other_name(function.name.strip("_"), outer | {name for other in named for name in bound_in(other)})
    given = ast.Assign(targets=[ast.Name(id=name, ctx=ast.Store())], value=site.call, lineno=0)
    ended = _ended(named, block[index] if whole else given)
    if ended is None:
        return False
    # The value of a call inside of an expression gets a name, above the statement.
    if not whole:
        rest: ast.stmt = _Put(site.call, ast.Name(id=name, ctx=ast.Load())).visit(block[index])  # type: ignore[assignment] # in its place
        ended = [*ended, rest]
    block[index : index + 1] = ended
    return True


def _place(block: list[ast.stmt], call: ast.Call, looped: bool = False) -> tuple[list[ast.stmt], int, bool] | None:
    """Return the block and the index of the statement that evaluates the call first, and whether a loop is around."""
    for index, statement in enumerate(block):
        if isinstance(statement, ast.Assign | ast.Expr | ast.Return) and comes_first(statement.value, call):
            return block, index, looped
        for name in ("body", "orelse", "finalbody"):
            inner = getattr(statement, name, None)
            if isinstance(inner, list) and not isinstance(statement, ast.ClassDef):
                within = looped or isinstance(statement, ast.For | ast.While)
                if place := _place(inner, call, within):
                    return place
    return None


def _names_around(site: Site, definitions: Sequence[ast.stmt], main: Sequence[ast.stmt]) -> set[str]:
    """Return the names that are in use where a body is to stand."""
    if site.main:
        return names_in_main(definitions, main)
    return {node.id for node in walk(site.statement) if is_name(node)} | set(bound_in(site.statement))


def _named(function: ast.FunctionDef, site: Site, body: Sequence[ast.stmt], outer: set[str]) -> list[ast.stmt] | None:
    """Return the body with arguments for parameters, and other names for those of its own that are in use around."""
    arguments = _arguments(function, site.call)
    bound = {name for statement in body for name in bound_in(statement)}
    scopes = [node for statement in body for node in walk(statement) if isinstance(node, _Scope)]
    inner = {name for scope in scopes for name in bound_in(scope)}
    free = {name for statement in body for name in loaded_in(statement)} - bound - set(arguments)
    if inner & set(arguments) or (not site.main and free & set(bound_in(site.statement))):
        return None
    direct = {
        name: value
        for name, value in arguments.items()
        if isinstance(value, ast.Name | ast.Constant) and name not in bound
    }
    assigned = {name: value for name, value in arguments.items() if name not in direct}
    # What is a nested scope's own hides nothing around it, but what an argument names.
    captured = inner & {name for value in direct.values() for name in loaded_in(value)}
    visible = {name for statement in body for name in _bound_outside(statement)} | captured | set(assigned)
    renamed = {name: other_name(name, outer | bound | set(arguments)) for name in sorted(visible & outer)}
    parameters_inside = {
        item.arg for scope in scopes if isinstance(scope, ast.FunctionDef | ast.Lambda) for item in parameters_of(scope)
    }
    if parameters_inside & set(renamed):
        return None
    # A name of its own first, or an argument of that name would get it too.
    new = [_Substituted(direct).visit(_Renamed(renamed).visit(statement)) for statement in body]
    before: list[ast.stmt] = []
    for name, value in assigned.items():
        own = renamed.get(name, name)
        if name in inner or not isinstance(value, ast.Name) or not _until_bound(new, own, value):
            before.append(ast.Assign(targets=[ast.Name(id=own, ctx=ast.Store())], value=value, lineno=0))
    return [*before, *new]


def _bound_outside(node: ast.AST) -> Iterator[str]:
    """Yield the names that a statement binds outside of the functions and comprehensions in it."""
    match node:
        case ast.FunctionDef(name=name):
            yield name
        case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            yield from (inner.target.id for inner in walk(node) if isinstance(inner, ast.NamedExpr))
        case ast.Name(id=name, ctx=ast.Store()) | ast.ExceptHandler(name=str(name)):
            yield name
        case ast.Import() | ast.ImportFrom() | ast.ClassDef():
            yield from bound_in(node)
        case _:
            pass
    if not isinstance(node, _Scope):
        for child in ast.iter_child_nodes(node):
            yield from _bound_outside(child)


def _until_bound(body: Sequence[ast.stmt], name: str, value: ast.Name) -> bool:
    """Put an argument in the place of its parameter up to where that gets another value, if one statement gives it."""
    statements = list(_straight(body))
    places = [index for index, statement in enumerate(statements) if _gives(statement, name)]
    if len(places) != 1 or sum(bound_in(statement).count(name) for statement in body) != 1:
        return False
    for statement in statements[: places[0] + 1]:
        if isinstance(statement, ast.With):
            statement.items = [_Substituted({name: value}).visit(item) for item in statement.items]
        else:
            _Substituted({name: value}).visit(statement)
    return True


def _straight(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that are performed one after the other, whatever happens."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.With):
            yield from _straight(statement.body)


def _gives(statement: ast.stmt, name: str) -> bool:
    match statement:
        case ast.Assign(targets=[ast.Name(id=target)]):
            return target == name
        case ast.Assign(targets=[ast.Tuple(elts=targets)]):
            return any(is_name(target) and target.id == name for target in targets)
        case _:
            return False


def parameters_of(scope: ast.FunctionDef | ast.Lambda) -> Iterator[ast.arg]:
    """Yield every parameter of a function, starred ones too."""
    yield from (node for node in walk(scope.args) if isinstance(node, ast.arg))


class _Renamed(ast.NodeTransformer):
    """Gives names other names, wherever they stand."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self.names.get(node.id, node.id)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name = self.names.get(node.name, node.name)
        return self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        node.name = self.names.get(node.name, node.name) if node.name else None
        return self.generic_visit(node)


def _ended(body: list[ast.stmt], statement: ast.stmt) -> list[ast.stmt] | None:
    """Return the body with what it returns given to where the call stood; None where it returns in several places."""
    returns = sum(_returns(inner) for inner in body)
    last = _last(body)
    match statement:
        case ast.Return() if isinstance(last[-1], ast.Return | ast.Raise):
            return body
        case ast.Assign(targets=targets) if returns == 1 and isinstance(end := last[-1], ast.Return) and end.value:
            last[-1] = ast.Assign(targets=targets, value=end.value, lineno=0)
            return body
        case ast.Expr() if not returns:
            return body
        case ast.Expr() if returns == 1 and isinstance(end := last[-1], ast.Return) and end.value:
            last[-1] = ast.Expr(value=end.value)
            return body
        case _:
            return None


def _returns(node: ast.AST) -> int:
    """Return how many statements inside return from the function that the node is of."""
    if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
        return 0
    return isinstance(node, ast.Return) + sum(_returns(child) for child in ast.iter_child_nodes(node))


def _last(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return the block that the last statement to be reached is the last of."""
    return _last(body[-1].body) if isinstance(body[-1], ast.With) else body
