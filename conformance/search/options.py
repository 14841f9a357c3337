"""Drawn options: how to draw each field of the models that operations have of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from conformance.operations.operation import Operation
from conformance.search.picks import Picks
from conformance.search.shapes import Layout


def _shards(picks: Picks, layout: Layout) -> list[int]:
    """Divide the samples among two or three replicas, one of which may have none."""
    samples = layout.shape[0]
    first = picks.one(range(samples // 2, samples + 1))
    if not picks.rarely(2):
        return [first, samples - first]
    second = picks.one(range(samples - first + 1))
    return [first, second, samples - first - second]


def _virtual_batch(picks: Picks, layout: Layout) -> int:
    """Take a number of samples that divides the batch."""
    samples = layout.shape[0]
    return picks.one([size for size in range(1, samples + 1) if samples % size == 0] or [1])


def _differentiated(picks: Picks, _layout: Layout) -> list[str]:
    """Leave out at least one of the arguments."""
    return list(
        picks.one((("input",), ("gamma",), ("beta",), ("gamma", "beta"), ("input", "gamma"), ("input", "beta")))
    )


def _groups(picks: Picks, layout: Layout) -> int:
    """Take a number of groups that divides the features."""
    features = math.prod(layout.shape[axis] for axis in layout.feature_axes)
    return picks.one([groups for groups in range(1, features + 1) if features % groups == 0] or [1])


_FIELDS: Mapping[str, Callable[[Picks, Layout], Any]] = {
    "shards": _shards,
    "differentiated": _differentiated,
    "missing": lambda picks, _layout: picks.one((None, True)),
    "virtual_batch": _virtual_batch,
    "renorm_decay": lambda picks, _layout: picks.one((0.5, 0.9, 0.75, 0.0, 1.0)),
    "rmin": lambda picks, _layout: picks.one((None, 0.0, 0.5, 1.0)),
    "rmax": lambda picks, _layout: picks.one((None, 1.0, 3.0, (1.0, 2.0))),
    "dmax": lambda picks, _layout: picks.one((None, 1.0, 2.0, 0.5, (1.0, 3.0), 0.0)),
    "groups": _groups,
    "unit_offset": lambda picks, _layout: picks.one((None, True)),
    "epsilon": lambda picks, _layout: picks.one((None, None, None, "outside")),
    "cast": lambda picks, _layout: picks.one((None, "before_gamma")),
    "tracked": lambda picks, _layout: picks.one((None, True)),
}
#: Those of operations whose samples lie along the first axis.
DIVIDING = frozenset({"shards", "virtual_batch", "groups", "tracked"})


def names(operation: Operation) -> tuple[str, ...]:
    """Return the names of the operation's options."""
    return () if operation.options is None else tuple(operation.options.model_fields)


def options(picks: Picks, operation: Operation, layout: Layout) -> dict[str, Any]:
    """Draw what a case tells the operation beyond its configuration. Raises `KeyError` on a field that is not known here."""
    drawn = {name: _FIELDS[name](picks, layout) for name in names(operation)}
    return {name: value for name, value in drawn.items() if value is not None}
