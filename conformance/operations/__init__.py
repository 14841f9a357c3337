"""The operations the spec gives a meaning to."""

from __future__ import annotations

from conformance.operation import Operation
from conformance.operations.batch_norm import BATCH_NORM
from conformance.operations.batch_renorm import BATCH_RENORM
from conformance.operations.centering import CENTERING

OPERATIONS: dict[str, Operation] = {operation.name: operation for operation in (BATCH_NORM, BATCH_RENORM, CENTERING)}
