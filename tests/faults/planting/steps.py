"""Faults in freezing, in gradient steps, in saving and loading, and in what a step returns."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.faults.planting.layer import BFLOAT16, HALF, Layer, descended, frozen, output, planted
from tests.faults.planting.parts import rounded


def wobbling(l: Layer, n: Any) -> Any:
    found = output(l, n)
    return np.nextafter(found, l.t(np.inf)) if l.kind == "infer" and l.inferred % 2 else found


# fmt: off
FAULTS = (
    planted("frozen_infers", "Frozen, a train step infers.", "frozen layer infers", cases=("freezing.training-goes-on/features-last", "freezing.training-goes-on/features-first", "freezing.from-the-start/rank-2", "freezing.gradient-step", "freezing.from-the-start/rank-5"), trains=lambda l: not l.frozen),
    planted("freeze_ignored", "Frozen, gamma and beta still move.", "a frozen layer learns", cases=("freezing.gradient-step",), froze=lambda l, on: None),
    planted("unfreeze_ignored", "Once frozen, gamma and beta never move again.", "not moved by a gradient step", cases=("freezing.from-the-start/rank-2", "freezing.gradient-step", "freezing.from-the-start/rank-5"), froze=lambda l, on: frozen(l, True)),
    planted("sgd_sign", "Gradient steps go uphill.", "gradient step uphill", cases=("freezing.from-the-start/rank-2", "affine.gradient-steps", "freezing.gradient-step", "freezing.from-the-start/rank-5", "affine.gradient-steps-rank-4/features-last"), descended=lambda l, n, old, d, rate: old + old.dtype.type(rate) * d),
    planted("sgd_without_rate", "Gradient steps leave the learning rate out.", "gradient step without its learning rate", cases=("freezing.from-the-start/rank-2", "affine.gradient-steps", "freezing.gradient-step", "freezing.from-the-start/rank-5", "affine.gradient-steps-rank-4/features-last"), descended=lambda l, n, old, d, rate: old - d),
    planted("sgd_beta_alone", "Gradient steps leave gamma.", "gamma not moved by a gradient step", cases=("freezing.from-the-start/rank-2", "affine.gradient-steps", "freezing.gradient-step", "freezing.from-the-start/rank-5", "affine.gradient-steps-rank-4/features-last"), descended=lambda l, n, old, d, rate: descended(l, n, old, d, rate) if n == "beta" else old),
    planted("reload_loses_variance", "The moving variance is not saved.", "moving_variance not saved", cases=("standardizing.reload/variance/float32", "reloading.without-gamma-and-beta", "adapting.reload", "reloading.batch-norm/features-last", "standardizing.reload/variance/float64"), loaded=lambda l, s: {**s, "moving_variance": np.ones_like(s["moving_variance"])}),
    planted("reload_in_half", "The state is saved in bfloat16.", "saved in bfloat16", cases=("standardizing.reload/variance/float32", "reloading.without-gamma-and-beta", "adapting.reload", "reloading.batch-norm/features-last", "standardizing.reload/variance/float64"), loaded=lambda l, s: {n: rounded(v, BFLOAT16) for n, v in s.items()}),
    planted("reload_starts_over", "Loading gives the initial state.", "loading gives the initial state", cases=("standardizing.reload/variance/float32", "reloading.without-gamma-and-beta", "adapting.reload", "reloading.batch-norm/features-last", "standardizing.reload/variance/float64"), loaded=lambda l, s: dict(l.initial)),
    planted("output_dtype", "Half-precision input gives float32 output.", "has dtype", cases=("peers.webnn-half", "inference.half/rank-2/bfloat16", "precision.large-mean", "stability.half-top/bfloat16-2-4", "epsilon.half/float16"), given=lambda l, q: {**q, "output": q["output"].astype(np.float32)} if l.configuration.dtype in HALF else q),
    planted("inference_not_repeatable", "Every second inference rounds its output up.", "differs from step", cases=("standardizing.reload/variance/float32", "reloading.without-gamma-and-beta", "axes.rank-2/float32", "adapting.reload", "freezing.from-the-start/rank-5"), output=wobbling),
)
# fmt: on
