"""What `conformance translate` does: both libraries asked, a file of weights read and written, and what is shown."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conformance.answers import weight_files
from conformance.answers.arguments import same
from conformance.answers.libraries import Libraries, Row
from conformance.answers.translating import translate
from conformance.answers.translation import Refused, Translation
from conformance.answers.translation_document import Carried, document_of
from conformance.answers.translation_table import table, table_text
from conformance.answers.translation_text import text_of
from conformance.answers.weights import LayerWeights, layers_in, renamed
from conformance.errors import UsageError
from conformance.execution.pool import Workers, usual_count
from conformance.files.json_text import text_of as json_of
from conformance.files.whole import check_place
from conformance.run.programs import check_interpreters
from conformance.run.run_options import FOLDER

Array = np.ndarray[Any, np.dtype[Any]]
#: The ranks of the proof where neither a person nor a file says one: of images, and of dense layers.
RANKS = (4, 2)
#: What gamma and beta are where a layer has none.
_NEUTRAL = {"gamma": 1.0, "beta": 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a person asked to be translated."""

    sources: Sequence[str]
    targets: Sequence[str]
    #: The source's own arguments, `--momentum`, `0.99`, ….
    arguments: Sequence[str]
    #: None where it is left open.
    rank: int | None
    features: int | None
    weights: Path | None
    out: Path | None
    interpreters: Mapping[str, str]
    adapters: Sequence[str]


def translated(asked: Asked, *, as_json: bool) -> str:
    """Return the translation as text or JSON, and write the weights where they were asked for. Raises `UsageError`."""
    given = arguments_of(asked.arguments)
    if asked.out is not None:
        if asked.weights is None:
            raise UsageError("--out needs --weights: there is nothing to convert")
        weight_files.check_suffix(asked.out)
        check_place(asked.out)
    check_interpreters(asked.interpreters, asked.adapters)
    with Workers(usual_count(), FOLDER) as workers:
        libraries = Libraries(asked.interpreters, asked.adapters, workers)
        if len(asked.sources) > 1 or len(asked.targets) > 1:
            if given or asked.weights or as_json:
                raise UsageError("a table of pairs takes no arguments of a layer, no --weights and no --json")
            return table_text(table(asked.sources, asked.targets, libraries, asked.rank or RANKS[0]))
        return _pair(asked, given, libraries, as_json=as_json)


def _pair(asked: Asked, given: Mapping[str, str], libraries: Libraries, *, as_json: bool) -> str:
    """Return the translation of one layer, or of the layers of a file, between two libraries."""
    source, target = libraries.row(asked.sources[0]), libraries.row(asked.targets[0])
    layers: list[LayerWeights] = []
    if asked.weights is not None:
        layers = layers_in(weight_files.read(asked.weights), source.implementation.names, asked.weights)
        check_agreement(given, layers, asked.weights)
    first = layers[0] if layers else LayerWeights(place="", state={})
    says = first.settings.rank if asked.rank is None else asked.rank
    ranks = RANKS if says is None else (says,)

    def made(layer: LayerWeights, rank: int, *, prove: bool) -> Translation:
        return translate(
            source,
            target,
            {**layer.settings.arguments, **given},
            libraries,
            rank=rank,
            features=asked.features,
            state=layer.state,
            prove=prove,
        )

    whole = made(first, ranks[0], prove=True)
    further = [_or_refused(functools.partial(made, first, rank, prove=True), rank) for rank in ranks[1:]]
    carried = [
        Carried(layer=layer, made=_or_refused(functools.partial(made, layer, rank, prove=False), rank))
        for layer in layers
        for rank in [layer.settings.rank if asked.rank is None and layer.settings.rank else ranks[0]]
    ]
    if asked.out is not None:
        _write(asked.out, carried, target, whole)
    document = document_of(whole, further, carried)
    return json_of(document) if as_json else text_of(document)


def _or_refused(make: Callable[[], Translation], rank: int) -> Translation | Refused:
    try:
        return make()
    except UsageError as error:
        return Refused(reason=str(error), rank=rank)


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


def check_agreement(given: Mapping[str, str], layers: Sequence[LayerWeights], path: Path) -> None:
    """Raise `UsageError` where a person says an argument otherwise than the file does of one of its layers."""
    for layer in layers:
        for name, text in given.items():
            says = layer.settings.arguments.get(name)
            if says is not None and not same(says, text):
                raise UsageError(f"--{name} {text}: {path} says {says} of {layer.place or 'its layer'}")


def _write(path: Path, carried: Sequence[Carried], target: Row, whole: Translation) -> None:
    """Write the values of the layers by the target's names, in the shapes that it keeps them in. Raises `UsageError`."""
    names = target.implementation.names
    missing = [name for name in ("moving_mean", "moving_variance") if name not in names]
    if missing:
        raise UsageError(f"--out: {target.implementation.name} saves {' and '.join(missing)} under no name of its own")
    arrays: dict[str, Array] = {}
    for one in carried:
        if isinstance(one.made, Refused):
            raise UsageError(f"--out: {one.layer.place or 'its layer'}: {one.made.reason}")
        configuration = one.made.target.configuration
        has = {"gamma": configuration.scale, "beta": configuration.center}
        neutral = {name: value for name, value in _NEUTRAL.items() if has[name]}
        arrays |= renamed(one.layer, names, whole.shapes, neutral)
    weight_files.write(path, arrays)
