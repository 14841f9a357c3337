"""JSON that a person can read line by line, and that a strict reader takes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import pytest

from conformance.files.json_text import bytes_of, pieces_of, text_of


@dataclass(frozen=True)
class Item:
    name: str
    size: float = 0.5


@dataclass(frozen=True)
class Document:
    title: str
    items: tuple[Item, ...] = ()


def test_each_item_of_a_list_has_a_line() -> None:
    document = Document(title="two", items=(Item("a"), Item("b")))
    lines = ['{"title":"two",', '"items":[', '{"name":"a","size":0.5},', '{"name":"b","size":0.5}', "]}"]
    assert text_of(document).splitlines() == lines


def test_a_list_of_nothing_is_one() -> None:
    assert json.loads(text_of(Document(title="none"))) == {"title": "none", "items": []}


def test_a_lone_surrogate_is_replaced() -> None:
    """UTF-8 has no bytes for it."""
    assert json.loads(bytes_of(Document(title="\ud800 é"))) == {"title": "\ufffd é", "items": []}


def test_text_bytes_and_pieces_are_the_same() -> None:
    document = Document(title="é", items=(Item("a"), Item("b")))
    assert bytes_of(document).decode() == text_of(document) == "".join(pieces_of(document))


@pytest.mark.parametrize("size", [math.nan, math.inf])
def test_a_number_that_json_has_not_is_refused(size: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        text_of(Document(title="", items=(Item("a", size),)))


def test_a_value_that_json_has_not_is_refused() -> None:
    with pytest.raises(TypeError, match="which JSON cannot"):
        text_of(Document(title={1}))  # type: ignore[arg-type]
