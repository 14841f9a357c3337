"""What all lines of a run file and their parts have in common as msgspec structs: closed, frozen, told apart by `kind`."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

Dtype: TypeAlias = Literal["float64", "float32", "float16", "bfloat16"]


class Line(Struct, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True, tag_field="kind"):
    """A line of a run file."""


class Part(Struct, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a line."""
