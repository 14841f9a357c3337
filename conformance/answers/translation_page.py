"""A translation as a page of text or JSON, and the weights that go with it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conformance.answers import weight_files
from conformance.answers.translating import Libraries, Row, translate
from conformance.answers.translation import Agreement, Translation, verdict_of
from conformance.answers.translation_table import table, table_text
from conformance.answers.weights import LayerWeights, layers_in, renamed
from conformance.errors import UsageError
from conformance.execution.pool import Workers
from conformance.run.programs import check_interpreters
from conformance.run.session import FOLDER

Array = np.ndarray[Any, np.dtype[Any]]
#: What gamma and beta are where a layer has none.
_NEUTRAL = {"gamma": 1.0, "beta": 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a person asked to be translated."""

    sources: Sequence[str]
    targets: Sequence[str]
    #: The source's own arguments, `--momentum`, `0.99`, ….
    arguments: Sequence[str]
    rank: int
    features: int | None
    weights: Path | None
    out: Path | None
    interpreters: Mapping[str, str]
    adapters: Sequence[str]


def translated(asked: Asked, *, as_json: bool) -> str:
    """Return the translation as text or JSON, and write the weights where they were asked for. Raises `UsageError`."""
    given = arguments_of(asked.arguments)
    if asked.out is not None and asked.weights is None:
        raise UsageError("--out needs --weights: there is nothing to convert")
    check_interpreters(asked.interpreters, asked.adapters)
    with Workers(os.cpu_count() or 1, FOLDER) as workers:
        libraries = Libraries(asked.interpreters, asked.adapters, workers)
        if len(asked.sources) > 1 or len(asked.targets) > 1:
            if given or asked.weights or as_json:
                raise UsageError("a table of pairs takes no arguments of a layer, no --weights and no --json")
            return table_text(table(asked.sources, asked.targets, libraries, asked.rank))
        source, target = libraries.row(asked.sources[0]), libraries.row(asked.targets[0])
        layers = _layers(asked.weights, source)
        state = layers[0].state if layers else None
        made = translate(source, target, given, libraries, rank=asked.rank, features=asked.features, state=state)
    if layers and asked.out is not None:
        _write(asked.out, layers, target, made)
    if as_json:
        return json.dumps(document(made, layers), indent=1, ensure_ascii=False)
    return text_of(made, layers)


def arguments_of(words: Sequence[str]) -> dict[str, str]:
    """Return the source's own arguments by name: `--momentum 0.99` or `--momentum=0.99`. Raises `UsageError`."""
    given: dict[str, str] = {}
    rest = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    if len(rest) % 2 or not all(name.startswith("--") for name in rest[::2]):
        raise UsageError(f"expected the source's arguments as --NAME VALUE, got {' '.join(words)}")
    for name, value in zip(rest[::2], rest[1::2], strict=True):
        key = name.removeprefix("--").replace("-", "_")
        if key in given:
            raise UsageError(f"{name}: given twice")
        given[key] = value
    return given


def _layers(path: Path | None, source: Row) -> list[LayerWeights]:
    if path is None:
        return []
    return layers_in(weight_files.read(path), source.implementation.names, path)


def _write(path: Path, layers: list[LayerWeights], target: Row, made: Translation) -> None:
    names = target.implementation.names
    missing = [name for name in ("moving_mean", "moving_variance") if name not in names]
    if missing:
        raise UsageError(f"--out: {target.implementation.name} saves {' and '.join(missing)} under no name of its own")
    configuration = made.target.configuration
    learned = {
        name: _NEUTRAL[name] for name, has in (("gamma", configuration.scale), ("beta", configuration.center)) if has
    }
    shapes = made.shapes or {}
    weight_files.write(path, renamed(layers, names, shapes, learned))


def document(made: Translation, layers: Sequence[LayerWeights]) -> dict[str, Any]:
    """Return the translation as JSON values."""
    return {
        "source": {"name": made.source.implementation.name, "call": made.source.call.text},
        "target": {"name": made.target.implementation.name, "call": made.target.call.text},
        "arguments": [dict(zip(("field", "source", "target"), row, strict=True)) for row in argument_rows(made)],
        "names": [dict(zip(("state", "source", "target"), row, strict=True)) for row in name_rows(made)],
        "layers": [{"place": layer.place, "features": layer.state["moving_mean"].size} for layer in layers],
        "losses": [asdict(loss) for loss in made.losses],
        "agreements": [asdict(agreement) for agreement in made.agreements],
    }


def argument_rows(made: Translation) -> list[tuple[str, ...]]:
    """Return, for each field of a configuration, the arguments that set it in both, with their values."""
    rows: list[tuple[str, ...]] = []
    for field in made.source.arguments.keys() | made.target.arguments.keys():
        sides = [
            ", ".join(
                f"{name}={side.call.keywords[name]}"
                for name in side.arguments.get(field, "").split(", ")
                if name in side.call.keywords
            )
            for side in (made.source, made.target)
        ]
        if any(sides):
            rows.append((field, *sides))
    return sorted(rows)


def name_rows(made: Translation) -> list[tuple[str, ...]]:
    """Return, for each part of the state, how both save it."""
    names = [side.implementation.names for side in (made.source, made.target)]
    return [(name, *(side.get(name, "-") for side in names)) for name in names[0].keys() | names[1].keys()]


def text_of(made: Translation, layers: Sequence[LayerWeights]) -> str:
    """Return the translation as text for a terminal."""
    source, target = made.source, made.target
    parts = [
        f"{source.implementation.name}\n  {source.call.text}",
        f"{target.implementation.name}\n  {target.call.text}",
        _table("arguments", [(field.replace("_", " "), *sides) for field, *sides in argument_rows(made)]),
        _table("names of the state (* is the layer's own place)", sorted(name_rows(made))),
    ]
    if layers:
        parts.append(
            _table("layers", [(layer.place or "-", f"{layer.state['moving_mean'].size} features") for layer in layers])
        )
    if made.losses:
        lost = [(loss.what, loss.source, loss.target) for loss in made.losses]
        parts.append(_table("what is otherwise", lost))
        parts.extend(f"  {where}" for where in dict.fromkeys(loss.where for loss in made.losses if loss.where))
    if made.agreements:
        rows = [
            (f"{one.step} {one.kind}", one.quantity, one.source, one.target, _shown(one.difference), _why(one))
            for one in made.agreements
        ]
        parts.append(
            _table("both on the same batches: verdicts with scores (1 is the limit), largest difference, why", rows)
        )
        parts.append(verdict_of(made))
    return "\n\n".join(parts)


def _why(agreement: Agreement) -> str:
    return agreement.cause or (f"follows from {', '.join(agreement.follows)}" if agreement.follows else "")


def _shown(difference: float | None) -> str:
    return "-" if difference is None else f"{difference:.2g}"


def _table(title: str, rows: Sequence[Sequence[str]]) -> str:
    widths = [max((len(row[column]) for row in rows if column < len(row)), default=0) for column in range(8)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)).rstrip() for row in rows]
    return "\n".join([title, *(f"  {line}" for line in lines)])
