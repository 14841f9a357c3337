"""Properties: identities between the results of related cases, which hold whatever the numbers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from conformance.search.properties import batch_norm, centering
from conformance.search.properties.identity import Property

#: By operation.
PROPERTIES: Mapping[str, Sequence[Property]] = {
    "batch_norm": batch_norm.PROPERTIES,
    "centering": centering.PROPERTIES,
}
