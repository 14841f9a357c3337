"""A program made short: of a file, what some statements need, with what is known of their arguments worked in."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from conformance.reproduce.fold import (
    BFLOAT16,
    Known,
    Names,
    NotNone,
    Value,
    bound_in,
    certain,
    evaluate,
    fold_function,
    fold_statements,
)
from conformance.reproduce.text import Edit, Text

#: More rounds than any chain of calls is long.
_ROUNDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The statements of a file, and statements that use them."""

    definitions: str
    main: str


def specialize(program: Program, names: Names) -> Program:
    """Return the program with what it never reaches left out and `names`, of variables of `main`, worked in.

    A parameter is replaced by its value where every call passes the same one, and left out where nothing reads
    it. A function that is passed on, decorated, or called with a star keeps its parameters as they are.
    """
    program = replace(program, definitions=_plain(program.definitions))
    for _ in range(_ROUNDS):
        before = program
        program = _dropped(_folded(_reached(program), names))
        if program == before:
            break
    return program


def parameters(function: ast.FunctionDef) -> list[ast.arg]:
    """Return the parameters that a call gives by position or by name."""
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def _plain(definitions: str) -> str:
    """Return the file without annotations, which name what only its type checker needs."""
    text, tree = Text(definitions), ast.parse(definitions)
    fields = {id(each) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for each in node.body}
    edits: list[Edit] = []
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef():
                edits.append(_signature(text, node, ()))
            case ast.AnnAssign(value=ast.expr()) if id(node) not in fields:
                edits.append((text.end(node.target), text.end(node.annotation), ""))
            case _:
                pass
    return text.edited(edits)


def _signature(text: Text, function: ast.FunctionDef, left_out: Iterable[str]) -> Edit:
    """Return the edit that writes the function's head without annotations and without those parameters."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = dict(zip([each.arg for each in positional][::-1], arguments.defaults[::-1], strict=False))
    defaults |= {
        each.arg: given for each, given in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if given
    }

    def written(several: Iterable[ast.arg]) -> list[str]:
        return [
            each.arg
            + (f"={text.text[text.start(given) : text.end(given)]}" if (given := defaults.get(each.arg)) else "")
            for each in several
            if each.arg not in left_out
        ]

    words = written(arguments.posonlyargs)
    words += ["/"] if words else []
    words += written(arguments.args)
    named = written(arguments.kwonlyargs)
    words += [f"*{arguments.vararg.arg}"] if arguments.vararg else ["*"] if named else []
    words += named
    words += [f"**{arguments.kwarg.arg}"] if arguments.kwarg else []
    parts = [*ast.walk(arguments), *([function.returns] if function.returns else [])]
    last = max((text.end(each) for each in parts if hasattr(each, "end_lineno")), default=text.start(function))
    return text.start(function), text.text.index(":", last), f"def {function.name}({', '.join(words)})"


def _reached(program: Program) -> Program:
    """Return the program without the definitions that nothing reaches from `main` or from what acts on import."""
    text, tree = Text(program.definitions), ast.parse(program.definitions)
    needed = _names(ast.parse(program.main))
    kept: set[int] = {index for index, each in enumerate(tree.body) if _acts(each)}
    for index in kept:
        needed |= _needs(tree.body[index])
    given = [defined(each) for each in tree.body]
    while True:
        more = {index for index, names in enumerate(given) if index not in kept and names & needed}
        if not more:
            break
        kept |= more
        for index in more:
            needed |= _needs(tree.body[index])
    statements = [each for index, each in enumerate(tree.body) if index in kept]
    return replace(program, definitions="".join(_joined(text, statements, needed)))


def _joined(text: Text, statements: Iterable[ast.stmt], needed: set[str]) -> Iterator[str]:
    before: ast.stmt | None = None
    for each in statements:
        if before is not None:
            large = isinstance(each, ast.FunctionDef | ast.ClassDef) or isinstance(
                before, ast.FunctionDef | ast.ClassDef
            )
            importing = isinstance(before, ast.Import | ast.ImportFrom)
            yield "\n\n" if large else "\n" if importing and not isinstance(each, ast.Import | ast.ImportFrom) else ""
        before = each
        match each:
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                used = [alias for alias in names if (alias.asname or alias.name.partition(".")[0]) in needed]
                yield ast.unparse(_importing(each, used)) + "\n"
            case _:
                start, end = text.whole(each)
                yield text.text[start:end]


def _importing(statement: ast.Import | ast.ImportFrom, names: list[ast.alias]) -> ast.stmt:
    if isinstance(statement, ast.Import):
        return ast.Import(names=names)
    return ast.ImportFrom(module=statement.module, names=names, level=statement.level)


def _acts(statement: ast.stmt) -> bool:
    """Return whether a statement of a file does something beyond giving a value to names."""
    match statement:
        case ast.Expr(value=ast.Constant()):
            return False
        case ast.Assign(targets=targets):
            return not all(isinstance(each, ast.Name | ast.Tuple) for each in targets)
        case ast.AnnAssign() | ast.FunctionDef() | ast.ClassDef() | ast.Import() | ast.ImportFrom():
            return False
        case _:
            return True


def defined(node: ast.AST) -> set[str]:
    """Return the names that a statement, or a whole file, gives a value at its outermost level."""
    table = symtable.symtable(ast.unparse(node), "", "exec")
    return {each.get_name() for each in table.get_symbols() if each.is_assigned() or each.is_imported()}


def _names(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)}


def _needs(statement: ast.stmt) -> set[str]:
    """Return the names of the file that a statement of it reads, now or when it is called."""
    if not isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return _names(statement)
    tables = [symtable.symtable(ast.unparse(statement), statement.name, "exec")]
    found: set[str] = set()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        outermost = table.get_type() == "module"
        found |= {each.get_name() for each in table.get_symbols() if each.is_global() or outermost}
    return found


class _Parsed:
    """A program's syntax, and every call of a function of its own that can be followed."""

    def __init__(self, program: Program) -> None:
        self.texts = (Text(program.definitions), Text(program.main))
        self.trees = (ast.parse(program.definitions), ast.parse(program.main))
        defined = [each for each in self.trees[0].body if isinstance(each, ast.FunctionDef)]
        self.functions = {each.name: each for each in defined}
        #: By function: in which text, inside which statement, and the call.
        self.sites: dict[str, list[tuple[Text, ast.stmt, ast.Call]]] = {name: [] for name in self.functions}
        self.followed = {
            each.name
            for each in defined
            if not (each.decorator_list or each.args.vararg or each.args.kwarg)
            and [other.name for other in defined].count(each.name) == 1
        }
        for text, tree in zip(self.texts, self.trees, strict=True):
            for statement in tree.body:
                self._follow(text, statement)

    def _follow(self, text: Text, statement: ast.stmt) -> None:
        """Note the calls inside a statement; a function that is otherwise named there is not to be followed."""
        local = set(bound_in(statement)) if isinstance(statement, ast.FunctionDef | ast.ClassDef) else set[str]()
        called: set[int] = set()
        for node in ast.walk(statement):
            match node:
                case ast.Call(func=ast.Name(id=name) as function) if name in self.functions:
                    starred = any(isinstance(each, ast.Starred) for each in node.args)
                    if not starred and all(each.arg for each in node.keywords):
                        called.add(id(function))
                        self.sites[name].append((text, statement, node))
                case _:
                    pass
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and (id(node) not in called or node.id in local):
                self.followed.discard(node.id)


def _folded(program: Program, names: Names) -> Program:
    """Return the program with the values of parameters that are the same at every call in their places."""
    parsed = _Parsed(program)
    always: dict[str, Known] = {BFLOAT16: names[BFLOAT16]} if BFLOAT16 in names else {}
    known: dict[str, dict[str, Known]] = {name: {} for name in parsed.functions}
    for _ in range(_ROUNDS):
        found = {
            name: _agreed(parsed, name, known, names) if name in parsed.followed else {} for name in parsed.functions
        }
        if found == known:
            break
        known = found
    text = parsed.texts[0]
    edits: list[Edit] = []
    for statement in parsed.trees[0].body:
        match statement:
            case ast.FunctionDef(name=name):
                edits += fold_function(text, statement, {**known[name], **always})
            case ast.ClassDef():
                edits += fold_statements(text, [statement], always)
            case _:
                pass
    return replace(program, definitions=text.edited(edits))


def _agreed(parsed: _Parsed, name: str, known: Mapping[str, Mapping[str, Known]], names: Names) -> dict[str, Known]:
    """Return what every call of the function says of its parameters."""
    found: dict[str, Known] = {}
    for parameter in parameters(parsed.functions[name]):
        said = []
        for text, statement, call in parsed.sites[name]:
            if text is parsed.texts[1]:
                about: Names = names
            elif isinstance(statement, ast.FunctionDef):
                about = certain(statement, known[statement.name])
            else:
                about = {}
            given = argument(parsed.functions[name], call, parameter.arg)
            said.append(None if given is None else evaluate(given, about))
        one = _met(said)
        if one is not None:
            found[parameter.arg] = one
    return found


def argument(function: ast.FunctionDef, call: ast.Call, name: str) -> ast.expr | None:
    """Return what a call gives for a parameter, by position, by name or by default."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    positional = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    if name in positional:
        place = positional.index(name)
        if place < len(call.args):
            return call.args[place]
        place -= len(positional) - len(function.args.defaults)
        return function.args.defaults[place] if place >= 0 else None
    return function.args.kw_defaults[[each.arg for each in function.args.kwonlyargs].index(name)]


def _met(said: list[Known | None]) -> Known | None:
    """Return what holds of all of these."""
    if not said or any(each is None for each in said):
        return None
    first, *others = said
    # 1, 1.0 and True are equal, and not the same.
    if all(repr(each) == repr(first) for each in others):
        return first
    return None if any(isinstance(each, Value) and each.value is None for each in said) else NotNone()


def _dropped(program: Program) -> Program:
    """Return the program without the parameters that nothing reads."""
    parsed = _Parsed(program)
    edits: dict[Text, list[Edit]] = {text: [] for text in parsed.texts}
    for name in parsed.followed:
        function = parsed.functions[name]
        unread = {
            each.arg
            for each in parameters(function)
            if not _read(function, each.arg)
            and all(_plain_value(argument(function, call, each.arg)) for _, _, call in parsed.sites[name])
        }
        if unread:
            edits[parsed.texts[0]].append(_signature(parsed.texts[0], function, unread))
            for text, _, call in parsed.sites[name]:
                edits[text] += _without(text, function, call, unread)
    definitions, main = (text.edited(edits[text]) for text in parsed.texts)
    return Program(definitions=definitions, main=main)


def _read(function: ast.FunctionDef, name: str) -> bool:
    """Return whether the function reads the parameter before it gives the name another value, if it ever does."""
    for statement in function.body:
        if name in _names(statement):
            return True
        match statement:
            case ast.Assign(targets=[ast.Name(id=target)]) if target == name:
                return False
            case _ if name in bound_in(statement):
                return True
            case _:
                pass
    return False


def _plain_value(node: ast.expr | None) -> bool:
    """Return whether leaving the expression out leaves nothing undone."""
    return node is None or not any(isinstance(each, ast.Call | ast.NamedExpr | ast.Await) for each in ast.walk(node))


def _without(text: Text, function: ast.FunctionDef, call: ast.Call, unread: set[str]) -> Iterator[Edit]:
    """Yield the edits that leave those arguments out of a call."""
    given: list[ast.expr | ast.keyword] = [*call.args, *call.keywords]
    left_out = {id(argument(function, call, name)) for name in unread}
    gone = [id(each.value if isinstance(each, ast.keyword) else each) in left_out for each in given]
    for index, each in enumerate(given):
        if not gone[index]:
            continue
        if index + 1 < len(given):
            yield text.start(each), text.start(given[index + 1]), ""
            continue
        kept = [other for other, left in zip(given, gone, strict=True) if not left]
        start, end = text.end(kept[-1]) if kept else text.start(given[0]), text.end(each)
        if not kept and text.text[end:].lstrip().startswith(","):
            end = text.text.index(",", end) + 1
        yield start, end, ""
