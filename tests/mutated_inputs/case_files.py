"""Case files that somebody spoiled, and reading them as `check` and `run` do."""

from __future__ import annotations

import contextlib
import random
import re
from functools import cache
from pathlib import Path

from conformance.errors import SpecErrors
from conformance.spec import loader
from conformance.spec.locations import spec_folder
from tests.mutated_inputs.changed_bytes import cut, doubled, flipped, replaced

#: What a person, a program or a broken disk writes in place of a value.
VALUES = (
    "null", "true", "~", "", "''", "0", "-1", "1e400", "1e-400", "-.inf", ".nan", "1_0.00", "٣", "9" * 400, "0x10", "1:30",
    "2026-11-30", "[]", "{}", "[[]]", "[1, 2, 3]", "{a: b}", "&a [*a]", "*nowhere", "!!python/object:os.system x", "!!binary eA==",
    "<<: *a", "'\\0'", '"\\ud800"', "../../x", "a/b::c", "⊘" * 200, "normal", "train", "float32", "float99", "\t", "#", "|", ">", "%",
)  # fmt: skip


@cache
def _cases() -> tuple[str, ...]:
    """Return the text of every shipped case, each a file of its own."""
    texts = [file.read_text(encoding="utf-8") for file in sorted((spec_folder() / "cases").glob("*.yaml"))]
    return tuple(part for text in texts for part in re.split(r"(?m)^(?=- id:)", text) if part.startswith("- id:"))


@cache
def _clauses() -> dict[str, str]:
    return loader.load_clauses(spec_folder() / "semantics.md")


def spoiled_case(draw: random.Random) -> bytes:
    """Return a shipped case with up to three changes."""
    text = draw.choice(_cases()).encode()
    for _ in range(draw.randint(1, 3)):
        text = draw.choice((flipped, cut, doubled, _revalued, _revalued, _revalued, _rekeyed, _indented))(text, draw)
    return text


def _revalued(text: bytes, draw: random.Random) -> bytes:
    return replaced(rb"(?<=[:\[,] )[^\n,\]}]+", text, draw.choice(VALUES).encode(errors="surrogatepass"), draw)


def _rekeyed(text: bytes, draw: random.Random) -> bytes:
    return replaced(rb"\w+(?=:)", text, draw.choice(VALUES).encode(errors="surrogatepass"), draw)


def _indented(text: bytes, draw: random.Random) -> bytes:
    return replaced(rb"(?m)^ *", text, b" " * draw.randint(0, 6), draw)


def read_case(text: bytes, folder: Path) -> None:
    """Read a case file as `check` and `run` do."""
    file = folder / "own.yaml"
    file.write_bytes(text)
    with contextlib.suppress(SpecErrors):
        loader.load_file(file, _clauses())
