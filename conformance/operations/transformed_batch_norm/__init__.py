"""Batch normalization called through a transformation that must not change it: clauses 26.1 to 26.4.

Checkpointing, a stateless call, donated buffers, a map over a stack of layers: what comes out, and what state is left, is
what batch normalization gives. A stack is one layer with a further feature axis, the first.
"""

from __future__ import annotations

from dataclasses import replace

from conformance.operations.batch_norm import BATCH_NORM

TRANSFORMED_BATCH_NORM = replace(BATCH_NORM, name="transformed_batch_norm", ladder="", observers={})
