"""`conformance translate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from conformance.run.interpreters import pairs
from conformance.run.number_option import FEATURES, RANK, whole

#: What follows the options is the source's own arguments.
SETTINGS: dict[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True}


def translate(
    context: typer.Context,
    source: Annotated[list[str], typer.Option("--from", metavar="NAME", help="An implementation, or its library.")],
    target: Annotated[
        list[str], typer.Option("--to", metavar="NAME", help="Likewise; of several, a table of all ordered pairs.")
    ],
    rank: Annotated[
        int | None,
        typer.Option(
            parser=whole(*RANK), metavar="N", help="The number of axes of the input; omitted: 4, and a proof for 2 too."
        ),
    ] = None,
    features: Annotated[
        int | None,
        typer.Option(
            parser=whole(1, FEATURES),
            metavar="N",
            help="How many features there are: 5 unless this, an argument or --weights says.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Saved weights of the source: .keras, .h5, .pt, .safetensors, .npz, .msgpack, .onnx."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where the target's weights go: .safetensors, .npz, .pt or .msgpack."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For a program: spec/translation.schema.json.")] = False,
    python: Annotated[
        list[str] | None, typer.Option("--python", metavar="GROUP=PATH", help="The interpreter of a framework group.")
    ] = None,
    adapter: Annotated[
        list[str] | None, typer.Option("--adapter", metavar="FILE.py:NAME", help="Ask this adapter alone.")
    ] = None,
) -> None:
    """Write a layer of one library in the words of another, and run both on the same batches.

    The source's own arguments follow as its users write them, such as --momentum 0.99 --epsilon 1e-3 or --affine False.
    """
    from conformance.answers.translation_page import Asked, translated

    asked = Asked(
        sources=tuple(source),
        targets=tuple(target),
        arguments=tuple(context.args),
        rank=rank,
        features=features,
        weights=weights,
        out=out,
        interpreters=pairs("--python", python),
        adapters=tuple(adapter or ()),
    )
    print(translated(asked, as_json=as_json))
