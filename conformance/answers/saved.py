"""What a file of weights holds: named arrays, and what it says of each layer beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a file says of one layer beside its values."""

    #: The arguments of the layer as a user of its library writes them.
    arguments: Mapping[str, str] = field(default_factory=dict)
    #: The number of axes of its input; None where the file does not say.
    rank: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Saved:
    """What a file of weights holds."""

    arrays: Mapping[str, Array]
    #: By the layer's place; empty where the file holds values alone.
    settings: Mapping[str, Settings] = field(default_factory=dict)
