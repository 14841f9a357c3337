"""What the main part of a script calls its own, and names that are not in use."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Collection, Iterable, Iterator, Sequence

from conformance.reproduce.names import bound_in, defined, is_name, walk
from conformance.reproduce.text import is_comment

#: What belongs to the script.
RESERVED = {"configuration", "initial", "native", "live", "owner", "seen", "given", "np"}


def names_in_main(definitions: Iterable[ast.stmt], main: Iterable[ast.stmt]) -> set[str]:
    """Return the names that a new variable of the main part must not have."""
    names = RESERVED | set(dir(builtins))
    for statement in main:
        names |= {node.id for node in walk(statement) if is_name(node)} | set(bound_in(statement))
    return names | {name for statement in definitions if not is_comment(statement) for name in defined(statement)}


def other_name(name: str, reserved: Collection[str]) -> str:
    """Return the name, or with the first number, from 2, with which it is not reserved."""
    number, candidate = 2, name
    while candidate in reserved:
        number, candidate = number + 1, f"{name}{number}"
    return candidate


def straight(block: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements one after the other, the items of a `with` before its body."""
    for statement in block:
        if isinstance(statement, ast.With):
            yield ast.With(items=statement.items, body=[])
            yield from straight(statement.body)
        else:
            yield statement
