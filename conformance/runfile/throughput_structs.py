"""The lines of a run of throughput as typed values: what was to be timed, and one line for each pass that was."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import field

from conformance.runfile.line import Dtype, Line, Part
from conformance.runfile.numbers import Number
from conformance.verdict import Verdict

#: The call that is timed; empty where an implementation offers none.
PassName: TypeAlias = Literal["", "infer", "infer_into", "train_forward", "train"]
TimingStanding: TypeAlias = Literal["scored", "launch_bound", "cached", "invalid", "voided", "unmeasured"]


class RecordedEffort(Part, frozen=True, kw_only=True):
    """How much was measured: batches of each call, and the seconds and rounds of a batch at least."""

    batches: int
    seconds: float
    rounds: int
    #: Batches at most, of a call whose batches differ; None: as many as at least.
    most: int | None = None


class ThroughputPlan(Part, frozen=True, kw_only=True):
    """What a run of throughput was to time: the number of passes, how thoroughly, and the last cache's bytes."""

    planned: int
    effort: RecordedEffort | None = None
    cache: int | None = None
    #: How it was measured. 1: only a drifting bandwidth voids, and a void line keeps its numbers. 2: contention voids
    #: a sample, a line of void samples has no numbers, and the shapes follow the machine. 3: the memory of a call has its
    #: results in it; the calls of the warm-up, and a call while the results before it are held, stand in the line; what
    #: takes fewer threads than there are cores is timed with as many too.
    method: int = 1
    #: Bytes of the machine's memory, which bound the shapes.
    memory: int | None = None


class BatchTimes(Part, frozen=True, kw_only=True):
    """The median seconds of one call in a batch, and the bandwidths before and after it, in bytes a second."""

    seconds: float
    before: float
    after: float


class BatchStatistics(Part, frozen=True, kw_only=True):
    """What pytest-benchmark says of one batch, in seconds a call."""

    min: float
    q1: float
    median: float
    q3: float
    max: float
    rounds: int
    iterations: int


class Conditions(Part, frozen=True, kw_only=True):
    """What else the machine did meanwhile, as `conformance.worker.conditions` notes it; None: the system does not tell."""

    seconds: float
    cores: int
    busy: float
    elsewhere: float | None = None
    others: int | None = None
    switches: int | None = None
    waited: float | None = None
    stalled: float | None = None
    stolen: float | None = None


class WarmUp(Part, frozen=True, kw_only=True, omit_defaults=False):
    """What it takes until a pass is warm, in seconds."""

    first: float
    start: float | None = None
    second: float | None = None
    #: Of each of the first calls, those two among them.
    calls: tuple[float, ...] = ()
    #: Of a warm call, with the results before it freed, and with them held until it has its own.
    freed: float | None = None
    held: float | None = None
    #: Bytes by which one call's memory grows, its results among them.
    peak: int | None = None
    #: Graphs compiled.
    compilations: int | None = None


class Shares(Part, frozen=True, kw_only=True):
    """What must be moved at least, and what plain passes one after the other move: in tensors, or in shares of the bandwidth."""

    compulsory: float
    streaming: float


class Measurement(Part, frozen=True, kw_only=True):
    """What was measured of a pass."""

    seconds: float
    fractions: Shares
    warmed: WarmUp
    verdict: Verdict
    score: Number | None = None
    batches: tuple[BatchTimes, ...] = ()
    statistics: tuple[BatchStatistics, ...] = ()
    #: Under which each of the batches was measured.
    conditions: tuple[Conditions, ...] = ()
    tensor_bytes: int | None = None
    #: Tensors that must be moved.
    traffic: Shares | None = None


class ThroughputLine(Line, frozen=True, kw_only=True, tag="throughput"):
    """One pass of one cell that was timed, or why it was not."""

    timed: str
    case: str
    implementation: str
    mode: str
    device: str
    environment: str
    pass_: PassName = field(name="pass")
    op: str
    dtype: Dtype
    shape: tuple[int, ...]
    standing: TimingStanding
    #: The number of threads it was limited to; None: as many as its library takes.
    threads: int | None = None
    feature_axes: tuple[int, ...] = ()
    why: str = ""
    measurement: Measurement | None = None
    #: Samples that were void, with all that disturbed each; the numbers are of the others.
    voided: tuple[tuple[str, ...], ...] = ()
