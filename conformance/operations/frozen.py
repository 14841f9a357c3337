"""Frozen dataclasses with other values in some fields, at a third of what `dataclasses.replace` costs.

Judging a deviating cell makes some hundreds of them, one for each change of the formula that is tried.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeVar

_Instance = TypeVar("_Instance")


def replace(instance: _Instance, **changes: Any) -> _Instance:
    """Return the instance of a dataclass with other values in those fields.

    Raises `TypeError` where it has no such field.
    """
    class_: Any = type(instance)
    plain = _plain(class_)
    if plain is None:
        other: _Instance = dataclasses.replace(instance, **changes)  # type: ignore[type-var]
        return other
    values, setters = plain
    if not changes.keys() <= setters.keys():
        raise TypeError(f"{class_.__name__} has no fields {sorted(changes.keys() - setters.keys())}")
    made: _Instance = object.__new__(type(instance))
    for set_, value in zip(setters.values(), values(instance), strict=True):
        set_(made, value)
    for name, value in changes.items():
        setters[name](made, value)
    return made


@functools.cache
def _plain(class_: type) -> tuple[Callable[[Any], tuple[Any, ...]], dict[str, Callable[[Any, Any], None]]] | None:
    """Return what reads all fields of the class, and what sets each; None where more than that makes an instance."""
    names = [field.name for field in dataclasses.fields(class_)]
    setters = {name: getattr(class_.__dict__.get(name), "__set__", None) for name in names}
    slotted = {name: setter for name, setter in setters.items() if setter is not None}
    # Of one name alone, what reads it gives no tuple.
    if hasattr(class_, "__post_init__") or len(names) < 2 or len(slotted) < len(names):
        return None
    return attrgetter(*names), slotted
