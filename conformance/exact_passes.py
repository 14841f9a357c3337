"""The second reference's passes, by operation: `conformance.exact` and what joins it in modules of its own."""

from __future__ import annotations

from conformance import exact, exact_renorm
from conformance.exact import Passes

PASSES = {
    **exact.PASSES,
    "batch_renorm": Passes(train=exact_renorm.train, infer=exact.infer_batch_norm),
}
