"""How many examples the suite's own properties draw: few, always the same, unless HYPOTHESIS_PROFILE says `search`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from conformance.testing.profiles import register

register()
_PROFILE = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def drawn(times: int = 1) -> settings:
    """Return the settings of a property that draws so many times the examples of the profile."""
    return settings(_PROFILE, max_examples=times * _PROFILE.max_examples, suppress_health_check=list(HealthCheck))
