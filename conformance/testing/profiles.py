"""The Hypothesis profiles of the suite."""

from __future__ import annotations

from hypothesis import HealthCheck, settings


def register() -> None:
    """Register `ci`, a few examples that are always the same, and `search`, many that are others each time."""
    settings.register_profile("ci", max_examples=25, derandomize=True, database=None, deadline=None)
    settings.register_profile(
        "search", max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
