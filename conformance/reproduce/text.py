"""Python text to syntax tree and back: comments survive as statements, and what is written is short lines.

Between the two a program is only a tree, which every cut changes; nothing counts lines or columns.
"""

from __future__ import annotations

import ast
import io
import json
import re
import textwrap
import tokenize
from collections.abc import Iterator, Sequence

from conformance.reproduce.wrap import WIDTH, wrapped

_COMMENT = re.compile(r"^(\s*)(b['\"]#.*)$")
_DOCSTRING = re.compile(r'^(\s+)""".*"""$')
#: What goes on with a statement that began above: no other statement may stand before it.
_CONTINUES = {"elif", "else", "except", "finally", "case"}
#: For tools alone.
_PRAGMA = re.compile(r"#\s*(noqa|type:)")
#: Whole numbers from here on are bit patterns, which are read in hexadecimal.
_BITS = 2**32


def parsed(source: str) -> ast.Module:
    """Return the tree of a text in which each comment beside or above a statement is a statement, a bytes literal."""
    lines = source.splitlines()
    above: dict[int, list[str]] = {}
    for line, comment in _placed(source):
        above.setdefault(line, []).append(f"{_indentation(lines, line)}{comment.encode()!a}")
    numbered = enumerate([*lines, ""], start=1)
    return ast.parse("\n".join(text for number, line in numbered for text in [*above.get(number, []), line]))


def is_comment(statement: ast.stmt) -> bool:
    """Return whether the statement stands for a comment."""
    return isinstance(statement, ast.Expr) and isinstance(getattr(statement.value, "value", None), bytes)


def unparsed(statements: Sequence[ast.stmt]) -> str:
    """Return the text of statements, with a blank line around definitions and no line that could be shorter."""
    parts = []
    large = first = True
    for statement in statements:
        definition = isinstance(statement, ast.FunctionDef | ast.ClassDef)
        if not first:
            parts.append("\n" if (large or definition) else "")
        comment = is_comment(statement)
        parts.append(_written_out(statement) + "\n")
        # A comment belongs to what follows it.
        first, large = comment, definition
    return "".join(parts)


def written(value: object) -> str:
    """Return a literal value as source text, with double quotes where repr has single ones."""
    match value:
        case str():
            return json.dumps(value, ensure_ascii=False)
        case tuple():
            return f"({', '.join(map(written, value))}{',' if len(value) == 1 else ''})"
        case _:
            return repr(value)


def _placed(source: str) -> Iterator[tuple[int, str]]:
    """Yield the comments outside of brackets, each with the line that it comes before."""
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    depth, start, pending = 0, None, list[str]()
    for before, token in zip([tokens[0], *tokens], tokens, strict=False):
        if token.type == tokenize.OP:
            depth += (token.string in "([{") - (token.string in ")]}")
        elif token.type == tokenize.COMMENT and not depth and not _PRAGMA.match(token.string):
            if start is not None and before.string != ":":
                yield start.start[0], token.string
            else:
                pending.append(token.string)
        if token.type == tokenize.NEWLINE:
            start = None
        elif start is None and token.type not in (
            tokenize.COMMENT,
            tokenize.NL,
            tokenize.INDENT,
            tokenize.DEDENT,
        ):
            start = token
            if token.string not in _CONTINUES and token.type != tokenize.ENDMARKER:
                yield from ((token.start[0], comment) for comment in pending)
            pending = []


def _indentation(lines: Sequence[str], number: int) -> str:
    line = lines[number - 1]
    return line[: len(line) - len(line.lstrip())]


def _written_out(statement: ast.stmt) -> str:
    """Return one statement with its comments as comments, its strings in double quotes and its lines short."""
    inside = _inside_strings(text := _double_quoted(ast.unparse(statement)))
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if comment := _COMMENT.match(line):
            lines += _comment(comment[1], ast.literal_eval(comment[2]).decode())
        elif number in inside:
            lines.append(line)
        elif len(line) > WIDTH and (opening := _DOCSTRING.match(line)):
            lines += textwrap.wrap(line, WIDTH, subsequent_indent=opening[1])
        else:
            lines += wrapped(line)
    return "\n".join(lines)


def _comment(indentation: str, text: str) -> list[str]:
    """Return the lines of a comment, none of them too long."""
    sign = re.match(r"#\S*", text)
    assert sign is not None
    begin = f"{indentation}{sign[0]} "
    words = text.removeprefix(sign[0]).strip()
    return textwrap.wrap(words, WIDTH, initial_indent=begin, subsequent_indent=begin) or [begin.rstrip()]


def _inside_strings(text: str) -> set[int]:
    """Return the numbers of the lines that a string of several lines covers."""
    return {
        number
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.start[0] != token.end[0]
        for number in range(token.start[0], token.end[0] + 1)
    }


def _double_quoted(text: str) -> str:
    """Return the text with double quotes around its plain strings, and bit patterns in hexadecimal."""
    lines = text.splitlines(keepends=True)
    for token in reversed(list(tokenize.generate_tokens(io.StringIO(text).readline))):
        new = token.string
        if token.type == tokenize.STRING and re.fullmatch(r"'[^'\"\\]*'", new):
            new = f'"{new[1:-1]}"'
        elif token.type == tokenize.NUMBER and new.isdigit() and int(new) >= _BITS:
            new = hex(int(new))
        else:
            continue
        (row, start), (_, end) = token.start, token.end
        lines[row - 1] = lines[row - 1][:start] + new + lines[row - 1][end:]
    return "".join(lines)
