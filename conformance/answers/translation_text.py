"""A translation as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.answers.translation_document import Compared, Paired, Proof, SavedLayer, TranslationDocument


def text_of(document: TranslationDocument) -> str:
    """Return a translation as text: calls, arguments, names, layers, what is otherwise, and the proof."""
    first, *further = document.proofs
    parts = [
        f"{document.source.implementation}\n  {document.source.call}",
        f"{document.target.implementation}\n  {document.target.call}",
        _table("arguments", [_pair(row) for row in document.arguments]),
        _table("names of the state (* is the layer's own place)", [_pair(row) for row in document.names]),
    ]
    if document.layers:
        parts.append(_table("layers", [_layer(layer) for layer in document.layers]))
    if document.losses:
        parts.append(_table("what is otherwise", [(loss.what, loss.source, loss.target) for loss in document.losses]))
        parts.extend(f"  {where}" for where in dict.fromkeys(loss.where for loss in document.losses if loss.where))
    if first.compared:
        rows = [_compared(one) for one in first.compared]
        parts.append(
            _table("both on the same batches: verdicts with scores (1 is the limit), largest difference, why", rows)
        )
    parts.extend(_proof(proof) for proof in (first, *further))
    return "\n\n".join(parts)


def _pair(row: Paired) -> tuple[str, ...]:
    return row.what, row.source, row.target


def _layer(layer: SavedLayer) -> tuple[str, ...]:
    call = layer.call or f"none: {layer.reason}"
    return layer.place or "-", f"{layer.features} features", layer.arguments, call


def _compared(one: Compared) -> tuple[str, ...]:
    difference = "-" if one.difference is None else f"{float(one.difference):.2g}"
    why = one.cause or (f"follows from {', '.join(one.follows)}" if one.follows else "")
    return f"{one.step} {one.kind}", one.quantity, one.source, one.target, difference, why


def _proof(proof: Proof) -> str:
    """Return what was run and what came out, in two lines; why nothing was run in one."""
    if not proof.target:
        return f"Not run on an input of {proof.rank} axes: {proof.verdict}"
    shapes = dict.fromkeys(str(list(shape)) for shape in (proof.source_shape, proof.target_shape))
    where = f"{proof.mode}, {proof.dtype}, on the {proof.device.upper()}"
    steps = " and ".join(f"{proof.steps.count(kind)} × {kind}" for kind in dict.fromkeys(proof.steps))
    return f"{proof.target} on input {' and '.join(shapes)}, {where}, {steps}:\n{proof.verdict}"


def _table(title: str, rows: Sequence[Sequence[str]]) -> str:
    widths = [max((len(row[column]) for row in rows if column < len(row)), default=0) for column in range(8)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)).rstrip() for row in rows]
    return "\n".join([title, *(f"  {line}" for line in lines)])
