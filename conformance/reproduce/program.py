"""A program made short: of a file, what some statements need, with what is known of their arguments worked in."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from conformance.reproduce.caches import without_caches
from conformance.reproduce.calls import Calls, argument, parameters
from conformance.reproduce.evaluation import BFLOAT16, UPSTREAM, Known, Names, NotNone, Table, Value, evaluate, literal
from conformance.reproduce.fold import certain, fold_function, fold_statements
from conformance.reproduce.inline import all_joined, inlined
from conformance.reproduce.names import bound_in, defined, free_in, is_name, loaded_in, needed_by, walk
from conformance.reproduce.namespaces import fields_of, without_unread
from conformance.reproduce.order import does_nothing, simple
from conformance.reproduce.partials import without_partials
from conformance.reproduce.scopes import names_in_main
from conformance.reproduce.text import is_comment, parsed, unparsed
from conformance.reproduce.unpacked import unpacked

#: More rounds than any chain of calls is long.
_ROUNDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The statements of a file, and statements that use them."""

    definitions: str
    main: str


def specialize(program: Program, names: Names, constants: Names | None = None) -> Program:
    """Return the program with what it never reaches left out and what is known worked in.

    `names` are known of variables of `main`, `constants` of names of the file. A parameter is replaced by its value
    where every call passes the same one, and left out where nothing reads it. A function that is called once stands
    where it is called, and so does one that is a short expression. A function that is passed on, decorated, or called
    with a star stays as it is.
    """
    definitions, main = _plain(parsed(program.definitions).body), parsed(program.main).body
    own = {name for statement in main for name in bound_in(statement)}
    before = None
    for _ in range(_ROUNDS):
        definitions = _reached(definitions, main)
        definitions, main = _folded(definitions, main, names, dict(constants or {}), own)
        definitions, main = _dropped(definitions, main)
        definitions, main = without_caches(definitions, main)
        definitions, main = without_unread(definitions, main)
        definitions, main = without_partials(definitions, main, names_in_main(definitions, main))
        definitions, main = inlined(definitions, main)
        main = unpacked(definitions, main, own)
        after = [ast.unparse(statement) for statement in (*definitions, *main)]
        if after == before:
            break
        before = after
    definitions, main = all_joined(definitions, main)
    return Program(definitions=unparsed(definitions), main=unparsed(main))


def _plain(definitions: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Return the file without annotations, which name what only its type checker needs."""
    return [_Plain().visit(statement) for statement in definitions]


class _Plain(ast.NodeTransformer):
    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        # The first paragraph of a docstring says what the function is for.
        match node.body[0]:
            case ast.Expr(value=ast.Constant(value=str() as text) as docstring):
                docstring.value = " ".join(text.partition("\n\n")[0].split())
            case _:
                pass
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return node
        return ast.copy_location(ast.Assign(targets=[node.target], value=node.value), node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        # The annotations of a class's fields are what makes it a dataclass.
        node.body = [item if isinstance(item, ast.AnnAssign) else self.visit(item) for item in node.body]
        return node


def _reached(definitions: Sequence[ast.stmt], main: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Return the definitions that something reaches from `main` or from what acts on import, with their comments."""
    names_by_index = [set[str]() if is_comment(statement) else defined(statement) for statement in definitions]
    needed = {name for statement in main for name in loaded_in(statement)}
    kept = set[int]()
    more = {index for index, statement in enumerate(definitions) if _acts(statement) or names_by_index[index] & needed}
    while more:
        kept |= more
        needed |= {name for index in more for name in needed_by(definitions[index])}
        more = {index for index, names in enumerate(names_by_index) if index not in kept and names & needed}
    reached: list[ast.stmt] = []
    comments: list[ast.stmt] = []
    for index, statement in enumerate(definitions):
        if is_comment(statement):
            comments.append(statement)
            continue
        if index in kept:
            reached += [*comments, _importing(statement, needed)]
        comments = []
    return reached


def _importing(statement: ast.stmt, needed: Collection[str]) -> ast.stmt:
    """Return the statement, an import with the names that are needed alone."""
    match statement:
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            statement.names = [name for name in names if (name.asname or name.name.partition(".")[0]) in needed]
        case _:
            pass
    return statement


def _acts(statement: ast.stmt) -> bool:
    """Return whether a statement of a file does something beyond giving a value to names."""
    match statement:
        case ast.Expr(value=ast.Constant()):
            return False
        case ast.Assign(targets=targets):
            return not all(isinstance(target, ast.Name | ast.Tuple) for target in targets)
        case ast.AnnAssign() | ast.FunctionDef() | ast.ClassDef() | ast.Import() | ast.ImportFrom():
            return False
        case _:
            return True


def _folded(
    definitions: list[ast.stmt],
    main: list[ast.stmt],
    names: Names,
    constants: Mapping[str, Known],
    own: Collection[str],
) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """Return the program with the values of parameters that are the same at every call in their places."""
    bound = [name for statement in main for name in bound_in(statement)]
    about = {name: fact for name, fact in {**names, **fields_of(definitions, main)}.items() if bound.count(name) < 2}
    about |= fields_of(definitions, main)
    fixed = {**constants, **_scalars(definitions), **_tables(definitions, main)}
    calls = Calls(definitions, main)
    told = {UPSTREAM: names[UPSTREAM]} if UPSTREAM in names else {}
    facts: dict[str, dict[str, Known]] = {name: {} for name in calls.functions}
    for _ in range(_ROUNDS):
        agreed = {
            name: {
                **(told if UPSTREAM in {parameter.arg for parameter in parameters(function)} else {}),
                **(_agreed(calls, name, facts, {**fixed, **about}) if name in calls.followed else {}),
            }
            for name, function in calls.functions.items()
        }
        if agreed == facts:
            break
        facts = agreed
    always = {**fixed, **({BFLOAT16: names[BFLOAT16]} if BFLOAT16 in names else {})}
    folded: list[ast.stmt] = []
    for statement in definitions:
        match statement:
            case ast.FunctionDef(name=name):
                folded.append(fold_function(statement, {**facts[name], **always}, fixed))
            case _ if is_comment(statement):
                folded.append(statement)
            case _:
                hidden = set(bound_in(statement))
                folded += fold_statements([statement], {n: k for n, k in always.items() if n not in hidden})
    kept = {*own, *(name for statement in definitions for name in free_in(statement))}
    once = {name for statement in main for name in _given_by(statement) if bound.count(name) == 1} - kept
    return folded, fold_statements(main, {**fixed, **about, **always}, once)


def _given_by(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]):
            return [name]
        case _:
            return []


def _tables(definitions: Iterable[ast.stmt], main: Iterable[ast.stmt]) -> dict[str, Known]:
    """Return the names of the file for dictionaries of names and literals, which are asked for entries alone."""
    everything = [*definitions, *main]
    bound = [name for statement in everything for name in bound_in(statement)]
    asked = [
        node.value.id
        for statement in everything
        for node in walk(statement)
        if isinstance(node, ast.Subscript) and is_name(node.value) and isinstance(node.ctx, ast.Load)
    ]
    tables: dict[str, Known] = {}
    for statement in definitions:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(keys=keys, values=values)):
                literals = [key.value for key in keys if isinstance(key, ast.Constant)]
                loads = sum(loaded_in(other).count(name) for other in everything)
                whole = len(literals) == len(keys) and bound.count(name) == 1 and loads == asked.count(name)
                if whole and all(simple(value) for value in values):
                    tables[name] = Table(tuple(zip(literals, values, strict=True)))
            case _:
                pass
    return tables


def _scalars(definitions: Iterable[ast.stmt]) -> dict[str, Known]:
    """Return the names of the file that are given one literal value, once."""
    bound = [name for statement in definitions for name in bound_in(statement)]
    return {
        target.id: Value(statement.value.value)
        for statement in definitions
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)
        for target in statement.targets
        if is_name(target) and bound.count(target.id) == 1 and literal(Value(statement.value.value))
    }


def _agreed(calls: Calls, name: str, facts: Mapping[str, Mapping[str, Known]], names: Names) -> dict[str, Known]:
    """Return what every call of the function says of its parameters."""
    agreed: dict[str, Known] = {}
    for parameter in parameters(calls.functions[name]):
        values = []
        for site in calls.sites[name]:
            if site.main:
                about: Names = names
            elif isinstance(site.statement, ast.FunctionDef):
                about = certain(site.statement, facts[site.statement.name])
            else:
                about = {}
            value = argument(calls.functions[name], site.call, parameter.arg)
            values.append(None if value is None else evaluate(value, about))
        fact = _met(values)
        if fact is not None:
            agreed[parameter.arg] = fact
    return agreed


def _met(facts: Sequence[Known | None]) -> Known | None:
    """Return what holds of all of these."""
    if not facts or any(fact is None for fact in facts):
        return None
    first, *others = facts
    # 1, 1.0 and True are equal, and not the same.
    if all(repr(fact) == repr(first) for fact in others):
        return first
    return None if any(isinstance(fact, Value) and fact.value is None for fact in facts) else NotNone()


def _dropped(definitions: list[ast.stmt], main: list[ast.stmt]) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """Return the program without the parameters that nothing reads."""
    calls = Calls(definitions, main)
    for name, function in calls.functions.items():
        if name not in calls.followed:
            continue
        unread = {
            parameter.arg
            for parameter in parameters(function)
            if not _read(function, parameter.arg)
            and all(_passes(argument(function, site.call, parameter.arg)) for site in calls.sites[name])
        }
        if unread:
            for site in calls.sites[name]:
                _leave_out(function, site.call, unread)
            _leave_out_of_head(function, unread)
    return definitions, main


def _read(function: ast.FunctionDef, name: str) -> bool:
    """Return whether the function reads the parameter before it gives the name another value, if it ever does."""
    for statement in function.body:
        if name in loaded_in(statement):
            return True
        match statement:
            case ast.Assign(targets=[ast.Name(id=target)]) if target == name:
                return False
            case _ if name in bound_in(statement):
                return True
            case _:
                pass
    return False


def _passes(node: ast.expr | None) -> bool:
    return node is None or does_nothing(node)


def _leave_out(function: ast.FunctionDef, call: ast.Call, unread: Collection[str]) -> None:
    """Leave those arguments out of a call."""
    gone = {id(argument(function, call, name)) for name in unread}
    call.args = [value for value in call.args if id(value) not in gone]
    call.keywords = [keyword for keyword in call.keywords if id(keyword.value) not in gone]


def _leave_out_of_head(function: ast.FunctionDef, unread: Collection[str]) -> None:
    """Leave those parameters out of a function's head, with their defaults."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    first = len(positional) - len(arguments.defaults)
    arguments.defaults = [
        default
        for parameter, default in zip(positional[first:], arguments.defaults, strict=True)
        if parameter.arg not in unread
    ]
    named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    arguments.kw_defaults = [default for parameter, default in named if parameter.arg not in unread]
    for several in (arguments.posonlyargs, arguments.args, arguments.kwonlyargs):
        several[:] = [parameter for parameter in several if parameter.arg not in unread]
