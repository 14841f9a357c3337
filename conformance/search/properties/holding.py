"""In which dialects an identity holds."""

from __future__ import annotations

from conformance.dialect import Dialect


def train_of_batch(dialect: Dialect) -> bool:
    """Return whether training normalizes with the batch, by the variance with correction 0."""
    return dialect.normalizes_with == "batch" and not dialect.normalizing_correction


def plain_update(dialect: Dialect) -> bool:
    """Return whether the layer keeps moving values that move by one weight, the batch variance with correction 0."""
    return dialect.update == "exponential" and not dialect.moving_correction and dialect.state == "layer"


def both(dialect: Dialect) -> bool:
    """Return whether both of these hold."""
    return train_of_batch(dialect) and plain_update(dialect)


def exponential(dialect: Dialect) -> bool:
    """Return whether the layer keeps moving values that move by one weight."""
    return dialect.update == "exponential" and dialect.state == "layer"


def of_batch(dialect: Dialect) -> bool:
    """Return whether a train step takes the statistics of its batch."""
    return dialect.normalizes_with == "batch"
