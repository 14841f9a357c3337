"""Python text with replacements at the places of its syntax tree: what is not replaced keeps comments and layout."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable
from typing import TypeAlias

#: Where a replacement begins and ends, as offsets into the text, and what stands there instead.
Edit: TypeAlias = tuple[int, int, str]


class Text:
    """A text and the offsets of the nodes parsed from it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.splitlines(keepends=True)
        self.offsets = [0, *itertools.accumulate(map(len, self.lines))]

    def start(self, node: ast.AST) -> int:
        """Return where the node begins, decorators left out."""
        return self._offset(node.lineno, node.col_offset)  # type: ignore[attr-defined] # expressions and statements

    def end(self, node: ast.AST) -> int:
        """Return where the node ends."""
        return self._offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined] # likewise

    def whole(self, node: ast.stmt) -> tuple[int, int]:
        """Return the lines of a statement, with its decorators and the comments right above it."""
        first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))]) - 1
        while first and self.lines[first - 1].lstrip().startswith("#"):
            first -= 1
        assert node.end_lineno is not None
        return self.offsets[first], self.offsets[node.end_lineno]

    def edited(self, edits: Iterable[Edit], start: int = 0, end: int | None = None) -> str:
        """Return the text from `start` to `end` with the edits in place; one inside another is left out."""
        parts, position = [], start
        for first, last, replacement in sorted(edits, key=lambda edit: (edit[0], -edit[1])):
            if first >= position:
                parts += [self.text[position:first], replacement]
                position = last
        return "".join([*parts, self.text[position:end]])

    def _offset(self, line: int, column: int) -> int:
        # The columns of a syntax tree count bytes.
        return self.offsets[line - 1] + len(self.lines[line - 1].encode()[:column].decode())
