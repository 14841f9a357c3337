"""The operations the spec gives a meaning to."""

from __future__ import annotations

from conformance.operations.batch_norm import BATCH_NORM
from conformance.operations.batch_renorm import BATCH_RENORM
from conformance.operations.centering import CENTERING
from conformance.operations.differentiated_batch_norm import DIFFERENTIATED_BATCH_NORM
from conformance.operations.differentiated_moments import DIFFERENTIATED_MOMENTS
from conformance.operations.group_norm import GROUP_NORM
from conformance.operations.instance_norm import INSTANCE_NORM
from conformance.operations.layer_norm import LAYER_NORM
from conformance.operations.masked_batch_norm import MASKED_BATCH_NORM
from conformance.operations.moments import MOMENTS
from conformance.operations.operation import Operation
from conformance.operations.partly_differentiated_batch_norm import PARTLY_DIFFERENTIATED_BATCH_NORM
from conformance.operations.replicas import REPLICAS
from conformance.operations.rms_norm import RMS_NORM
from conformance.operations.transformed_batch_norm import TRANSFORMED_BATCH_NORM
from conformance.operations.untracked_batch_norm import UNTRACKED_BATCH_NORM
from conformance.operations.virtual_batch_norm import VIRTUAL_BATCH_NORM
from conformance.operations.weighted_moments import WEIGHTED_MOMENTS

_VARIANTS = (
    BATCH_RENORM,
    DIFFERENTIATED_BATCH_NORM,
    DIFFERENTIATED_MOMENTS,
    MASKED_BATCH_NORM,
    MOMENTS,
    PARTLY_DIFFERENTIATED_BATCH_NORM,
    *REPLICAS,
    TRANSFORMED_BATCH_NORM,
    UNTRACKED_BATCH_NORM,
    VIRTUAL_BATCH_NORM,
    WEIGHTED_MOMENTS,
)
#: What normalizes each sample by statistics of its own.
_BY_SAMPLE = (LAYER_NORM, RMS_NORM, GROUP_NORM, INSTANCE_NORM)
OPERATIONS: dict[str, Operation] = {
    operation.name: operation for operation in (BATCH_NORM, CENTERING, *_VARIANTS, *_BY_SAMPLE)
}
