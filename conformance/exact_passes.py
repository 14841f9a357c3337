"""The second reference of each operation, by its name."""

from __future__ import annotations

from conformance import exact, exact_replicas
from conformance.exact import Passes

PASSES = {
    "batch_norm": Passes(train=exact.train_batch_norm, infer=exact.infer_batch_norm),
    "centering": Passes(train=exact.train_centering, infer=exact.infer_centering),
    "synchronized_batch_norm": Passes(train=exact_replicas.train_synchronized, infer=exact_replicas.infer_batch_norm),
    "replicated_batch_norm": Passes(train=exact_replicas.train_batch_norm, infer=exact_replicas.infer_batch_norm),
    "replicated_centering": Passes(train=exact_replicas.train_centering, infer=exact_replicas.infer_centering),
}
