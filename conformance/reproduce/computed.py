"""Expressions of known literals alone, computed: sizes, shapes and options of a case."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from conformance.reproduce.names import bound_in, is_name, walk

#: What may be called: it depends on its arguments alone.
PURE: Mapping[str, Any] = {
    "all": all,
    "any": any,
    "dict": dict,
    "enumerate": enumerate,
    "isinstance": isinstance,
    "len": len,
    "list": list,
    "math": SimpleNamespace(prod=math.prod),
    "max": max,
    "min": min,
    "range": range,
    "set": set,
    "sorted": sorted,
    "sum": sum,
    "tuple": tuple,
    "zip": zip,
}
_METHODS = {"get", "items", "keys", "prod", "values"}
#: Beside the names: no power, which may be of any length, and nothing that stores.
_NODES = (
    ast.Attribute, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.Call, ast.Compare, ast.cmpop,
    ast.BoolOp, ast.boolop, ast.UnaryOp, ast.unaryop, ast.Constant, ast.Dict, ast.DictComp, ast.GeneratorExp,
    ast.IfExp, ast.List, ast.ListComp, ast.Name, ast.SetComp, ast.Subscript, ast.Tuple, ast.comprehension,
    ast.expr_context, ast.keyword,
)  # fmt: skip
#: What there is anything to compute of: the others stand for themselves.
_WHOLE = (ast.BinOp, ast.Call, ast.ListComp, ast.Subscript)


def computed(node: ast.expr, values: Mapping[str, Any]) -> list[Any]:
    """Return a list of the value that an expression has where names have these values; empty where that is not known."""
    if not isinstance(node, _WHOLE):
        return []
    own = set(bound_in(node))
    known = {**PURE, **values}
    for inner in walk(node):
        if not isinstance(inner, _NODES) or (isinstance(inner, ast.Attribute) and not _method(inner)):
            return []
        if is_name(inner) and inner.id not in known and inner.id not in own:
            return []
    expression = ast.fix_missing_locations(ast.Expression(body=node))
    try:
        return [eval(compile(expression, "known", "eval"), {"__builtins__": {}, **known})]  # noqa: S307 - see _NODES
    except (ArithmeticError, LookupError, TypeError, ValueError):
        # As it stands it is an error, which is the script's.
        return []


def _method(node: ast.Attribute) -> bool:
    return node.attr in _METHODS
