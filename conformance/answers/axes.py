"""Which axes may be kept in place of others: what a person takes for the feature axes."""

from __future__ import annotations

from collections.abc import Iterator


def kept(rank: int) -> tuple[tuple[int, ...], ...]:
    """Return the usual choices of feature axes, the most usual first: the last, axis 1, any other one, all but the first."""
    single = dict.fromkeys([rank - 1, *([1] if rank > 1 else []), *range(rank)])
    whole = [tuple(range(1, rank))] if rank > 2 else []
    return (*((axis,) for axis in single), *whole)


def kept_otherwise(shape: tuple[int, ...], feature_axes: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield the usual choices of feature axes that gather other values, and several, than the given ones do."""
    seen = {_parting(shape, feature_axes)}
    for axes in kept(len(shape)):
        parting = _parting(shape, axes)
        reduces = any(size > 1 for axis, size in enumerate(shape) if axis not in axes)
        if reduces and parting not in seen:
            seen.add(parting)
            yield axes


def _parting(shape: tuple[int, ...], axes: tuple[int, ...]) -> frozenset[int]:
    """Return the axes that part the values into features: an axis of size 1 parts nothing."""
    return frozenset(axis for axis in axes if shape[axis] > 1)
