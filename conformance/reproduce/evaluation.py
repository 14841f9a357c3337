"""What is known of a name, and so of an expression, without running anything of the program."""

from __future__ import annotations

import ast
import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from conformance.reproduce.computed import PURE, computed
from conformance.reproduce.names import bound_in, loaded_in


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


@dataclass(frozen=True, slots=True)
class Table:
    """A name of the file that stands for a dictionary of expressions by literal keys, and is only read."""

    entries: tuple[tuple[Any, ast.expr], ...]


Known: TypeAlias = Value | Fields | NotNone | Table
Names: TypeAlias = Mapping[str, Known]

#: Stands among names: known to be False where nothing anywhere is bfloat16.
BFLOAT16 = "….dtype == ….bfloat16"
#: The protocol's word for the gradient of the output: known not to be None, converted or not, where every step has one.
UPSTREAM = "upstream"


def evaluate(node: ast.expr, names: Names) -> Known | None:
    """Return what is known of an expression without running anything; None where it is nothing."""
    match node:
        case ast.Constant(value=value):
            return Value(value)
        case ast.Name(id=name, ctx=ast.Load()):
            return names.get(name)
        case ast.Attribute(value=ast.expr() as owner, attr=attribute):
            fact = evaluate(owner, names)
            return _item(dict(fact.fields), Value(attribute)) if isinstance(fact, Fields) else None
        case ast.BinOp() | ast.Call() | ast.ListComp() | ast.Subscript():
            return _computed(node, names)
        case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements):
            values = [evaluate(element, names) for element in elements]
            constants = [fact.value for fact in values if isinstance(fact, Value)]
            return Value(tuple(constants)) if len(constants) == len(values) and not isinstance(node, ast.List) else None
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            fact = evaluate(operand, names)
            return Value(not fact.value) if isinstance(fact, Value) else None
        case ast.BoolOp(op=operator, values=parts):
            return _bool(operator, [evaluate(part, names) for part in parts])
        case ast.IfExp(test=test, body=body, orelse=orelse):
            fact = evaluate(test, names)
            return evaluate(body if fact.value else orelse, names) if isinstance(fact, Value) else None
        case ast.Compare(
            left=ast.Attribute(attr="dtype"), ops=[ast.Eq()], comparators=[ast.Attribute(attr="bfloat16")]
        ):
            return names.get(BFLOAT16)
        case ast.Compare(left=left, ops=[operator], comparators=[right]):
            return _compared(evaluate(left, names), operator, evaluate(right, names))
        case _:
            return None


def _computed(node: ast.expr, names: Names) -> Value | None:
    """Return the value of an expression of known names and fields alone."""
    if not set(loaded_in(node)) <= {*names, *PURE, *bound_in(node)}:
        return None
    plain = _Plain(names).visit(copy.deepcopy(node))
    return next(
        map(Value, computed(plain, {n: fact.value for n, fact in names.items() if isinstance(fact, Value)})), None
    )


class _Plain(ast.NodeTransformer):
    """Puts known fields of an object in the place of their names."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        fact = evaluate(node, self.names)
        if isinstance(fact, Value) and literal(fact):
            return ast.parse(repr(fact.value), mode="eval").body
        return self.generic_visit(node)


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
        case Value(value=one), ast.In(), Value(value=dict() | list() | tuple() as other):
            return Value(one in other)
        case Value(value=one), ast.NotIn(), Value(value=dict() | list() | tuple() as other):
            return Value(one not in other)
        case _:
            return None


def literal(constant: Value) -> bool:
    """Return whether the value's repr is an expression that gives it back."""
    match constant.value:
        case float() as number:
            return math.isfinite(number)
        case list() | tuple() as values:
            return all(literal(Value(value)) for value in values)
        case dict() as items:
            return all(literal(Value(value)) for pair in items.items() for value in pair)
        case value:
            return value is None or isinstance(value, bool | int | str)
