"""What each process of a run did and when, as the run file's last line has it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from conformance.runfile.line import Part

Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
#: By part of the run, all of one length.
Parts = Annotated[tuple[Percent, ...], msgspec.Meta(max_length=1000)]


class RecordedLane(Part, frozen=True, kw_only=True):
    """One worker process: from when to when it lived, in seconds from the start of the run, and what it did meanwhile."""

    name: str
    began: Seconds
    ended: Seconds
    cells: int
    calls: Seconds
    importing: Seconds
    #: Of all cores, inside calls and imports.
    processor: Seconds
    #: Of tracing and compiling, among those inside calls; None where the library does not tell.
    compiling: Seconds | None = None
    #: Inside a call or importing.
    parts: Parts = ()


class RecordedTimeline(Part, frozen=True, kw_only=True):
    """The whole of a run, or of its last stretch where it was resumed."""

    seconds: Seconds
    #: In which the process that judges did anything but wait.
    own: Parts = ()
    lanes: tuple[RecordedLane, ...] = ()

    @property
    def busy(self) -> float:
        """How many cores the libraries kept busy on average."""
        return sum(lane.processor for lane in self.lanes) / self.seconds if self.seconds else 0.0
