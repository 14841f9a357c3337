"""Run files that somebody or something spoiled: one seeded change each."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from conformance.compare.comparison import compare
from conformance.compare.text import text
from conformance.errors import ConformanceError
from conformance.execution.pool import Limits
from conformance.files.json_text import text_of
from conformance.planning.plan import Offer, Selection
from conformance.report.index import index, words
from conformance.report.model import build
from conformance.report.shards import shards
from conformance.report.site import pages
from conformance.reproduce import recorded, script
from conformance.run.resumption import resumed
from conformance.run.run_options import RunOptions
from conformance.runfile.reading import parse
from conformance.runfile.results import results_of
from conformance.spec.loader import Spec

#: In place of a value: each kind of JSON, and what is likely to be computed with.
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**70, 10**400, 0.5, -0.0, 1e308, "", "x", "NaN", "Infinity", "\ud800", "\x00", "⊘" * 300,
    [], [[]], [None], ["x"], {}, {"x": 1}, {"": {}}, "conforms", "unexpected", "float99", "::", "../../x", "{", "f(",
)  # fmt: skip
#: What is no JSON, or not as JSON is written.
RAW = (b"NaN", b"-Infinity", b"1e999", b"[" * 5_000 + b"]" * 5_000, b'"\\ud800"', b"\xff", b"01", b"{", b"")


def mutants(raw: bytes, seed: int, count: int) -> Iterator[bytes]:
    """Yield so many changes of a run file; the same seed gives the same."""
    draw = random.Random(seed)
    lines = [json.loads(line) for line in raw.splitlines()]
    for _ in range(count):
        yield draw.choice(KINDS)(lines, draw)


def dumped(lines: list[Any]) -> bytes:
    """Return the lines as JSON Lines."""
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container with every key or index in it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from _places(item)


def _place(lines: list[Any], draw: random.Random) -> tuple[list[Any], Any, Any]:
    """Return a copy of the lines, and a container and key in it."""
    position = draw.randrange(len(lines))
    changed = [*lines[:position], copy.deepcopy(lines[position]), *lines[position + 1 :]]
    container, key = draw.choice(list(_places(changed[position])))
    return changed, container, key


def _replaced(lines: list[Any], draw: random.Random) -> bytes:
    changed, container, key = _place(lines, draw)
    container[key] = draw.choice(VALUES)
    return dumped(changed)


def _swapped(lines: list[Any], draw: random.Random) -> bytes:
    """Put another value of the file's own in a place: one that is valid elsewhere."""
    changed, container, key = _place(lines, draw)
    other, there = draw.choice(list(_places(draw.choice(lines))))
    container[key] = other[there]
    return dumped(changed)


def _dropped(lines: list[Any], draw: random.Random) -> bytes:
    changed, container, key = _place(lines, draw)
    del container[key]
    return dumped(changed)


def _added(lines: list[Any], draw: random.Random) -> bytes:
    changed, container, _ = _place(lines, draw)
    if isinstance(container, dict):
        container[draw.choice(("x", "kind", "", "format"))] = draw.choice(VALUES)
    else:
        container.insert(0, draw.choice(VALUES))
    return dumped(changed)


def _doubled(lines: list[Any], draw: random.Random) -> bytes:
    changed = list(lines)
    changed.insert(draw.randrange(len(changed) + 1), draw.choice(lines))
    return dumped(changed)


def _lost(lines: list[Any], draw: random.Random) -> bytes:
    changed = list(lines)
    del changed[draw.randrange(len(changed))]
    return dumped(changed)


def _cut(lines: list[Any], draw: random.Random) -> bytes:
    raw = dumped(lines)
    first = draw.randrange(len(raw))
    return raw[:first] + raw[first + draw.randrange(1, 200) :]


def _truncated(lines: list[Any], draw: random.Random) -> bytes:
    raw = dumped(lines)
    return raw[: draw.randrange(len(raw))]


def _nested(lines: list[Any], draw: random.Random) -> bytes:
    """Put a value one level deeper than it belongs."""
    changed, container, key = _place(lines, draw)
    container[key] = draw.choice(([container[key]], {"x": container[key]}, [[container[key]]]))
    return dumped(changed)


def _of_another_format(lines: list[Any], draw: random.Random) -> bytes:
    """Let the header name another format, which there may be, and leave the lines as they are."""
    header = {**lines[0], "format": draw.choice((*VALUES, 2, 3, 10))}
    return dumped([header, *lines[1:]])


def _raw(lines: list[Any], draw: random.Random) -> bytes:
    changed, container, key = _place(lines, draw)
    container[key] = "\N{SNOWMAN}here"
    return dumped(changed).replace(b'"\\u2603here"', draw.choice(RAW))


KINDS: tuple[Callable[[list[Any], random.Random], bytes], ...] = (
    _replaced, _replaced, _replaced, _swapped, _swapped, _dropped, _dropped, _added, _doubled, _lost, _cut, _raw,
    _truncated, _nested, _nested, _of_another_format,
)  # fmt: skip


class Consumers:
    """Every command that reads a run file, on one whose cells are known."""

    def __init__(self, raw: bytes, spec: Spec, offers: list[Offer], file: Path) -> None:
        self.base = parse(raw, Path("base.jsonl"))
        self.results = results_of([self.base], partial=True)
        self.spec, self.offers, self.file = spec, offers, file
        file.write_bytes(raw)
        self.right = {record.cell: recorded(record.cell, [file]) for record in self.base.records}

    def tracebacks(self, raw: bytes) -> Iterator[tuple[str, Exception]]:
        """Yield what ends in anything but success or one line, by command."""
        self.file.write_bytes(raw)
        for command in (self._report, self._compare, self._reproduce, self._resume):
            try:
                command()
            except ConformanceError as error:
                if "\n" in str(error):
                    yield command.__name__, error
            except Exception as error:  # noqa: BLE001 - whatever it is, it would be a traceback
                yield command.__name__, error

    def _report(self) -> None:
        runs = [parse(self.file.read_bytes(), self.file)]
        report = build(runs, partial=True)
        # All that the pages show; templates, which are compiled anew for each report, only lay it out.
        assert pages(report)
        firsts = [shard.first for shard in shards(report)]
        assert text_of(results_of(runs, partial=True))
        json.dumps([index(report), words(report, firsts)], allow_nan=False)

    def _compare(self) -> None:
        new = results_of([parse(self.file.read_bytes(), self.file)], partial=True)
        text(compare(self.results, new))
        text(compare(new, self.results))

    def _reproduce(self) -> None:
        # One of the cells, by what the file is; and a script, which takes its time, where it would be another.
        records = self.base.records
        cell = records[self.file.stat().st_size % len(records)].cell
        evidence = recorded(cell, [self.file])
        if evidence != self.right[cell]:
            script(evidence)

    def _resume(self) -> None:
        asked = self.base.header.selection
        options = RunOptions(
            selection=Selection(implementations=asked.implementations, cases=asked.cases),
            interpreters={},
            unbuilt={},
            workers=1,
            out=self.file,
            resume=True,
            limits=Limits(),
        )
        resumed(options, self.spec, self.offers)
