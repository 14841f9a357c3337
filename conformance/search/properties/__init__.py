"""Properties: identities between the results of related cases, which hold whatever the numbers are."""

from __future__ import annotations

from collections.abc import Mapping

from conformance.search.properties import batch_norm, centering, sample_norm
from conformance.search.properties import sample_norm_groups as groups
from conformance.search.properties.identity import Family
from conformance.search.shapes import Layout

#: Two features, so that one can be changed beside the other; 16 values of each, so that the exact data fit.
_OF_FEATURES = (
    Layout((16, 2), (1,)),
    Layout((4, 2, 2, 2), (1,)),
    Layout((4, 2, 2, 2), (3,)),
    Layout((8, 2, 2), (1,)),
    Layout((8, 2, 2), (2,)),
)
#: Rows of 16 features.
_OF_ROWS = (Layout((4, 16), (1,)), Layout((2, 2, 16), (2,)), Layout((4, 4, 4), (1, 2)))
#: Four features at four positions of four samples.
_OF_CHANNELS = (Layout((4, 4, 4), (1,)), Layout((4, 4, 2, 2), (1,)), Layout((4, 2, 2, 4), (3,)))

#: By operation.
PROPERTIES: Mapping[str, Family] = {
    "batch_norm": Family(properties=batch_norm.PROPERTIES, layouts=_OF_FEATURES),
    "centering": Family(properties=centering.PROPERTIES, layouts=_OF_FEATURES),
    "layer_norm": Family(properties=sample_norm.of("layer_norm", groups.rows), layouts=_OF_ROWS),
    "rms_norm": Family(properties=sample_norm.of("rms_norm", groups.rows, centred=False), layouts=_OF_ROWS),
    "group_norm": Family(
        properties=sample_norm.of("group_norm", groups.halves), layouts=_OF_CHANNELS, options={"groups": 2}
    ),
    "instance_norm": Family(properties=sample_norm.of("instance_norm", groups.channels), layouts=_OF_CHANNELS),
}
