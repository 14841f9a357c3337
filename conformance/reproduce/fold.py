"""What is known of a function's names worked into its text: constants in place, branches never taken left out.

Only what is certain is folded: a name has its known value where nothing in the function binds it, and, if one
plain assignment in the function's own body does, up to there and after it.
"""

from __future__ import annotations

import ast
import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from conformance.reproduce.text import Edit, Text


@dataclass(frozen=True, slots=True)
class Value:
    """A name that stands for this literal value."""

    value: Any


@dataclass(frozen=True, slots=True)
class Fields:
    """A name that stands for an object with these literal attributes."""

    fields: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class NotNone:
    """A name of which nothing is known but that it is not None."""


Known: TypeAlias = Value | Fields | NotNone
Names: TypeAlias = Mapping[str, Known]

#: Stands among names: known to be False where nothing anywhere is bfloat16.
BFLOAT16 = "….dtype == ….bfloat16"


def evaluate(node: ast.expr, names: Names) -> Known | None:
    """Return what is known of an expression without running anything; None where it is nothing."""
    match node:
        case ast.Constant(value=value):
            return Value(value)
        case ast.Name(id=name, ctx=ast.Load()):
            return names.get(name)
        case ast.Attribute(value=ast.expr() as owner, attr=attribute):
            found = evaluate(owner, names)
            return _item(dict(found.fields), Value(attribute)) if isinstance(found, Fields) else None
        case ast.Subscript(value=owner, slice=key):
            found = evaluate(owner, names)
            return _item(found.value, evaluate(key, names)) if isinstance(found, Value) else None
        case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements):
            values = [evaluate(each, names) for each in elements]
            known = [each.value for each in values if isinstance(each, Value)]
            return Value(tuple(known)) if len(known) == len(values) and not isinstance(node, ast.List) else None
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            found = evaluate(operand, names)
            return Value(not found.value) if isinstance(found, Value) else None
        case ast.BoolOp(op=operator, values=parts):
            return _bool(operator, [evaluate(each, names) for each in parts])
        case ast.IfExp(test=test, body=body, orelse=orelse):
            found = evaluate(test, names)
            return evaluate(body if found.value else orelse, names) if isinstance(found, Value) else None
        case ast.Compare(
            left=ast.Attribute(attr="dtype"), ops=[ast.Eq()], comparators=[ast.Attribute(attr="bfloat16")]
        ):
            return names.get(BFLOAT16)
        case ast.Compare(left=left, ops=[operator], comparators=[right]):
            return _compared(evaluate(left, names), operator, evaluate(right, names))
        case _:
            return None


def _item(items: object, key: Known | None) -> Value | None:
    if isinstance(items, dict) and isinstance(key, Value) and key.value in items:
        return Value(items[key.value])
    return None


def _bool(operator: ast.boolop, parts: Sequence[Known | None]) -> Value | None:
    decisive = isinstance(operator, ast.Or)
    for part in parts:
        if not isinstance(part, Value):
            return None
        if bool(part.value) is decisive:
            return part
    last = parts[-1]
    return last if isinstance(last, Value) else None


def _compared(left: Known | None, operator: ast.cmpop, right: Known | None) -> Value | None:
    match left, operator, right:
        case NotNone() | Fields(), ast.Is(), Value(value=None):
            return Value(value=False)
        case NotNone() | Fields(), ast.IsNot(), Value(value=None):
            return Value(value=True)
        case Value(value=one), ast.Eq() | ast.Is(), Value(value=other):
            return Value(one == other)
        case Value(value=one), ast.NotEq() | ast.IsNot(), Value(value=other):
            return Value(one != other)
        case Value(value=one), ast.In(), Value(value=tuple() as other):
            return Value(one in other)
        case Value(value=one), ast.NotIn(), Value(value=tuple() as other):
            return Value(one not in other)
        case _:
            return None


def bound_in(node: ast.AST) -> list[str]:
    """Return the names that anything inside the node binds, as often as they are bound; its own left out."""
    found = []
    for each in ast.walk(node):
        match each:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
                found.append(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.ExceptHandler(name=str(name)):
                found.extend([name] if each is not node else [])
            case ast.alias(name=name, asname=other):
                found.append(other or name.partition(".")[0])
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                found.append(name)
            case ast.Global(names=several) | ast.Nonlocal(names=several):
                found.extend(several)
            case _:
                pass
    return found


def certain(function: ast.FunctionDef, names: Names) -> dict[str, Known]:
    """Return those of `names`, of the function's parameters, that hold throughout: bound once, by being parameters."""
    bound = bound_in(function)
    return {name: known for name, known in names.items() if name == BFLOAT16 or bound.count(name) == 1}


def _loaded(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def fold_function(text: Text, function: ast.FunctionDef, names: Names) -> list[Edit]:
    """Return the edits that work `names`, of the function's parameters, into it."""
    bound = bound_in(function)
    plain = {
        statement.targets[0].id
        for statement in function.body
        if isinstance(statement, ast.Assign)
        and len(statement.targets) == 1
        and isinstance(statement.targets[0], ast.Name)
    }
    inner = {
        name
        for each in ast.walk(function)
        if isinstance(each, ast.FunctionDef | ast.Lambda) and each is not function
        for name in bound_in(each)
    }
    # Positions inside f-strings are not to be trusted before Python 3.12, so nothing is replaced there.
    inner |= {name for each in ast.walk(function) if isinstance(each, ast.JoinedStr) for name in _loaded(each)}
    moved = {name: known for name, known in names.items() if bound.count(name) == 2 and name in plain - inner}
    fold = _Fold(text, {**certain(function, names), **moved}, set(moved))
    fold.block(function.body)
    return fold.edits


def fold_statements(text: Text, statements: Sequence[ast.stmt], names: Names) -> list[Edit]:
    """Return the edits that work `names`, which these statements never bind, into them."""
    fold = _Fold(text, dict(names), set())
    fold.block(statements)
    return fold.edits


class _Fold:
    """One walk through statements in their order, gathering edits."""

    def __init__(self, text: Text, names: dict[str, Known], moved: set[str]) -> None:
        self.text, self.names, self.moved = text, names, moved
        self.edits: list[Edit] = []

    def block(self, statements: Sequence[ast.stmt]) -> None:
        """Fold a block of statements."""
        kept, removed = 0, []
        for statement in statements:
            if (chosen := self._branch(statement)) is not None:
                if not chosen:
                    removed.append(self.text.whole(statement))
                    continue
                self._chosen(statement, chosen)
                left = self._leaves(chosen)
            elif self._settles(statement):
                removed.append(self.text.whole(statement))
                continue
            else:
                self._visit(statement)
                left = self._leaves([statement])
            kept += 1
            if left:
                if statement is not statements[-1]:
                    self.edits.append((self.text.end(statement), self.text.end(statements[-1]), ""))
                break
        self.edits += [(start, end, "") for start, end in removed]
        if not kept and statements:
            start, end = self.text.whole(statements[-1])
            self.edits.remove((start, end, ""))
            self.edits.append((start, end, " " * statements[-1].col_offset + "pass\n"))

    def _branch(self, statement: ast.stmt) -> list[ast.stmt] | None:
        """Return the branch that is taken, empty where none is; None where that is not known or there are none."""
        match statement:
            case ast.If(test=test, body=body, orelse=orelse) if body[0].lineno != statement.lineno:
                found = evaluate(test, self.names)
                return (body if found.value else orelse) if isinstance(found, Value) else None
            case ast.Match(subject=subject, cases=cases):
                found = evaluate(subject, self.names)
                return _case(found.value, cases) if isinstance(found, Value) else None
            case _:
                return None

    def _leaves(self, statements: Sequence[ast.stmt]) -> bool:
        """Return whether the last statement that is reached leaves the block."""
        for statement in statements:
            if isinstance(statement, ast.Return | ast.Raise | ast.Continue | ast.Break):
                return True
            if self._leaves(self._branch(statement) or []):
                return True
            if isinstance(statement, ast.With) and self._leaves(statement.body):
                return True
        return False

    def _settles(self, statement: ast.stmt) -> bool:
        """Return whether the statement only gives a name a value that is known from there on."""
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in self.moved:
                self._visit(value)
                found = evaluate(value, self.names)
                self.names.pop(name, None)
                if isinstance(found, Value) and _literal(found):
                    self.names[name] = found
                    return True
        return False

    def _chosen(self, statement: ast.stmt, chosen: Sequence[ast.stmt]) -> None:
        """Put the branch that is taken in the place of the whole statement."""
        before, self.edits = self.edits, []
        self.block(chosen)
        inner = self.text.edited(self.edits, self.text.whole(chosen[0])[0], self.text.whole(chosen[-1])[1])
        flat = textwrap.dedent(inner)
        flat = flat.removeprefix("el") if flat.startswith("elif ") else flat
        indented = textwrap.indent(flat, " " * statement.col_offset).strip()
        self.edits = [*before, (self.text.start(statement), self.text.end(statement), indented)]

    def _visit(self, node: ast.AST) -> None:
        """Fold the expressions and blocks inside a node."""
        match node:
            case ast.JoinedStr():
                return
            case ast.expr() if self._replaced(node):
                return
            case ast.IfExp(test=test, body=body, orelse=orelse) if isinstance(
                found := evaluate(test, self.names), Value
            ):
                self._take(node, body if found.value else orelse)
                return
            case ast.Assign(targets=[ast.Name(id=name)]) if name in self.moved:
                return
            case ast.FunctionDef() | ast.Lambda():
                hidden = set(bound_in(node))
                outer, self.names = self.names, {n: k for n, k in self.names.items() if n not in hidden}
                self._children(node)
                self.names = outer
            case _:
                self._children(node)

    def _children(self, node: ast.AST) -> None:
        for name, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                if name == "orelse" and isinstance(node, ast.If) and self._is_elif(value):
                    self._children(value[0])
                else:
                    self.block(value)
                continue
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, ast.AST):
                    self._visit(each)

    def _is_elif(self, statements: Sequence[ast.stmt]) -> bool:
        return self.text.text.startswith("elif", self.text.start(statements[0]))

    def _replaced(self, node: ast.expr) -> bool:
        """Put the literal in the place of an expression whose value is known from names."""
        named = any(isinstance(each, ast.Name) for each in ast.walk(node))
        found = evaluate(node, self.names) if named and not isinstance(node, ast.Starred) else None
        if not (isinstance(found, Value) and _literal(found)):
            return False
        self.edits.append((self.text.start(node), self.text.end(node), written(found.value)))
        return True

    def _take(self, node: ast.expr, branch: ast.expr) -> None:
        before, self.edits = self.edits, []
        self._visit(branch)
        inner = self.text.edited(self.edits, self.text.start(branch), self.text.end(branch))
        self.edits = [*before, (self.text.start(node), self.text.end(node), inner)]


def _case(value: Any, cases: Sequence[ast.match_case]) -> list[ast.stmt] | None:
    """Return the body of the case that a value takes; None where a case is more than a constant or a wildcard."""
    for each in cases:
        match each:
            case ast.match_case(pattern=ast.MatchValue(value=ast.Constant(value=other)), guard=None):
                if other == value:
                    return each.body
            case ast.match_case(pattern=ast.MatchAs(pattern=None, name=None), guard=None):
                return each.body
            case _:
                return None
    return []


def written(value: Any) -> str:
    """Return a literal value as source text, with double quotes where repr has single ones."""
    match value:
        case str():
            return json.dumps(value, ensure_ascii=False)
        case tuple():
            return f"({', '.join(map(written, value))}{',' if len(value) == 1 else ''})"
        case _:
            return repr(value)


def _literal(known: Value) -> bool:
    """Return whether the value's repr is an expression that gives it back."""
    match known.value:
        case float() as number:
            return math.isfinite(number)
        case tuple() as values:
            return all(_literal(Value(each)) for each in values)
        case value:
            return value is None or isinstance(value, bool | int | str)
