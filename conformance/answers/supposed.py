"""What a step would give if one change of the formula, a hypothesis, were made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.operations.expected import Expected
from conformance.operations.hypothesis import Hypothesis
from conformance.reference.computed import Request
from conformance.reference.expected import References

Array = np.ndarray[Any, np.dtype[Any]]


def supposed(
    hypothesis: Hypothesis, request: Request, before: Mapping[str, Array], references: References
) -> dict[str, Expected]:
    """Return the quantities that the hypothesis is about, as it would have them; gradients are left out."""
    changed = replace(
        request,
        configuration=hypothesis.configuration,
        dialect=hypothesis.dialect,
        variance=hypothesis.variance,
        hypothesis=hypothesis,
        inputs=replace(request.inputs, upstream=None),
    )
    with np.errstate(all="ignore"):
        results = references.under(changed, before, {}, references.suppositions(request, before, {}))
    about = hypothesis.only or results.keys()
    return {name: one for name, one in results.items() if name in about and not name.startswith("grad_")}
