"""What is known of a function's names worked into its text: constants in place, branches never taken left out.

Only what is certain is folded: a name has its known value where nothing in the function binds it, and, if one
plain assignment in the function's own body does, up to there and after it.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from conformance.reproduce.evaluation import BFLOAT16, Known, Names, Table, Value, evaluate, literal
from conformance.reproduce.names import bound_in, is_name, walk
from conformance.reproduce.text import is_comment

#: What may stand at several places for one object.
_IMMUTABLE = (bool, int, float, str, tuple, type(None))


def certain(function: ast.FunctionDef, names: Names) -> dict[str, Known]:
    """Return those of `names`, of the function's parameters, that hold throughout: bound once, by being parameters."""
    bound = bound_in(function)
    return {name: fact for name, fact in names.items() if name == BFLOAT16 or bound.count(name) == 1}


def fold_function(function: ast.FunctionDef, names: Names, constants: Names) -> ast.FunctionDef:
    """Return the function with `names`, of its parameters, and `constants`, of the file, worked in."""
    bound = bound_in(function)
    plain = {
        statement.targets[0].id
        for statement in function.body
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and is_name(statement.targets[0])
    }
    inner = {
        name
        for node in walk(function)
        if isinstance(node, ast.FunctionDef | ast.Lambda) and node is not function
        for name in bound_in(node)
    }
    moved = {name: fact for name, fact in names.items() if bound.count(name) == 2 and name in plain - inner}
    outer = {name: fact for name, fact in constants.items() if name not in bound}
    once = {name for name in plain - inner if bound.count(name) == 1}
    fold = _Fold({**outer, **certain(function, names), **moved}, {*moved, *once})
    function.body = fold.block(function.body)
    return function


def fold_statements(statements: Sequence[ast.stmt], names: Names, once: Collection[str] = ()) -> list[ast.stmt]:
    """Return the statements with `names`, which they never bind, worked in; empty where nothing is left.

    The variables that are given a value `once`, in no loop, are known from there on where that is.
    """
    return _Fold(dict(names), set(once)).statements(statements)


class _Fold(ast.NodeTransformer):
    """One walk through statements in their order."""

    def __init__(self, names: dict[str, Known], moved: set[str]) -> None:
        self.names, self.moved = names, moved

    def block(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        """Return a block folded, `pass` where nothing is left of it."""
        folded = self.statements(statements)
        return folded if any(not is_comment(statement) for statement in folded) else [ast.Pass()]

    def statements(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        """Return statements folded, up to the first that leaves the block; a comment goes with what it is above."""
        folded: list[ast.stmt] = []
        comments: list[ast.stmt] = []
        for statement in statements:
            if is_comment(statement):
                comments.append(statement)
                continue
            new = list(self._statement(statement))
            folded += [*comments, *new] if new else []
            comments = []
            if new and _leaves(new[-1]):
                break
        return folded

    def _statement(self, statement: ast.stmt) -> Iterator[ast.stmt]:
        branch = self._branch(statement)
        if branch is not None:
            yield from self.statements(branch)
        elif not self._settles(statement):
            yield self.visit(statement)

    def _branch(self, statement: ast.stmt) -> Sequence[ast.stmt] | None:
        """Return the branch that is taken, empty where none is; None where that is not known or there are none."""
        match statement:
            case ast.If(test=test, body=body, orelse=orelse):
                fact = evaluate(test, self.names)
                return (body if fact.value else orelse) if isinstance(fact, Value) else None
            case ast.Match(subject=subject, cases=cases):
                fact = evaluate(subject, self.names)
                return self._case(fact.value, cases) if isinstance(fact, Value) else None
            case _:
                return None

    def _case(self, value: Any, cases: Sequence[ast.match_case]) -> list[ast.stmt] | None:
        """Return the body of the case that a value takes; None where that is not known."""
        for case in cases:
            match case.pattern:
                case ast.MatchValue(value=ast.Constant(value=other)):
                    fits = bool(other == value)
                case ast.MatchAs(pattern=None, name=None):
                    fits = True
                case _:
                    return None
            guard = Value(value=True) if case.guard is None else evaluate(case.guard, self.names)
            if fits and not isinstance(guard, Value):
                return None
            if fits and isinstance(guard, Value) and guard.value:
                return case.body
        return []

    def _settles(self, statement: ast.stmt) -> bool:
        """Return whether the statement only gives a name a value that is known from there on."""
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)]) if name in self.moved:
                statement.value = self.visit(statement.value)
                fact = evaluate(statement.value, self.names)
                self.names.pop(name, None)
                if isinstance(fact, Value) and literal(fact) and isinstance(fact.value, _IMMUTABLE):
                    self.names[name] = fact
                    return True
        return False

    def visit(self, node: ast.AST) -> Any:
        """Fold a node: a literal where its value is known from names, the branch where that is."""
        if isinstance(node, ast.expr):
            return self._expression(node)
        if isinstance(node, ast.FunctionDef):
            return self._hidden(node)
        for name, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                setattr(node, name, self.statements(value) if name == "orelse" else self.block(value))
            elif isinstance(value, list):
                setattr(node, name, [self.visit(item) if isinstance(item, ast.AST) else item for item in value])
            elif isinstance(value, ast.AST):
                setattr(node, name, self.visit(value))
        return node

    def _expression(self, node: ast.expr) -> ast.AST:
        if (entry := self._entry(node)) is not None:
            return self._expression(copy.deepcopy(entry))
        if isinstance(node, ast.IfExp) and isinstance(fact := evaluate(node.test, self.names), Value):
            return self._expression(node.body if fact.value else node.orelse)
        open_ = any(isinstance(inner, ast.Name | ast.BinOp) for inner in walk(node))
        fact = evaluate(node, self.names) if open_ and not isinstance(node, ast.Starred) else None
        if isinstance(fact, Value) and literal(fact):
            return ast.parse(repr(fact.value), mode="eval").body
        return self._hidden(node) if isinstance(node, ast.Lambda) else self.generic_visit(node)

    def _entry(self, node: ast.expr) -> ast.expr | None:
        """Return what stands in a table of the file under a known key."""
        match node:
            case ast.Subscript(value=ast.Name(id=name), slice=key) if isinstance(table := self.names.get(name), Table):
                fact = evaluate(key, self.names)
                return dict(table.entries).get(fact.value) if isinstance(fact, Value) else None
            case ast.Call(func=ast.Name(id="getattr"), args=[owner, ast.Constant(value=str(name))], keywords=[]):
                return ast.Attribute(value=owner, attr=name, ctx=ast.Load()) if name.isidentifier() else None
            case _:
                return None

    def _hidden(self, node: ast.FunctionDef | ast.Lambda) -> ast.AST:
        """Fold a function inside, whose own names hide those around it."""
        hidden = set(bound_in(node))
        outer, self.names = self.names, {name: fact for name, fact in self.names.items() if name not in hidden}
        if isinstance(node, ast.FunctionDef):
            node.body = self.block(node.body)
        else:
            node.body = self.visit(node.body)
        self.names = outer
        return node


def _leaves(statement: ast.stmt) -> bool:
    """Return whether nothing after the statement in its block is reached."""
    if isinstance(statement, ast.With):
        return _leaves(statement.body[-1])
    return isinstance(statement, ast.Return | ast.Raise | ast.Continue | ast.Break)
