"""How many examples the suite's own properties draw: few, always the same, unless HYPOTHESIS_PROFILE says `search`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from conformance.testing.profiles import register

register()
_PROFILE = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def drawn(times: int = 1) -> settings:
    """Return the settings of a property that draws so many times the examples of the profile."""
    return settings(_PROFILE, max_examples=times * _PROFILE.max_examples, suppress_health_check=list(HealthCheck))


def fails(check: Callable[..., None], *strategies: Any) -> bool:
    """Return whether an example is drawn that fails the check: the first will do, and is not made smaller."""

    @settings(drawn(4), phases=[Phase.generate])
    @given(st.tuples(*strategies))
    def attempt(values: tuple[Any, ...]) -> None:
        check(*values)

    try:
        attempt()
    except AssertionError:
        return True
    return False
