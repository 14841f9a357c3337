"""The operations that the spec knows, by name."""

from __future__ import annotations

from conformance.operation import Operation
from conformance.operations.batch_norm import BATCH_NORM
from conformance.operations.batch_renorm import BATCH_RENORM
from conformance.operations.centering import CENTERING
from conformance.operations.transformed_batch_norm import TRANSFORMED_BATCH_NORM
from conformance.operations.virtual_batch_norm import VIRTUAL_BATCH_NORM

OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (BATCH_NORM, BATCH_RENORM, CENTERING, TRANSFORMED_BATCH_NORM, VIRTUAL_BATCH_NORM)
}
