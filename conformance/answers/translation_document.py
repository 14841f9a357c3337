"""A translation as values: what `conformance translate --json` writes.

Field docstrings are what the published JSON Schema says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from conformance.answers.translating import DEVICE, MODE
from conformance.answers.translation import Refused, Translation, verdict_of
from conformance.answers.weights import LayerWeights
from conformance.files.json_text import CLOSED
from conformance.runfile.numbers import Number, number

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How a user of one of both libraries writes the layer."""

    __pydantic_config__: ClassVar = CLOSED
    implementation: str
    call: str
    """As Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """The same thing in the words of both."""

    __pydantic_config__: ClassVar = CLOSED
    what: str
    """A field of a configuration, or a part of the state."""
    source: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedLayer:
    """A layer of the file of weights."""

    __pydantic_config__: ClassVar = CLOSED
    place: str
    """By its library's names; empty where the file has one layer and says no name."""
    features: int
    arguments: str
    """What the file says of it beside its values, as its library's users write it; empty where it says nothing."""
    call: str
    """The target's, as Python; empty where there is none."""
    reason: str
    """Why there is no call of the target; empty where there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Something that the target does otherwise, or lacks."""

    __pydantic_config__: ClassVar = CLOSED
    what: str
    source: str
    target: str
    where: str
    """Where the libraries say so; empty where it follows from what they offer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """How one quantity of one step stands in both, each judged from its own state by the bounds of its own input."""

    __pydantic_config__: ClassVar = CLOSED
    step: int
    kind: str
    quantity: str
    source: str
    """Its verdict, with the score where it agrees: 1 is the limit."""
    target: str
    difference: Number | None
    """The largest between both; null where one of them does not give the quantity."""
    cause: str
    """Why they differ; empty where both are right by the spec, each from what it started from."""
    follows: tuple[str, ...]
    """The moving values that differed before the step, where the difference follows from these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Both layers on the same batches; where one of them cannot be had there, the rank and the verdict alone."""

    __pydantic_config__: ClassVar = CLOSED
    rank: int
    """The number of axes of the input."""
    verdict: str
    """In one sentence; or why nothing was run."""
    source: str = ""
    """The call that was made, as Python."""
    target: str = ""
    source_shape: tuple[int, ...] = ()
    """Of the input."""
    target_shape: tuple[int, ...] = ()
    dtype: str = ""
    mode: str = ""
    device: str = ""
    steps: tuple[str, ...] = ()
    compared: tuple[Compared, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslationDocument:
    """A layer of one library in the words of another, and what was proven."""

    __pydantic_config__: ClassVar = CLOSED
    format: int
    source: Written
    target: Written
    arguments: tuple[Paired, ...]
    names: tuple[Paired, ...]
    """Under which both save the state; * is the layer's own place."""
    layers: tuple[SavedLayer, ...]
    losses: tuple[Lost, ...]
    proofs: tuple[Proof, ...]
    """Of the call above; where no rank was asked for and the file says none, of an input of two axes too."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Carried:
    """A layer of a file of weights, and its translation."""

    layer: LayerWeights
    made: Translation | Refused


def document_of(
    made: Translation, further: Sequence[Translation | Refused], carried: Sequence[Carried]
) -> TranslationDocument:
    """Return a translation, further proofs of the same layer, and the layers of a file, as values."""
    return TranslationDocument(
        format=FORMAT,
        source=Written(implementation=made.source.implementation.name, call=made.source.call.text),
        target=Written(implementation=made.target.implementation.name, call=made.target.call.text),
        arguments=tuple(_arguments(made)),
        names=tuple(_names(made)),
        layers=tuple(_layer(one) for one in carried),
        losses=tuple(
            Lost(what=loss.what, source=loss.source, target=loss.target, where=loss.where) for loss in made.losses
        ),
        proofs=tuple(_proof(one) for one in (made, *further)),
    )


def _arguments(made: Translation) -> list[Paired]:
    """Return, for each field of a configuration, the arguments that set it in both, with their values."""
    rows = []
    for field in sorted(made.source.arguments.keys() | made.target.arguments.keys()):
        ours, theirs = (
            ", ".join(
                f"{name}={side.call.keywords[name]}"
                for name in side.arguments.get(field, "").split(", ")
                if name in side.call.keywords
            )
            for side in (made.source, made.target)
        )
        if ours or theirs:
            rows.append(Paired(what=field.replace("_", " "), source=ours, target=theirs))
    return rows


def _names(made: Translation) -> list[Paired]:
    """Return, for each part of the state, how both save it."""
    ours, theirs = (side.implementation.names for side in (made.source, made.target))
    return [
        Paired(what=name, source=ours.get(name, "-"), target=theirs.get(name, "-"))
        for name in sorted(ours.keys() | theirs.keys())
    ]


def _layer(one: Carried) -> SavedLayer:
    return SavedLayer(
        place=one.layer.place,
        features=one.layer.features,
        arguments=", ".join(f"{name}={value}" for name, value in one.layer.settings.arguments.items()),
        call="" if isinstance(one.made, Refused) else one.made.target.call.text,
        reason=one.made.reason if isinstance(one.made, Refused) else "",
    )


def _proof(made: Translation | Refused) -> Proof:
    if isinstance(made, Refused):
        return Proof(rank=made.rank, verdict=made.reason)
    source, target = made.source.configuration, made.target.configuration
    return Proof(
        rank=source.rank,
        source=made.source.call.text,
        target=made.target.call.text,
        source_shape=source.shape,
        target_shape=target.shape,
        dtype=source.dtype,
        mode=MODE,
        device=DEVICE,
        steps=tuple({one.step: one.kind for one in made.agreements}.values()),
        verdict=verdict_of(made),
        compared=tuple(
            Compared(
                step=one.step,
                kind=one.kind,
                quantity=one.quantity,
                source=one.source,
                target=one.target,
                difference=number(one.difference),
                cause=one.cause,
                follows=one.follows,
            )
            for one in made.agreements
        ),
    )
