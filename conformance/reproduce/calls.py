"""Which calls a program makes of its own functions."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from conformance.reproduce.names import bound_in, is_name, walk


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One call, and the statement of the file or of the main part that it is inside."""

    main: bool
    statement: ast.stmt
    call: ast.Call


class Calls:
    """The functions of a program, and every call of one that can be followed."""

    def __init__(self, definitions: Sequence[ast.stmt], main: Sequence[ast.stmt]) -> None:
        functions = [statement for statement in definitions if isinstance(statement, ast.FunctionDef)]
        self.functions = {function.name: function for function in functions}
        self.sites: dict[str, list[Site]] = {name: [] for name in self.functions}
        #: Those of which every use is a call that gives its arguments one by one.
        self.followed = {
            function.name
            for function in functions
            if not (function.decorator_list or function.args.vararg or function.args.kwarg)
            and [other.name for other in functions].count(function.name) == 1
        }
        for is_main, statements in ((False, definitions), (True, main)):
            for statement in statements:
                self._follow(is_main, statement)

    def _follow(self, is_main: bool, statement: ast.stmt) -> None:
        """Note the calls inside a statement; a function that is otherwise named there is not to be followed."""
        local = set(bound_in(statement)) if isinstance(statement, ast.FunctionDef | ast.ClassDef) else set[str]()
        called: set[int] = set()
        for node in walk(statement):
            match node:
                case ast.Call(func=ast.Name(id=name) as function) if name in self.functions:
                    starred = any(isinstance(value, ast.Starred) for value in node.args)
                    if not starred and all(keyword.arg for keyword in node.keywords):
                        called.add(id(function))
                        self.sites[name].append(Site(main=is_main, statement=statement, call=node))
                case _:
                    pass
        for node in walk(statement):
            if is_name(node) and (id(node) not in called or node.id in local):
                self.followed.discard(node.id)


def parameters(function: ast.FunctionDef) -> list[ast.arg]:
    """Return the parameters that a call gives by position or by name."""
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def argument(function: ast.FunctionDef, call: ast.Call, name: str) -> ast.expr | None:
    """Return what a call gives for a parameter, by position, by name or by default."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    positional = [parameter.arg for parameter in (*function.args.posonlyargs, *function.args.args)]
    if name in positional:
        place = positional.index(name)
        if place < len(call.args):
            return call.args[place]
        place -= len(positional) - len(function.args.defaults)
        return function.args.defaults[place] if place >= 0 else None
    named = [parameter.arg for parameter in function.args.kwonlyargs]
    return function.args.kw_defaults[named.index(name)]
