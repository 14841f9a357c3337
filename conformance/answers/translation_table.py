"""All ordered pairs of some implementations: which layer is the same in which other library, and but for what."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace

from conformance.answers.arguments import base_like, first_supported
from conformance.answers.libraries import Libraries, Row
from conformance.answers.translating import performed, target_of
from conformance.answers.translation import Side, Translation, agreements, losses, verdict_of
from conformance.errors import UsageError
from conformance.protocol import Configuration
from conformance.runfile.structs import NativeCall

#: The settings of every layer of the table: those by which Keras begins.
_DECAY, _EPSILON = 0.99, 1e-3


def table(
    sources: Sequence[str], targets: Sequence[str], libraries: Libraries, rank: int
) -> dict[tuple[str, str], str]:
    """Return what the proof says of each ordered pair, or why there is none. Raises `UsageError` on an unknown name."""
    rows = {name: libraries.row(name) for name in dict.fromkeys([*sources, *targets])}
    starts = {name: _start(rows[name], libraries, rank) for name in sources}
    pairs: dict[tuple[str, str], tuple[Side, Side] | str] = {}
    for source in sources:
        for target in targets:
            if source != target:
                pairs[source, target] = _sides(rows[source], starts[source], rows[target], libraries)
    wanted = {
        (name, side.configuration): rows[name]
        for names, sides in pairs.items()
        if not isinstance(sides, str)
        for name, side in zip(names, sides, strict=True)
    }
    ran = performed([(row, configuration) for (_, configuration), row in wanted.items()], libraries, {})
    by_side = dict(zip(wanted, ran, strict=True))
    said: dict[tuple[str, str], str] = {}
    for (source, target), sides in pairs.items():
        if isinstance(sides, str):
            said[source, target] = f"refused: {sides}"
            continue
        one, other = sides
        made = Translation(
            source=one,
            target=other,
            losses=tuple(losses(one, other)),
            agreements=tuple(agreements(by_side[source, one.configuration], by_side[target, other.configuration])),
        )
        said[source, target] = verdict_of(made)
    return said


def _start(row: Row, libraries: Libraries, rank: int) -> Configuration:
    return first_supported(row.implementation.name, rank, functools.partial(libraries.ask, row), _settings)


def _settings(configuration: Configuration) -> Configuration:
    return base_like(replace(configuration, decay=_DECAY, epsilon=_EPSILON), configuration)


def _sides(source: Row, start: Configuration, target: Row, libraries: Libraries) -> tuple[Side, Side] | str:
    (call,) = libraries.ask(source, [start])
    assert isinstance(call, NativeCall)
    one = Side(implementation=source.implementation, configuration=start, call=call, arguments={})
    try:
        return one, target_of(target, start, libraries, arguments=False)
    except UsageError as error:
        return str(error)


def table_text(said: Mapping[tuple[str, str], str]) -> str:
    """Return the pairs as a table in Markdown."""
    lines = [f"| {source} | {target} | {words} |" for (source, target), words in said.items()]
    return "\n".join(["| from | to | on the same batches |", "| --- | --- | --- |", *lines])
