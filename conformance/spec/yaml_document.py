"""A YAML document as plain values, with the position of each.

Scalars follow YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema), under which `1e-5` is a
number; PyYAML's own resolver is YAML 1.1, under which it is a string. Duplicate keys, tags, and documents
that expand beyond a limit are refused.
"""

from __future__ import annotations

import contextlib
import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from conformance.errors import Place, SpecError
from conformance.spec.budgets import DEPTH, FILE_BYTES, VALUES, mebibytes

#: Tags are refused before anything is composed, so that there is none to resolve.
_Loader: Any = type("_Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {"resolve": lambda *_: ""})

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_SIGNIFICANT = re.compile(r"[-+.0]*[1-9]")
_TOO_LARGE = "larger than any number that float64 holds; infinity is .inf"
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
#: The events of so many values: of each at most two, and its key.
_EVENTS = 3 * VALUES
#: A key of YAML 1.1, which YAML 1.2 does not have.
_MERGE = "<<"


@dataclass(slots=True, kw_only=True)
class Document:
    """Plain values, and for each path into them the place in the file."""

    file: str
    value: Any
    #: What the values were built from; None of an empty file.
    root: yaml.Node | None = None

    def place(self, path: tuple[str | int, ...]) -> Place:
        """Return the place of the longest part of `path` that the file has."""
        if self.root is None:
            return Place(file=self.file)
        mark, node = self.root.start_mark, self.root
        for part in path:
            child = _child(node, part)
            if child is None:
                break
            mark, node = child
        return _place(mark, self.file)

    def error(self, path: tuple[str | int, ...], message: str, key: str | None = None) -> SpecError:
        """Return the error that something is wrong at `path`."""
        shown = key if key is not None else ".".join(str(part) for part in path)
        return SpecError(place=self.place(path), key=shown, message=message)


def load(path: Path, name: str | None = None) -> Document:
    """Return the document in the file at `path`. Raises `SpecError`; `name` is what errors call the file."""
    shown = name or str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES + 1)
        if len(raw) > FILE_BYTES:
            raise SpecError(place=Place(file=shown), key="", message=f"has more than {mebibytes(FILE_BYTES)}")
        text = raw.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(place=Place(file=shown), key="", message=f"cannot be read: {error}") from error
    return parse(text, shown)


def parse(text: str, file: str) -> Document:
    """Return the document in `text`. Raises `SpecError`."""
    try:
        _scan(text, file)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = _place(mark, file) if mark else Place(file=file)
        raise SpecError(place=place, key="", message=f"not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        first = str(error).partition("\n")[0]
        raise SpecError(place=Place(file=file), key="", message=f"not YAML: {first}") from error
    return Document(file=file, value=None if node is None else _Builder(file).build(node, 0), root=node)


def _scan(text: str, file: str) -> None:
    """Refuse tags and deep nesting before anything is composed: libyaml's composer overflows the C stack."""
    try:
        _refuse(text, file)
    except yaml.MarkedYAMLError as error:
        # A release may refuse deep nesting itself, in words and at a depth of its own, and reads up to 1,024
        # characters ahead of the first event that it hands over: what stands before its complaint is asked alone.
        if error.problem_mark is not None and error.problem_mark.index < len(text):
            with contextlib.suppress(yaml.YAMLError):  # cut off, it is no whole document; the first error stands
                _refuse(text[: error.problem_mark.index], file)
        raise


def _refuse(text: str, file: str) -> None:
    """Raise `SpecError` where the text has a tag, too many values or too deep ones, and PyYAML's where it is no YAML."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if count > _EVENTS:
            message = f"has more than {VALUES:,} values"
            raise SpecError(place=_place(event.start_mark, file), key="", message=message)
        match event:
            case yaml.CollectionStartEvent():
                depth += 1
            case yaml.CollectionEndEvent():
                depth -= 1
            case _:
                pass
        tag = getattr(event, "tag", None)
        if tag is not None:
            message = f"the tag {tag} is refused: only plain values may stand here"
            raise SpecError(place=_place(event.start_mark, file), key="", message=message)
        if depth > DEPTH:
            message = f"nests more than {DEPTH} levels"
            raise SpecError(place=_place(event.start_mark, file), key="", message=message)


def _place(mark: Any, file: str) -> Place:
    return Place(file=file, line=mark.line + 1, column=mark.column + 1)


def _child(node: yaml.Node, part: str | int) -> tuple[Any, yaml.Node] | None:
    """Return where a part of a collection begins, a mapping's at its key, and the part; None where there is none."""
    match node, part:
        case yaml.MappingNode(), str():
            return next(((key.start_mark, value) for key, value in node.value if str(key.value) == part), None)
        case yaml.SequenceNode(), int() if 0 <= part < len(node.value):
            return node.value[part].start_mark, node.value[part]
        case _:
            return None


class _Builder:
    """Turns composed nodes into values."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.count = 0

    def build(self, node: yaml.Node, depth: int) -> Any:
        self.count += 1
        if self.count > VALUES or depth > DEPTH:
            limit = f"{VALUES:,} values" if self.count > VALUES else f"{DEPTH} levels"
            raise self._error(node, f"expands to more than {limit}")
        match node:
            case yaml.MappingNode():
                return self._mapping(node, depth)
            case yaml.SequenceNode():
                return [self.build(item, depth + 1) for item in node.value]
            case _:
                return node.value if getattr(node, "style", None) else self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if not isinstance(key_node, yaml.ScalarNode) or (key == _MERGE and not key_node.style):
                raise self._error(key_node, "a key must be a plain word")
            if key in result:
                raise self._error(key_node, "stands twice in this mapping", key)
            result[key] = self.build(value_node, depth + 1)
        return result

    def _scalar(self, node: yaml.Node) -> Any:
        try:
            return _scalar(str(node.value))
        except ValueError as error:  # Python's limit on the digits of an integer
            raise self._error(node, f"not a number to read: {error}") from error

    def _error(self, node: yaml.Node, message: str, key: str = "") -> SpecError:
        return SpecError(place=_place(node.start_mark, self.file), key=key, message=message)


def _scalar(text: str) -> Any:
    if text in _SPECIAL:
        return _SPECIAL[text]
    if _INTEGER.fullmatch(text):
        integer = int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        if abs(integer) > sys.float_info.max:
            raise ValueError(_TOO_LARGE)
        return integer
    if _FLOAT.fullmatch(text):
        number = float(text)
        if math.isinf(number):
            raise ValueError(_TOO_LARGE)
        if not number and _SIGNIFICANT.match(text):
            raise ValueError("nearer to 0 than any number that float64 holds")
        return number
    return text
