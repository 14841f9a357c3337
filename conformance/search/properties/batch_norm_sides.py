"""What the identities of batch normalization compare.

B is the bound of a quantity, that of `docs/tolerances.md` for the very step; r = (σ² + ε)^(-1/2), x̂ = (x - μ)·r. Where two
computed numbers are compared, each may be off by its own B. Where a sum or a product of computed numbers is compared with
its value, the bound is what their B make of it to first order and beyond.
"""

from __future__ import annotations

import numpy as np

from conformance.search.properties.identity import Evidence, Ground, Sides, near
from conformance.search.properties.sides import statistics


def permuted_near(ground: Ground, evidence: Evidence) -> Sides:
    """Compare the input gradients in the other order."""
    first, second, order = evidence[0][0], evidence[1][0], ground.order
    allowed = first.bound["grad_input"][order] + second.bound["grad_input"]
    return near("grad_input", first.got["grad_input"][order], second.got["grad_input"], allowed)


def isolated_sides(_ground: Ground, evidence: Evidence) -> Sides:
    """Compare the output of the first feature."""
    first, second = evidence[0][0], evidence[1][0]
    allowed = first.bound["output"][:, 0] + second.bound["output"][:, 0]
    return near("output", first.got["output"][:, 0], second.got["output"][:, 0], allowed)


def exchanged_sides(_ground: Ground, evidence: Evidence) -> Sides:
    """Compare the outputs in the other order of the features."""
    first, second = evidence[0][0], evidence[1][0]
    allowed = first.bound["output"][:, ::-1] + second.bound["output"]
    return near("output", first.got["output"][:, ::-1], second.got["output"], allowed)


def repeated_output(ground: Ground, evidence: Evidence) -> Sides:
    """Compare the first output with the first half of the second."""
    first, second, count = evidence[0][0], evidence[1][0], len(ground.x)
    allowed = first.bound["output"] + second.bound["output"][:count]
    return near("output", first.got["output"], second.got["output"][:count], allowed)


def sum_of_outputs(ground: Ground, evidence: Evidence) -> Sides:
    """Compare the sum of the outputs with m·β."""
    seen, beta = evidence[0][0], ground.state["beta"]
    return near("output", seen.got["output"].sum(axis=0), len(ground.x) * beta, seen.bound["output"].sum(axis=0))


def square_of_outputs(ground: Ground, evidence: Evidence) -> Sides:
    """Compare the mean square of the outputs less β with γ²·σ²/(σ² + ε)."""
    seen, (_, variance, _) = evidence[0][0], statistics(ground)
    centred, bound = seen.got["output"] - ground.state["beta"], seen.bound["output"]
    right = np.square(ground.state["gamma"]) * variance / (variance + np.longdouble(ground.epsilon))
    allowed = (2 * np.abs(centred) * bound + np.square(bound)).mean(axis=0)
    return near("output", np.square(centred).mean(axis=0), right, allowed)


def euler(ground: Ground, evidence: Evidence) -> Sides:
    """Compare Σ(x - μ)·dx with γ·ε·r²·dγ."""
    seen, (mean, _, root) = evidence[0][0], statistics(ground)
    deviation = ground.x - mean
    factor = ground.state["gamma"] * np.longdouble(ground.epsilon) * np.square(root)
    allowed = (np.abs(deviation) * seen.bound["grad_input"]).sum(axis=0) + np.abs(factor) * seen.bound["grad_gamma"]
    left = (deviation * seen.got["grad_input"]).sum(axis=0)
    return near("grad_input", left, factor * seen.got["grad_gamma"], allowed)


def gamma_of_outputs(ground: Ground, evidence: Evidence) -> Sides:
    """Compare γ·dγ with Σg·(y - β)."""
    seen, gamma, pull = evidence[0][0], ground.state["gamma"], ground.upstream
    right = (pull * (seen.got["output"] - ground.state["beta"])).sum(axis=0)
    allowed = np.abs(gamma) * seen.bound["grad_gamma"] + (np.abs(pull) * seen.bound["output"]).sum(axis=0)
    return near("grad_gamma", gamma * seen.got["grad_gamma"], right, allowed)


def sum_of_upstream(ground: Ground, evidence: Evidence) -> Sides:
    """Compare dβ with Σg."""
    seen = evidence[0][0]
    right = ground.upstream.astype(np.longdouble).sum(axis=0)
    return near("grad_beta", seen.got["grad_beta"], right, seen.bound["grad_beta"])


def no_gradient(_ground: Ground, evidence: Evidence) -> Sides:
    """Compare the input gradient with 0."""
    got = evidence[0][0].got["grad_input"]
    return near("grad_input", got, np.zeros_like(got), evidence[0][0].bound["grad_input"])


def symmetric(ground: Ground, evidence: Evidence) -> Sides:
    """Compare Σh·dx(g) with Σg·dx(h)."""
    first, second = evidence[0][0], evidence[1][0]
    left = (ground.pull * first.got["grad_input"]).sum(axis=0)
    right = (ground.upstream * second.got["grad_input"]).sum(axis=0)
    allowed = np.abs(ground.pull) * first.bound["grad_input"] + np.abs(ground.upstream) * second.bound["grad_input"]
    return near("grad_input", left, right, allowed.sum(axis=0))


def train_is_inference(ground: Ground, evidence: Evidence) -> Sides:
    """Compare both outputs: the moving values that the second normalizes with may be off by their own bounds.

    |γ|·|(x - μ)·r - (x - μ')·r'| ≤ |γ|·((|x - μ| + δμ)·(r(σ² - δσ²) - r(σ² + δσ²)) + r·δμ).
    """
    trained, inferred = evidence[0]
    mean, variance, root = statistics(ground)
    off_mean, off_variance = trained.bound["moving_mean"], trained.bound["moving_variance"]
    epsilon = np.longdouble(ground.epsilon)
    spread = 1 / np.sqrt(np.maximum(variance - off_variance, 0) + epsilon) - 1 / np.sqrt(
        variance + off_variance + epsilon
    )
    moved = (np.abs(ground.x - mean) + off_mean) * spread + root * off_mean
    allowed = trained.bound["output"] + inferred.bound["output"] + np.abs(ground.state["gamma"]) * moved
    return near("output", trained.got["output"], inferred.got["output"], allowed)


def affine_sides(_ground: Ground, evidence: Evidence) -> Sides:
    """Compare f(a) + f(b) with f(a + b) + f(0)."""
    a, b, both, zero = (arm[0] for arm in evidence)
    allowed = a.bound["output"] + b.bound["output"] + both.bound["output"] + zero.bound["output"]
    left = a.got["output"] + b.got["output"]
    return near("output", left, both.got["output"] + zero.got["output"], allowed)


def stays(ground: Ground, evidence: Evidence) -> Sides:
    """Compare M with the mean of the batch, which it was before."""
    seen = evidence[0][0]
    return near("moving_mean", seen.got["moving_mean"], ground.x.mean(axis=0), seen.bound["moving_mean"])


def between(ground: Ground, evidence: Evidence) -> Sides:
    """Compare V with its nearest value between the old one and that of the batch."""
    seen, variance, old = evidence[0][0], statistics(ground)[1], ground.state["moving_variance"]
    got = seen.got["moving_variance"]
    held = np.clip(got, np.minimum(old, variance), np.maximum(old, variance))
    return near("moving_variance", got, held, seen.bound["moving_variance"])


def is_beta(ground: Ground, evidence: Evidence) -> Sides:
    """Compare the output with β."""
    got = evidence[0][0].got["output"]
    return near("output", got, np.broadcast_to(ground.state["beta"], got.shape), evidence[0][0].bound["output"])
