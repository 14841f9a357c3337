"""Steps of several replicas by exact rational arithmetic: clauses 24.1 to 24.14.

A replica's share of one feature is a run of its values: the first axis of the input comes first in their order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from conformance.operations.batch_norm import rational as batch_norm
from conformance.operations.batch_norm.rational import Moments, entered, moving_of
from conformance.operations.centering import rational as centering
from conformance.operations.masked_batch_norm import rational as masked_batch_norm
from conformance.operations.rational import Feature, Numbers, Passes, Quantities, Rule, by_feature, summed

_Pass: TypeAlias = Callable[[Feature, Rule], Quantities]
_SHARED = ("grad_gamma", "grad_beta")


def train_synchronized(one: _Pass, feature: Feature, rule: Rule) -> Quantities:
    """Return what the whole batch gives, and each replica's moving values moved by the whole batch's statistics."""
    quantities = one(feature, rule)
    for number, _ in enumerate(_shares(rule), start=1):
        own = one(entered(feature, _moving(feature, number)), rule)
        quantities |= {_name(name, number): own[name] for name in ("moving_mean", "moving_variance")}
    return _averaged_gradients(quantities, rule)


def train_batch_norm(feature: Feature, rule: Rule) -> Quantities:
    """Return what replicas give that each normalize by their own share's statistics."""
    return _train(batch_norm.train, feature, rule)


def infer_batch_norm(feature: Feature, rule: Rule) -> Quantities:
    """Return what replicas give that each infer by their own moving values."""
    return _infer(batch_norm.infer, feature, rule)


def train_centering(feature: Feature, rule: Rule) -> Quantities:
    """Return what replicas give that each subtract their own share's mean."""
    return _train(centering.train, feature, rule)


def infer_centering(feature: Feature, rule: Rule) -> Quantities:
    """Return what replicas give that each subtract their own moving mean."""
    return _infer(centering.infer, feature, rule)


def _train(one: _Pass, feature: Feature, rule: Rule) -> Quantities:
    by_replica = [one(share, rule) for share in _shared(feature, rule)]
    quantities = _together(by_replica, rule)
    for name in ("moving_mean", "moving_variance"):
        if name not in by_replica[0]:
            continue
        moved = [replica[name] for replica in by_replica]
        if rule.dialect.replica_moving == "mean":
            moved = [_quotient(_sum(moved), len(moved))] * len(moved)
        quantities |= {_name(name, number): value for number, value in enumerate(moved, start=1)}
    return quantities


def _infer(one: _Pass, feature: Feature, rule: Rule) -> Quantities:
    shares = _shared(feature, rule)
    quantities = _together([one(share, rule) for share in shares], rule)
    for number, share in enumerate(shares, start=1):
        moving = moving_of(share)
        held = {"moving_mean": moving.mean, "moving_variance": moving.variance}
        quantities |= {_name(name, number): [value] for name, value in held.items() if value is not None}
    return quantities


def _shared(feature: Feature, rule: Rule) -> list[Feature]:
    """Return each replica's share of the feature, with the moving values with which it enters the step."""
    sizes = _shares(rule)
    run = len(feature.x) // sum(sizes) if sum(sizes) else 0
    shares, start = [], 0
    for number, size in enumerate(sizes, start=1):
        end = start + size * run
        moving = _moving(feature, 1 if rule.dialect.replica_moving == "first" else number)
        upstream = None if feature.upstream is None else feature.upstream[start:end]
        shares.append(entered(replace(feature, x=feature.x[start:end], upstream=upstream), moving))
        start = end
    return shares


def _shares(rule: Rule) -> Sequence[int]:
    return [int(size) for size in rule.options["shards"]]


def _name(name: str, number: int) -> str:
    return name if number == 1 else f"{name}_{number}"


def _moving(feature: Feature, number: int) -> Moments:
    mean, variance = (feature.state.get(_name(name, number)) for name in ("moving_mean", "moving_variance"))
    return Moments(mean=mean, variance=variance)


def _together(by_replica: Sequence[Quantities], rule: Rule) -> Quantities:
    """Return the values of all shares one after another, and the gradients of what they share added."""
    quantities: Quantities = {}
    for name in ("output", "grad_input"):
        if name in by_replica[0]:
            runs = [replica[name] for replica in by_replica]
            quantities[name] = (
                None if any(run is None for run in runs) else [value for run in runs for value in run or []]
            )
    quantities |= {
        name: _sum([replica[name] for replica in by_replica])
        for name in _SHARED
        if all(name in replica for replica in by_replica)
    }
    return _averaged_gradients(quantities, rule)


def _averaged_gradients(quantities: Quantities, rule: Rule) -> Quantities:
    if rule.dialect.replica_gradients == "sum":
        return quantities
    return quantities | {
        name: _quotient(quantities[name], len(_shares(rule))) for name in _SHARED if name in quantities
    }


def _sum(by_replica: Sequence[Numbers | None]) -> Numbers | None:
    numbers = [replica[0] for replica in by_replica if replica is not None]
    return [summed(numbers)] if len(numbers) == len(by_replica) else None


def _quotient(number: Numbers | None, by: int) -> Numbers | None:
    return None if number is None else [number[0] / by]


SYNCHRONIZED, MASKED_SYNCHRONIZED = (
    Passes(train=by_feature(functools.partial(train_synchronized, one)), infer=by_feature(infer_batch_norm))
    for one in (batch_norm.train, masked_batch_norm.train)
)
BATCH_NORM = Passes(train=by_feature(train_batch_norm), infer=by_feature(infer_batch_norm))
CENTERING = Passes(train=by_feature(train_centering), infer=by_feature(infer_centering))
