"""The second reference of each operation, by its name."""

from __future__ import annotations

from conformance import (
    exact,
    exact_differentiated,
    exact_masked,
    exact_renorm,
    exact_replicas,
    exact_untracked,
    exact_virtual,
)
from conformance.exact import Passes

PASSES = {
    "batch_norm": Passes(train=exact.train_batch_norm, infer=exact.infer_batch_norm),
    "batch_renorm": Passes(train=exact_renorm.train, infer=exact.infer_batch_norm),
    "centering": Passes(train=exact.train_centering, infer=exact.infer_centering),
    "differentiated_batch_norm": Passes(train=exact_differentiated.train, infer=exact_differentiated.infer),
    "masked_batch_norm": exact_masked.PASSES,
    "replicated_batch_norm": Passes(train=exact_replicas.train_batch_norm, infer=exact_replicas.infer_batch_norm),
    "replicated_centering": Passes(train=exact_replicas.train_centering, infer=exact_replicas.infer_centering),
    "synchronized_batch_norm": Passes(train=exact_replicas.train_synchronized, infer=exact_replicas.infer_batch_norm),
    "transformed_batch_norm": Passes(train=exact.train_batch_norm, infer=exact.infer_batch_norm),
    "untracked_batch_norm": Passes(train=exact_untracked.performed, infer=exact_untracked.performed),
    "virtual_batch_norm": Passes(train=exact_virtual.train, infer=exact.infer_batch_norm),
}
