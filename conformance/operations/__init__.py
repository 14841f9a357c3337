"""The operations the spec gives a meaning to."""

from __future__ import annotations

from conformance.operation import Operation
from conformance.operations.batch_norm import BATCH_NORM
from conformance.operations.centering import CENTERING
from conformance.operations.masked_batch_norm import MASKED_BATCH_NORM

OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        BATCH_NORM,
        CENTERING,
        MASKED_BATCH_NORM,
    )
}
