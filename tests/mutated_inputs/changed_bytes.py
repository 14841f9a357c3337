"""Changes of a text in its bytes, by chance."""

from __future__ import annotations

import random
import re


def flipped(text: bytes, draw: random.Random) -> bytes:
    position = draw.randrange(len(text) + 1)
    return text[:position] + bytes([draw.randrange(256)]) + text[position + draw.randint(0, 1) :]


def cut(text: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(text) + 1)
    return text[:start] + text[start + draw.randint(1, 60) :]


def doubled(text: bytes, draw: random.Random) -> bytes:
    lines = text.splitlines(keepends=True) or [b"\n"]
    start = draw.randrange(len(lines))
    part = lines[start : start + draw.randint(1, 5)]
    return b"".join([*lines[:start], *part * draw.choice((2, 2, 50)), *lines[start:]])


def replaced(pattern: bytes, text: bytes, new: bytes, draw: random.Random) -> bytes:
    places = list(re.finditer(pattern, text))
    if not places:
        return text
    place = draw.choice(places)
    return text[: place.start()] + new + text[place.end() :]
