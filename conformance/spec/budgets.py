"""What a case file may ask for: a typing error, or a file that somebody sent, meets these before any work is done.

`docs/limits.md` has them in one table with the limits of everything else.
"""

from __future__ import annotations

#: Bytes of one file; the largest that is shipped has a hundredth.
FILE_BYTES = 4 * 2**20
#: Values of one file, with every alias written out: more than any hand-written file has; an alias bomb has more within
#: a few lines.
VALUES = 200_000
#: Levels that values nest.
DEPTH = 40
#: Cases that the matrices of one file may expand to.
CASES = 2_000
#: Characters of an id: with implementation, mode and device it is the name of a cell, and of a page.
ID_LENGTH = 150
#: Threads of a process: what a case of a number of threads may ask for.
THREADS = 1024
#: Steps of one case, with every repetition.
STEPS = 10_000
#: Bytes of one step's input: a reference in float64 or wider needs several times as much.
INPUT_BYTES = 128 * 2**20
#: Bytes of the inputs of all steps of a case, with every repetition: a worker is sent them together.
WHOLE_BYTES = 2 * INPUT_BYTES


def mebibytes(size: float) -> str:
    """Return a size in bytes as a person reads it."""
    return f"{size / 2**20:,.0f} MiB"
