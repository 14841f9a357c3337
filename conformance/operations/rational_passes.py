"""The second reference of each operation, by its name."""

from __future__ import annotations

from conformance.operations import rational
from conformance.operations.batch_renorm import rational as batch_renorm
from conformance.operations.differentiated_batch_norm import rational as differentiated
from conformance.operations.masked_batch_norm import rational as masked
from conformance.operations.rational import Passes
from conformance.operations.replicas import rational as replicas
from conformance.operations.untracked_batch_norm import rational as untracked
from conformance.operations.virtual_batch_norm import rational as virtual

PASSES = {
    "batch_norm": Passes(train=rational.train_batch_norm, infer=rational.infer_batch_norm),
    "batch_renorm": Passes(train=batch_renorm.train, infer=rational.infer_batch_norm),
    "centering": Passes(train=rational.train_centering, infer=rational.infer_centering),
    "differentiated_batch_norm": Passes(train=differentiated.train, infer=differentiated.infer),
    "masked_batch_norm": masked.PASSES,
    "replicated_batch_norm": Passes(train=replicas.train_batch_norm, infer=replicas.infer_batch_norm),
    "replicated_centering": Passes(train=replicas.train_centering, infer=replicas.infer_centering),
    "synchronized_batch_norm": Passes(train=replicas.train_synchronized, infer=replicas.infer_batch_norm),
    "transformed_batch_norm": Passes(train=rational.train_batch_norm, infer=rational.infer_batch_norm),
    "untracked_batch_norm": Passes(train=untracked.performed, infer=untracked.performed),
    "virtual_batch_norm": Passes(train=virtual.train, infer=rational.infer_batch_norm),
}
