"""Faults in the backward pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.faults.planting.layer import BFLOAT16, Layer, gamma, grad_gamma, inverse, planted, rows
from tests.faults.planting.parts import inference, rounded, training


def training_gradient(l: Layer, g: Any, n: Any, root: Any) -> Any:
    if not len(g):
        return g
    return l.gamma() * root * (g - g.mean(0) - n * (g * n).mean(0))


def accumulating(l: Layer, quantities: Any) -> Any:
    found = dict(quantities)
    for name in ("grad_gamma", "grad_beta"):
        if name in found:
            l.kept[name] = found[name] = (found[name] + l.kept.get(name, 0)).astype(found[name].dtype)
    return found


def previous_gamma_gradient(l: Layer, g: Any, n: Any, x: Any, root: Any) -> Any:
    found = grad_gamma(l, g, n, x, root)
    last, l.kept["dgamma"] = l.kept.get("dgamma", found), found
    return last


# fmt: off
FAULTS = (
    planted("gradient_without_mean", "The mean's share is missing from the input gradient.", "mean term missing", when=training, grad_input=lambda l, g, n, r: l.gamma() * r * (g - n * (g * n).mean(0))),
    planted("gradient_without_variance", "The variance's share is missing from the input gradient.", "variance term missing", when=training, grad_input=lambda l, g, n, r: l.gamma() * r * (g - g.mean(0))),
    planted("gradient_of_constants", "The input gradient takes the batch statistics for constants.", "statistics taken for constants", when=training, grad_input=lambda l, g, n, r: l.gamma() * r * g),
    planted("gradient_without_gamma", "Gamma is missing from the input gradient.", "gamma missing from the input gradient", when=lambda l: training(l) and l.backward, gamma=lambda l: np.ones_like(gamma(l))),
    planted("gamma_gradient_not_normalized", "The gradient of gamma takes x - mean, without the root.", "gamma gradient not normalized", grad_gamma=lambda l, g, n, x, r: (g * n / r).sum(0)),
    planted("gamma_gradient_of_input", "The gradient of gamma takes x.", "gamma gradient of x", grad_gamma=lambda l, g, n, x, r: (g * x).sum(0)),
    planted("beta_gradient_mean", "The gradient of beta is a mean.", "beta gradient averaged", grad_beta=lambda l, g: g.mean(0) if len(g) else g.sum(0)),
    planted("gamma_gradient_of_last_step", "The gradient of gamma is that of the step before.", "gradient of gamma of the step before", grad_gamma=previous_gamma_gradient),
    planted("gradients_accumulate", "The gradients of gamma and beta add up over the steps.", "gradient of gamma and beta added up over the steps", given=accumulating),
    planted("gamma_gradient_missing", "The gradient of gamma is zero.", "gradient of gamma missing", grad_gamma=lambda l, g, n, x, r: 0 * n.sum(0)),
    planted("gamma_gradient_shape", "The gradient of gamma is not summed over the batch.", "has shape", grad_gamma=lambda l, g, n, x, r: g * n),
    planted("inference_gradient_of_training", "The input gradient in inference is that of training.", "training's input gradient in inference", when=inference, grad_input=training_gradient),
    planted("gradients_of_moving_variance", "The backward pass of training takes the moving variance.", "gradients with the root of the moving variance after", when=training, gradient_root=lambda l, r, v: inverse(l, l.value("moving_variance"))),
    planted("upstream_in_bfloat16", "The upstream gradient is rounded to bfloat16.", "upstream rounded to bfloat16", when=lambda l: l.backward, rows=lambda l, a: rounded(rows(l, a), BFLOAT16)),
)
# fmt: on
