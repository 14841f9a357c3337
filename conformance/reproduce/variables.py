"""Variables that only carry a value to the next statement, or are another name of one: left out."""

from __future__ import annotations

import ast
import copy
from collections.abc import Collection, Iterable, Iterator, Sequence

from conformance.reproduce.names import bound_in, is_name, loaded_in, walk
from conformance.reproduce.order import evaluated_first

_WIDTH = 92


def joined(
    block: Sequence[ast.stmt],
    outside: Iterable[ast.stmt] = (),
    own: Sequence[str] = (),
    apart: Collection[str] = (),
) -> list[ast.stmt]:
    """Return the body of a function, or the main part, without variables that are read once, right below.

    `outside` are the functions that may read the main part's variables, `own` a function's own parameters. What calls
    a function that is to stay `apart` keeps its statement: its body may yet stand there.
    """
    statements, functions = _flat(block), list(outside)
    for copied, name, other in list(_copies(statements, functions, own)):
        for statement in [*statements, *(function for function in functions if name not in bound_in(function))]:
            _With(name, other).visit(statement)
        _leave_out(statements, copied)
    return _Joined([*statements, *functions], apart).block(statements)


def _leave_out(block: list[ast.stmt], statement: ast.stmt) -> None:
    """Leave a statement out of a block, or of one of a `with` inside."""
    for inner in block:
        if isinstance(inner, ast.With):
            _leave_out(inner.body, statement)
    block[:] = [other for other in block if other is not statement] or [ast.Pass()]


def _performed(block: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a block, and of each `with` inside."""
    for statement in block:
        yield statement
        if isinstance(statement, ast.With):
            yield from _performed(statement.body)


def _copies(
    statements: Sequence[ast.stmt], functions: Sequence[ast.stmt], own: Sequence[str]
) -> Iterator[tuple[ast.stmt, str, ast.expr]]:
    """Yield what is only another name of something, for good: where that is said, the name, and what it is of."""
    bound = [*own, *(name for statement in statements for name in bound_in(statement))]
    scopes = [item for item in functions if isinstance(item, ast.FunctionDef | ast.ClassDef)]
    hidden = {name for scope in scopes for name in bound_in(scope)}
    loads = [name for statement in [*statements, *functions] for name in loaded_in(statement)]
    read = set(loads)
    copies = set[str]()
    for statement in _performed(statements):
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Attribute() as value) if name in read:
                root = _root(value)
                # Of a module: what is bound to no name here.
                if bound.count(name) == 1 == loads.count(name) and root and root not in {*bound, *hidden}:
                    yield statement, name, value
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Name(id=other)):
                plain = name in read and bound.count(name) == 1 and bound.count(other) <= 1 and other not in copies
                if plain and not (other in hidden and any(_reads(scope, name) for scope in scopes)):
                    copies.add(name)
                    yield statement, name, ast.Name(id=other, ctx=ast.Load())
            case _:
                pass


def _reads(scope: ast.stmt, name: str) -> bool:
    """Return whether a function reads a name of the file."""
    return name in loaded_in(scope) and name not in bound_in(scope)


def _root(value: ast.expr) -> str:
    """Return the name that a chain of attributes begins with; empty where it is none."""
    while isinstance(value, ast.Attribute):
        value = value.value
    return value.id if is_name(value) else ""


def _flat(block: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Return statements with each assignment of several values to several names as several, where none is read."""
    return [single for statement in block for single in _singles(statement)]


def _singles(statement: ast.stmt) -> Sequence[ast.stmt]:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Name(id=other)) if name == other:
            return []
        case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)) if len(names) == len(values):
            pairs = [pair for pair in zip(names, values, strict=True) if ast.unparse(pair[0]) != ast.unparse(pair[1])]
            names, values = [name for name, _ in pairs], [value for _, value in pairs]
            targets = {name.id for name in names if is_name(name)}
            read = {inner.id for value in values for inner in walk(value) if is_name(inner)}
            if len(targets) == len(names) and not targets & read:
                return [
                    ast.Assign(targets=[name], value=value, lineno=0) for name, value in zip(names, values, strict=True)
                ]
    return [statement]


class _Joined:
    """One walk through the blocks of a scope."""

    def __init__(self, scope: Sequence[ast.stmt], apart: Collection[str]) -> None:
        self.scope, self.apart, self.outermost = scope, apart, True

    def block(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        """Return a block joined, and the blocks inside."""
        new = _flat(statements) or [ast.Pass()]
        for index in range(len(new) - 2, -1, -1):
            self._join(new, index)
        self.outermost = False
        for statement in new:
            for name in ("body", "orelse", "finalbody"):
                inner = getattr(statement, name, None)
                if isinstance(inner, list) and inner and not isinstance(statement, ast.FunctionDef | ast.ClassDef):
                    setattr(statement, name, self.block(inner))
        return new

    def _join(self, block: list[ast.stmt], index: int) -> None:
        """Put the value of a statement that gives it a name into the next, if that alone reads it."""
        match block[index], block[index + 1]:
            case ast.Assign(targets=[ast.Name(id=name)], value=value), (
                ast.Assign() | ast.Return() | ast.Expr() as following
            ) if self._carries(block, index, name) and evaluated_first(following, name) and not self._stays(value):
                replaced = _With(name, value).visit(copy.deepcopy(following))
                named = isinstance(following, ast.Return) and isinstance(following.value, ast.Name)
                if named or len(ast.unparse(replaced)) <= _WIDTH:
                    block[index : index + 2] = [replaced]
            case _:
                pass

    def _stays(self, value: ast.expr) -> bool:
        return isinstance(value, ast.Call) and is_name(value.func) and value.func.id in self.apart

    def _carries(self, block: Sequence[ast.stmt], index: int, name: str) -> bool:
        """Return whether the next statement reads the name once, and nothing does after it."""
        if _uses(block[index + 1], name) != 1 or name in bound_in(block[index + 1]) or _uses(block[index], name) != 1:
            return False
        inside = sum(_uses(statement, name) for statement in block)
        if inside != sum(_uses(statement, name) for statement in self.scope):
            return False
        for statement in block[index + 2 :]:
            if _uses(statement, name):
                match statement:
                    case ast.Assign(targets=[ast.Name(id=target)], value=value):
                        return target == name and not _uses(value, name)
                    case _:
                        return False
        # In a loop what stands above comes after.
        return self.outermost or not any(_uses(statement, name) for statement in block[:index])


def _uses(node: ast.AST, name: str) -> int:
    return sum(
        (isinstance(inner, ast.Name) and inner.id == name) or (isinstance(inner, ast.arg) and inner.arg == name)
        for inner in walk(node)
    )


class _With(ast.NodeTransformer):
    """Puts an expression in the place of a name that is read."""

    def __init__(self, name: str, expression: ast.expr) -> None:
        self.name, self.expression = name, expression

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return copy.deepcopy(self.expression) if node.id == self.name and isinstance(node.ctx, ast.Load) else node

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        """A dictionary inside another is its entries."""
        self.generic_visit(node)
        pairs: list[tuple[ast.expr | None, ast.expr]] = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None and isinstance(value, ast.Dict):
                pairs += zip(value.keys, value.values, strict=True)
            else:
                pairs.append((key, value))
        return ast.Dict(keys=[key for key, _ in pairs], values=[value for _, value in pairs])
