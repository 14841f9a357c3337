"""What an adapter's author reads: the values an adapter is made of.

An adapter is one Python file that translates between the words of the spec and one library: an `ADAPTER`, and
`PROCESSES`, a literal that is read without importing the file. It is the name of a family in `adapters/processes.yaml` or
a list such as `[{"name": "torch", "group": "torch", "environment": {}}]`, with an entry for each worker process:
`group`, the packages whose interpreter runs it (None: that of the run); `environment`, the variables set before anything
is imported (`{caches}`: a folder of its own that outlives the run); `dtypes`, where it cannot serve all; `threads`, the
variables that limit its threads; `shared`, a word: files with the same word and environment may share one process.

Functions take and give NumPy arrays (bfloat16 through `ml_dtypes`), in the shapes and the axis order that the library's
own user would see. An adapter never transposes, casts a result, compares, or catches an exception.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
#: By name, as a step function returns them: `output`, `grad_input`, `grad_gamma`, `grad_beta`, `batch_mean`,
#: `batch_variance`; and as `state` does: `gamma`, `beta`, `moving_mean`, `moving_variance`.
Quantities: TypeAlias = dict[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What a case asks of an implementation, in the words of the spec."""

    op: str
    shape: tuple[int, ...]
    feature_axes: tuple[int, ...]  #: Axes that are kept (one statistic per index), ascending, counted from 0.
    dtype: str
    parameter_dtype: str  #: Storage dtype of gamma, beta and the moving values.
    decay: float  #: Weight of the old moving value: moving = decay * moving + (1 - decay) * batch.
    epsilon: float
    scale: bool
    center: bool
    memory: str = "contiguous"  #: How the input lies in memory: that, "strided" or "channels_last".
    upstream_memory: str | None = None  #: The same of the upstream gradient; None: as the input.
    input_dtype: str | None = None  #: Of an input of whole numbers, such as "int32"; None: `dtype`.
    #: What the operation is told beyond these, by name, as the case writes it.
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def rank(self) -> int:
        """The number of axes of the input."""
        return len(self.shape)

    @property
    def features(self) -> tuple[int, ...]:
        """The sizes of the feature axes, ascending: the shape of every statistic."""
        return tuple(self.shape[axis] for axis in self.feature_axes)

    @property
    def feature_count(self) -> int:
        """The number of features, C."""
        return math.prod(self.features)

    @property
    def reduction_axes(self) -> tuple[int, ...]:
        """The axes that collapse: the complement of the feature axes."""
        return tuple(axis for axis in range(self.rank) if axis not in self.feature_axes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """How a user writes it, as data: `path(**keywords)` in the library's own words.

    `path` is dotted (`torch.nn.BatchNorm2d`) or names a class of the adapter file; `keywords` are literals. With
    `function=True` the keywords are bound and the steps call it with arrays.
    """

    path: str
    keywords: Mapping[str, Any]
    function: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One field of a profile: what the library itself says of its dialect, and where.

    Fields and values: `update` (exponential, zero_debiased, first_batch, cumulative, merge, none),
    `normalizes_with` (batch, moving_before, moving_after), `normalizing_correction` and `moving_correction` (0, 1),
    `single_value` (zero_variance, error, identity), `empty_batch` (keep, error), `frozen_implies_inference` (bool),
    `statistics_dtype`, `state` (layer, caller, none), `replica_moving` (apart, mean, first), `replica_gradients`
    (sum, mean). An undeclared field has the spec's own value.
    """

    field: str
    value: str | int | bool
    source: Literal["documentation", "source code", "observed"]
    where: str  #: The place, and the sentence or the line that says it.
    error: str | None = None  #: For the value "error": the exception's type by name.
    ranks: tuple[int, ...] | None = None  #: Of the input, for which it holds; None for all.


@dataclass(frozen=True, slots=True, kw_only=True)
class Implementation:
    """One native thing a user would call: a column of the report.

    `call(configuration)` gives the native call. `start(native, configuration, state, mode, device)` puts the state into
    it, moves it to the device, prepares the mode, and returns whatever the steps need. `state(live)` reads it back.
    `steps` maps a step's kind to its function:

        train(live, x, upstream or None) -> Quantities  infer(live, x, upstream or None) -> Quantities
        reload(live) -> live    freeze(live)    unfreeze(live)    sgd(live, learning_rate)

    Further arrays of a step, such as a mask, come by name: `train(live, x, upstream, mask=…)`.

    Each is a function at the top level of the file, or a `functools.partial` of one with literals or names of the file,
    and uses this module in annotations alone: its source becomes the script of `conformance reproduce`. A kind without
    a function is unsupported. `compilations(live)` counts its graphs: the proof that it compiled.

    `timed` serves throughput and converts nothing: put(array, device) -> native, get(native) -> array, wait(live,
    results) until they are computed; of a device beside the CPU clock(live) -> seconds and copy(live, x); the passes
    infer, train_forward, train, infer_into (a buffer it reuses): pass(live, x, upstream or None) -> native results.
    """

    name: str
    op: str
    profile: tuple[Declared, ...]
    modes: tuple[str, ...]
    devices: tuple[str, ...] = ("cpu",)
    dtypes: tuple[str, ...]
    supports: Callable[[Configuration], str | None]
    call: Callable[[Configuration], Call]
    start: Callable[..., Any]
    state: Callable[[Any], Quantities]
    steps: Mapping[str, Callable[..., Any]]
    compilations: Callable[[Any], int] | None = None
    #: Quantities that the API does not give, such as gradients where there is no differentiation.
    lacks: tuple[str, ...] = ()
    timed: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    documentation: str = ""  #: The page of the library's own.
    #: State that is an argument of each call, and so may have any size; in training a caller keeps the moving values.
    given: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)  #: State -> as it is saved; `*`: the layer's own place.


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """One library: its versions, the numerics-relevant settings in force, and its implementations."""

    library: str
    versions: Mapping[str, str]
    settings: Mapping[str, str] = field(default_factory=dict)
    #: How the names of its threads begin, which are counted where the library tells no number; empty: the process's own.
    pool: str | None = None
    #: Seconds that the library has spent on tracing and compiling so far, where it tells them.
    compiling: Callable[[], float] | None = None
    implementations: tuple[Implementation, ...]
