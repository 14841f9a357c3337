"""A line of Python that is too long as several: at its brackets, at its commas, at its operators."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

WIDTH = 100
_OPEN, _CLOSE = "([{", ")]}"
#: Parts up to this long, from this many on, stand several on a line.
_SHORT, _MANY = 48, 4
#: This much of a bracket's inside is nearly all of it.
_NEARLY = 0.8
#: Before these words and signs an expression may go on in the next line, if brackets surround it; the first that is
#: there counts.
_BREAKS = (("for",), ("if", "else"), ("or",), ("and",), ("+", "-"), ("*",))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bracket:
    """A pair of brackets: where its inside begins and ends, and where its parts end."""

    start: int
    end: int
    commas: tuple[int, ...]
    #: Whether it holds a comprehension, whose commas separate no parts.
    loops: bool


def wrapped(line: str) -> list[str]:
    """Return the lines of a statement that is one line, none longer than `WIDTH` if there is where to break it."""
    if len(line) <= WIDTH:
        return [line]
    indentation = " " * (len(line) - len(line.lstrip()))
    pair = _dominant(line)
    rest = line if pair is None else line[: pair.start] + line[pair.end :]
    if pair is None or len(rest) > WIDTH or pair.end - pair.start < len(rest.strip()) // 3:
        return _parenthesized(line, indentation) or ([line] if pair is None else _opened(line, pair, indentation))
    return _opened(line, pair, indentation)


def _dominant(line: str) -> _Bracket | None:
    """Return the longest pair of brackets, or the one inside of it that holds nearly all of it."""
    pair = max(_outermost(line), key=lambda bracket: bracket.end - bracket.start, default=None)
    while pair is not None and not pair.loops:
        inside = max(
            _outermost(line[pair.start : pair.end]), key=lambda bracket: bracket.end - bracket.start, default=None
        )
        if inside is None or inside.end - inside.start < _NEARLY * (pair.end - pair.start):
            break
        length = len(line) - (inside.end - inside.start)
        if length > WIDTH:
            break
        pair = replace(
            inside,
            start=inside.start + pair.start,
            end=inside.end + pair.start,
            commas=tuple(comma + pair.start for comma in inside.commas),
        )
    return pair


def _opened(line: str, pair: _Bracket, indentation: str) -> list[str]:
    """Return the line with the inside of a bracket on lines of its own."""
    inner = indentation + "    "
    inside = line[pair.start : pair.end].strip()
    head, tail = line[: pair.start], indentation + line[pair.end :]
    if pair.loops or not pair.commas:
        body = [inner + inside] if len(inner + inside) <= WIDTH else _broken(inside, inner) or wrapped(inner + inside)
        return [head, *body, *wrapped(tail)]
    ends = [*pair.commas, pair.end]
    starts = [pair.start, *(comma + 1 for comma in pair.commas)]
    parts = [part for start, end in zip(starts, ends, strict=True) if (part := line[start:end].strip())]
    if len(parts) >= _MANY and all(len(part) <= _SHORT for part in parts):
        return [head, *_filled(parts, inner), *wrapped(tail)]
    comma = ","
    if len(parts) > 1 and len(inner + inside) < WIDTH:
        return [head, inner + inside + ("" if inside.endswith(",") else ","), *wrapped(tail)]
    return [head, *(text for part in parts for text in _part(part, inner, comma)), *wrapped(tail)]


def _part(part: str, indentation: str, comma: str) -> list[str]:
    lines = wrapped(indentation + part)
    return [*lines[:-1], lines[-1] + comma]


def _filled(parts: Sequence[str], indentation: str) -> list[str]:
    """Return the parts on as few lines as they fit, a comma after each."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) + 2 <= WIDTH:
            lines[-1] += f" {part},"
        else:
            lines.append(f"{indentation}{part},")
    return lines


def _parenthesized(line: str, indentation: str) -> list[str]:
    """Return a statement with brackets around its value; empty where it has none that could be broken."""
    text = line.strip()
    equals = [text[: place + 2] for place, _ in _operators(text) if text[place - 1 : place + 2] == " = "]
    for head in ("return ", "assert ", *equals[-1:]):
        if text.startswith(head):
            body = _broken(text.removeprefix(head), indentation + "    ")
            return [f"{indentation}{head}(", *body, f"{indentation})"] if body else []
    return []


def _broken(expression: str, indentation: str) -> list[str]:
    """Return the expression broken before an operator outside of its brackets; empty where there is none."""
    places = list(_operators(expression))
    for words in _BREAKS:
        at = [place for place, word in places if word in words]
        if at:
            pieces = [expression[start:end].strip() for start, end in zip([0, *at], [*at, None], strict=True)]
            return [text for piece in pieces if piece for text in wrapped(indentation + piece)]
    return []


def _tokens(text: str) -> Iterator[tuple[int, tokenize.TokenInfo, int]]:
    """Yield the tokens of one line, each with its place and how many brackets are around it."""
    depth = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(text.strip()).readline):
            opens = token.type == tokenize.OP and token.string in _OPEN
            closes = token.type == tokenize.OP and token.string in _CLOSE
            depth -= closes
            yield token.start[1] + len(text) - len(text.lstrip()), token, depth
            depth += opens
    except tokenize.TokenError:
        return


def _operators(text: str) -> Iterator[tuple[int, str]]:
    before = ""
    for place, token, depth in _tokens(text):
        binary = token.string not in ("+", "-", "*") or before not in ("", *_OPEN, ",", "=", "*", "+", "-", "in")
        if not depth and binary:
            yield place, token.string
        before = token.string


def _outermost(text: str) -> Iterator[_Bracket]:
    """Yield the pairs of brackets that no other surrounds."""
    start, commas, loops = 0, list[int](), False
    for place, token, depth in _tokens(text):
        match token.string:
            case "(" | "[" | "{" if not depth:
                start, commas, loops = place + 1, [], False
            case ")" | "]" | "}" if not depth and place > start:
                yield _Bracket(start=start, end=place, commas=tuple(commas), loops=loops)
            case "," if depth == 1:
                commas.append(place)
            case "for" if depth == 1:
                loops = True
            case _:
                pass
