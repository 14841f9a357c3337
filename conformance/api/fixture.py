"""A pytest fixture for a test suite of one's own, never loaded unless it is asked for.

pytest_plugins = ["conformance.api.fixture"]

def test_my_layer(conforms):
    conforms(my_layer(x), x, training=True, feature_axes=1, epsilon=1e-5)
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from conformance.api import Judgement, assert_conforms


@pytest.fixture(name="conforms")
def _conforms() -> Callable[..., Judgement]:
    """`conformance.api.assert_conforms`: fails the test where numbers are outside the bound of their very input."""
    return assert_conforms
