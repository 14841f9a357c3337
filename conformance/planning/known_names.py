"""Which names of implementations and ids of cases there are, from the texts of the files alone: no import, no case made.

A name that an adapter puts together from parts is a glob here (`keras.layers.BatchNormalization+*`), and so is the id
of a case with a matrix. A person's own glob is refused only where it can match none of them.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from conformance.errors import UsageError, nearest
from conformance.spec.locations import adapter_files, spec_folder

_ID = re.compile(r"^ *(?:- )? *id: *['\"]?([^\s'\"#]+)", re.MULTILINE)
_CLASS = re.compile(r"\[[^\]]+\]")


def check_names(
    implementations: Iterable[str], cases: Iterable[str], *, own_adapters: bool, folder: str | None = "cases"
) -> None:
    """Raise `UsageError` for the first glob that can match nothing, with the name that is nearest.

    `own_adapters`: implementations may come from adapters of a person's own, whose names no text tells. `folder` of the
    spec has the cases; None: they are a person's own.
    """
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow, and most commands ask for no name

    names = [] if own_adapters or entry_points(group="conformance.adapters") else implementation_names(adapter_files())
    _check("--implementation", "implementation", implementations, names)
    ids = case_ids(spec_folder() / folder) if folder else []
    _check("--case", "case", cases, ids)


def implementation_names(files: Iterable[Path]) -> list[str]:
    """Return the names, or globs of them, of the implementations that these adapters and their libraries' files make."""
    folders = dict.fromkeys(file.parent for file in files)
    return list(dict.fromkeys(name for folder in folders for name in _names_of(folder)))


def may_hold(file: Path, globs: Iterable[str]) -> bool:
    """Return whether an adapter's file may make an implementation that one of the globs matches; any may where there is none.

    Its rows may be those of the library's own files whose names begin with `_`, as they stand there.
    """
    globs = tuple(globs)
    names = tuple(_names_of(file.parent, (file, *sorted(file.parent.glob("_*.py"))))) if globs else ()
    return not globs or any(meet(glob, name) for glob in globs for name in names)


def case_ids(folder: Path) -> list[str]:
    """Return the ids of the entries of the case files of a folder, each also with whatever a matrix may add to it."""
    texts = (file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.yaml")))
    ids = dict.fromkeys(id_ for text in texts for id_ in _ID.findall(text))
    return [*ids, *(f"{id_}/*" for id_ in ids)]


def meet(first: str, second: str) -> bool:
    """Return whether some text matches both globs. A class of characters, as `[ab]`, counts as any one character."""

    @functools.cache
    def meet_from(i: int, j: int) -> bool:
        if i == len(one) or j == len(two):
            return not (one[i:] + two[j:]).strip("*")
        if one[i] == "*":
            return meet_from(i + 1, j) or meet_from(i, j + 1)
        if two[j] == "*":
            return meet_from(i, j + 1) or meet_from(i + 1, j)
        return (one[i] == two[j] or "?" in (one[i], two[j])) and meet_from(i + 1, j + 1)

    one, two = _CLASS.sub("?", first), _CLASS.sub("?", second)
    return meet_from(0, 0)


def _check(option: str, thing: str, globs: Iterable[str], names: list[str]) -> None:
    for glob in globs if names else ():
        if not any(meet(glob, name) for name in names):
            whole, first = nearest(glob, names), nearest(_first(glob), map(_first, names))
            meant = first or whole if "*" in glob else whole or first
            raise UsageError(f"{option} {glob}: no such {thing}{meant}")


def _first(name: str) -> str:
    """Return the word before the first dot: a library, a family of cases."""
    return f"{name.partition('.')[0].strip('*')}.*"


def _names_of(folder: Path, files: Iterable[Path] | None = None) -> Iterator[str]:
    """Yield the names of the implementations of a library, or of some of its files.

    One that begins with another's name begins with each of the library.
    """
    whole = [name for file in sorted(folder.glob("*.py")) for name in _names_in(file) if not name.startswith("*")]
    for file in sorted(folder.glob("*.py")) if files is None else files:
        for name in _names_in(file):
            yield from (f"{first}{name[1:]}" for first in whole) if name.startswith("*") else (name,)


@functools.cache
def _names_in(file: Path) -> tuple[str, ...]:
    """Return the name of every implementation that a file makes: those of layers' own weights are methods' arguments."""
    made = (node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    keywords = (keyword for call in made if isinstance(call.func, ast.Name) for keyword in call.keywords)
    return tuple(_glob(keyword.value) for keyword in keywords if keyword.arg == "name")


def _glob(value: ast.expr) -> str:
    match value:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return re.sub(r"\*+", "*", "".join(map(_glob, parts)))
        case _:
            return "*"
