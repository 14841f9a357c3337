"""Functions in the place of what `functools.partial` makes of them, where that is only called."""

from __future__ import annotations

import ast
import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeGuard

from conformance.reproduce.names import bound_in, defined, is_name, loaded_in, walk
from conformance.reproduce.scopes import other_name, straight
from conformance.reproduce.text import is_comment

#: The native call, which the script shows as the record has it.
_NATIVE = "native"


def without_partials(
    definitions: list[ast.stmt], main: list[ast.stmt], reserved: Collection[str]
) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """Return the program with the functions of the file called directly, with what a partial would add to the call."""
    plain = _Plain()
    definitions, main = [plain.visit(item) for item in definitions], [plain.visit(item) for item in main]
    functions = {statement.name for statement in definitions if isinstance(statement, ast.FunctionDef)}
    for statement in definitions:
        if isinstance(statement, ast.FunctionDef):
            _complete(statement.body, functions - set(bound_in(statement)), reserved)
    _completed_of_file(definitions, main)
    _worked_in(definitions, main)
    read = {name for statement in definitions for name in loaded_in(statement)}
    _complete(main, functions - {name for statement in main for name in bound_in(statement)}, reserved, read)
    return definitions, main


class _Plain(ast.NodeTransformer):
    """Takes a starred tuple apart, and makes a partial that adds nothing the function itself."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        node.args = [single for value in node.args for single in _singles(value)]
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="functools"), attr="partial"), args=[only], keywords=[]):
                return only
            case _:
                return node


def _singles(value: ast.expr) -> list[ast.expr]:
    match value:
        case ast.Starred(value=ast.Tuple(elts=elements)):
            return elements
        case _:
            return [value]


def _completed_of_file(definitions: Sequence[ast.stmt], main: Sequence[ast.stmt]) -> None:
    """Complete the calls of the file's partials of what a library has, where those hold literals and are only called."""
    everything = [*definitions, *main]
    bound = [name for statement in everything for name in bound_in(statement)]
    for statement in definitions:
        match statement:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Call(func=ast.Attribute(value=ast.Name(id="functools"), attr="partial")) as partial,
            ) if isinstance(partial.args[0], ast.Attribute) and bound.count(name) == 1:
                held = [*partial.args[1:], *(keyword.value for keyword in partial.keywords)]
                calls = [node for other in everything for node in walk(other) if _calls(node, name)]
                reads = sum(loaded_in(other).count(name) for other in everything)
                if reads == len(calls) and all(isinstance(value, ast.Constant) for value in held):
                    for call in calls:
                        _add(call, partial, {id(value): value for value in held})
            case _:
                pass


def _worked_in(definitions: Sequence[ast.stmt], main: Sequence[ast.stmt]) -> None:
    """Work what the only partial of a function holds into it: names that are given a value once, and constants."""
    everything = [*definitions, *main]
    loaded = [name for statement in everything for name in _loaded(statement)]
    functions = {statement.name: statement for statement in definitions if isinstance(statement, ast.FunctionDef)}
    in_main = [name for statement in main for name in bound_in(statement)]
    # In a loop a name is given a value again.
    in_main += [name for item in main if isinstance(item, ast.For | ast.While) for name in bound_in(item)]
    files = {name for statement in definitions if not is_comment(statement) for name in defined(statement)}
    for statement in everything:
        if _NATIVE in bound_in(statement):
            continue
        local = set(bound_in(statement)) if isinstance(statement, ast.FunctionDef) else set[str]()
        once = {name for name in {*files, *in_main} if in_main.count(name) + (name in files) == 1}
        for call, name in [held for node in walk(statement) for held in _held_by(node)]:
            if name in functions and loaded.count(name) == 1 and not functions[name].decorator_list:
                _work_in(functions[name], call, once - local)


def _loaded(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement reads, those of a function's own left out."""
    local = set(bound_in(statement)) if isinstance(statement, ast.FunctionDef) else set[str]()
    yield from (name for name in loaded_in(statement) if name not in local)


def _held_by(node: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Yield the node and the name of its function, if it is a partial that holds something."""
    match node:
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id="functools"), attr="partial"), args=[ast.Name(id=name), _, *_]
        ):
            yield node, name
        case _:
            pass


def _work_in(function: ast.FunctionDef, call: ast.Call, once: Collection[str]) -> None:
    """Work the first arguments of a partial into the function, as far as they are the same whenever it is called."""
    bound = bound_in(function)
    while len(call.args) > 1 and len(function.args.args) > len(function.args.defaults):
        parameter, value = function.args.args[0].arg, call.args[1]
        named = is_name(value) and value.id in once and value.id not in set(bound) - {parameter}
        if not (named or isinstance(value, ast.Constant)) or bound.count(parameter) != 1 or function.args.posonlyargs:
            return
        del function.args.args[0], call.args[1]
        for statement in function.body:
            _Replaced(parameter, value).visit(statement)


class _Replaced(ast.NodeTransformer):
    """Puts an expression in the place of a name."""

    def __init__(self, name: str, expression: ast.expr) -> None:
        self.name, self.expression = name, expression

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return copy.deepcopy(self.expression) if node.id == self.name else node


def _complete(
    block: list[ast.stmt], functions: Collection[str], reserved: Collection[str], outside: Collection[str] = ()
) -> None:
    """Complete the calls of the partials of one scope."""
    completed = True
    while completed:
        completed = any(
            name not in outside and _completed(block, body, index, name, partial, reserved)
            for body, index, name, partial in _partials(block, functions)
        )


def _partials(block: list[ast.stmt], functions: Collection[str]) -> Iterator[tuple[list[ast.stmt], int, str, ast.Call]]:
    """Yield what is a partial of a function of the file: the block and the place of the statement, the name, the call."""
    for index, statement in enumerate(block):
        match statement:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Call(
                    func=ast.Attribute(value=ast.Name(id="functools"), attr="partial"), args=[ast.Name(id=function), *_]
                ) as partial,
            ) if name != _NATIVE and function in functions and _named_one_by_one(partial):
                yield block, index, name, partial
            case ast.With(body=body):
                yield from _partials(body, functions)
            case _:
                pass


def _named_one_by_one(call: ast.Call) -> bool:
    return not any(isinstance(value, ast.Starred) for value in call.args) and all(item.arg for item in call.keywords)


def _completed(
    scope: list[ast.stmt],
    block: list[ast.stmt],
    index: int,
    name: str,
    partial: ast.Call,
    reserved: Collection[str],
) -> bool:
    """Complete the calls of one partial, if it is only called, and what it holds stays what it was until then."""
    bound = [other for statement in scope for other in bound_in(statement)]
    calls = [node for statement in scope for node in walk(statement) if _calls(node, name)]
    reads = sum(loaded_in(statement).count(name) for statement in scope)
    if bound.count(name) != 1 or reads != len(calls) or not calls:
        return False
    held = [*partial.args[1:], *(keyword.value for keyword in partial.keywords)]
    names = {inner for value in held for inner in loaded_in(value)}
    if names & set(_bound_between(scope, block[index], calls)):
        return False
    taken = {*bound, *reserved, *(other for statement in scope for other in loaded_in(statement))}
    kept: list[ast.stmt] = []
    variables = {id(value): _held(value, name, taken, kept) for value in held}
    for call in calls:
        _add(call, partial, variables)
    block[index : index + 1] = kept if kept or len(block) > 1 else [ast.Pass()]
    return True


def _add(call: ast.Call, partial: ast.Call, values: Mapping[int, ast.expr]) -> None:
    """Call the function of a partial with what that holds, `values` by its identity, and what the call gives."""
    given = {keyword.arg for keyword in call.keywords}
    further = [item for item in partial.keywords if item.arg not in given]
    call.func = copy.deepcopy(partial.args[0])
    call.args = [*(copy.deepcopy(values[id(value)]) for value in partial.args[1:]), *call.args]
    call.keywords += [ast.keyword(arg=item.arg, value=copy.deepcopy(values[id(item.value)])) for item in further]


def _calls(node: ast.AST, name: str) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and is_name(node.func) and node.func.id == name and _named_one_by_one(node)


def _bound_between(scope: Sequence[ast.stmt], place: ast.stmt, calls: Sequence[ast.AST]) -> Iterator[str]:
    """Yield the names that are bound after a statement, and before the last of those calls is evaluated."""
    statements = list(straight(scope))
    first = next(index for index, statement in enumerate(statements) if statement is place)
    ids = {id(call) for call in calls}
    *_, last = (index for index, item in enumerate(statements) if any(id(node) in ids for node in walk(item)))
    for index in range(first + 1, last + 1):
        # What a statement gives its value to comes after the value.
        if index < last or not isinstance(statements[index], ast.Assign | ast.Expr | ast.Return):
            yield from bound_in(statements[index])


def _held(value: ast.expr, name: str, taken: set[str], kept: list[ast.stmt]) -> ast.expr:
    """Return a name or constant for what a partial holds, which a new variable keeps where it is anything else."""
    if isinstance(value, ast.Name | ast.Constant):
        return value
    variable = other_name(f"{name}_held", taken)
    taken.add(variable)
    kept.append(ast.Assign(targets=[ast.Name(id=variable, ctx=ast.Store())], value=value, lineno=0))
    return ast.Name(id=variable, ctx=ast.Load())
