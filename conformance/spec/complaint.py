"""What is wrong with a file that a person wrote, in words about that file: the key, what was expected, and what was meant."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from conformance.errors import SpecError, nearest
from conformance.spec.locations import spec_folder
from conformance.spec.yaml_document import Document, load

_QUOTED = re.compile(r"'([^']+)'")


def explain(
    detail: ErrorDetails,
    raw: Any,
    path_of: Callable[[tuple[str | int, ...]], tuple[str | int, ...]],
    document: Document,
    keys: Sequence[str],
) -> SpecError:
    """Return pydantic's complaint about `raw` as one about the file; `keys` are those an unknown one may mean.

    The tags of unions, which pydantic puts into the location, are no part of the file.
    """
    location: list[str | int] = []
    value: Any = raw
    absent = ""
    for part in detail["loc"]:
        inside = isinstance(value, dict) and part in value
        if inside or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            location.append(part)
            value = value[part]
        else:
            absent = str(part)
    path = path_of(tuple(location))
    key = ".".join(str(part) for part in location)
    context = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            return document.error(path, f"unknown key{hint(str(location[-1]), keys)}", key)
        case "missing":
            return document.error(path, f"{absent}: is missing", key)
        case "union_tag_not_found" | "union_tag_invalid":
            tags = str(context.get("expected_tags", "known"))
            meant = hint(str(context.get("tag", "")), _QUOTED.findall(tags))
            return document.error(path, f"expected {context.get('discriminator', '')} to be one of {tags}{meant}", key)
        case kind:
            expected = f"{detail['msg'][0].lower()}{detail['msg'][1:]}, got {_short(value)}"
            known = _QUOTED.findall(str(context.get("expected", ""))) if kind == "literal_error" else []
            return document.error(path, f"{expected}{hint(str(value), known)}", key)


def hint(word: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """Return what else may have been meant by a word that is none of `known`, to be put after a complaint.

    `cutoff` is how alike two words must be, from 0 to 1, for one to be taken for a slip of the other.
    """
    names = list(known)
    for foreign in _words().get(word.lower(), ()):
        if foreign["ours"] in names:
            note = foreign.get("note")
            return f"; here it is {foreign['ours']}{f', {note}' if note else ''}"
    return nearest(word, names, cutoff)


@functools.cache
def _words() -> Mapping[str, Sequence[Mapping[str, str]]]:
    """Return the words of other libraries, each with ours."""
    words: Mapping[str, Sequence[Mapping[str, str]]] = load(spec_folder() / "words.yaml").value
    return words


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
