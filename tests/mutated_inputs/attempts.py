"""Trying spoiled inputs, one after another, each within a time."""

from __future__ import annotations

import random
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.mutated_inputs.case_files import read_case, spoiled_case
from tests.mutated_inputs.command_lines import run_line, spoiled_line
from tests.mutated_inputs.frames import spoiled_frame, take_frame

#: Of processor time, since the machine may be busy with other work.
SECONDS = 10.0
Kind = tuple[Callable[[random.Random], bytes], Callable[[bytes, Path], None]]
KINDS: dict[str, Kind] = {
    "specs": (spoiled_case, read_case),
    "frames": (spoiled_frame, take_frame),
    "lines": (spoiled_line, run_line),
}


def attempts(kind: str, seed: int, count: int) -> Iterator[tuple[bytes, str, float]]:
    """Yield each spoiled input with how its treatment failed, if it did, and the seconds that it took.

    What takes more than `SECONDS` fails so.
    """
    make, treat = KINDS[kind]
    draw = random.Random(seed)
    signal.signal(signal.SIGPROF, _hung)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(count):
            spoiled, failure, began = make(draw), "", time.process_time()
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                treat(spoiled, Path(folder))
            except Exception:  # noqa: BLE001 - whatever ends it is what is looked for
                failure = traceback.format_exc()
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            yield spoiled, failure, time.process_time() - began


def _hung(*_: object) -> None:
    raise TimeoutError(f"no end within {SECONDS} s")
