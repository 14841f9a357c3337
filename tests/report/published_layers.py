"""A small run as a person would make it: two libraries, the published layer, a choice in which they differ, and a fault."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from conformance.runfile.run import Run
from tests.report_lines import case, record, run
from tests.run_lines import KERAS, TORCH, configuration, environment_line, record_line

Line = dict[str, Any]

#: The public question's numbers, as they were printed.
PRINTED = ("0.79519051", "4.17485714")
PUBLISHED = case(
    "published.layer-2017/features-last",
    title="A layer at inference maps [1, 5] by its moving values, not to [-1, 1].",
    configuration=configuration(shape=[1, 1, 2, 1], feature_axes=[3], center=False),
    initial={
        "gamma": {"kind": "literal", "values": [0.80644524], "dtype": "float32"},
        "moving_mean": {"kind": "literal", "values": [0.05885344], "dtype": "float32"},
        "moving_variance": {"kind": "literal", "values": [0.91000736], "dtype": "float32"},
    },
    steps=[{"step": "infer", "input": {"kind": "literal", "values": [[[[1.0], [5.0]]]]}}],
    published=[{"step": 1, "quantity": "output", "values": [[[[PRINTED[0]], [PRINTED[1]]]]], "dtype": "float32"}],
)
_DECAYS = {"moving.slow": 0.75, "moving.quick": 0.25}
_MOVING = tuple(case(name, configuration=configuration(decay=decay)) for name, decay in _DECAYS.items())
_CORRECTION = {
    "field": "moving_correction", "value": 1, "source": "documentation", "where": "the page", "error": None, "ranks": None,
}  # fmt: skip


def porters_run() -> Run:
    """Return the run: torch keeps another variance, as it documents, and is wrong on an empty batch; Keras is right."""
    named = PUBLISHED["id"]
    listed = [{"reason": "It decays.", "diagnosis": "Known.", "upstream": None}]
    records = [
        record("conforms", of=named, call="torch.nn.BatchNorm2d(momentum=0.1)"),
        record_line("conforms", of=named, implementation=KERAS, call="keras.layers.BatchNormalization(momentum=0.9)"),
        record("deviates", "xfailed", of="edges.empty", divergence=listed, diagnosis="an empty batch decays"),
        record_line("conforms", of="edges.empty", implementation=KERAS),
    ]
    for name, decay in _DECAYS.items():
        records += [
            record("dialect", of=name, call=f"torch.nn.BatchNorm1d(momentum={1 - decay})"),
            record_line(
                "conforms", of=name, implementation=KERAS, call=f"keras.layers.BatchNormalization(momentum={decay})"
            ),
        ]
    offered = {"op": "batch_norm", "modes": ["eager"], "devices": ["cpu"], "documentation": ""}
    environments = (
        environment_line(TORCH, implementations=[{"name": TORCH, "profile": [_CORRECTION], **offered}]),
        environment_line(KERAS, "3.15.0", implementations=[{"name": KERAS, "profile": [], **offered}]),
    )
    made = run(*records, cases=(PUBLISHED, *_MOVING, case("edges.empty")), environments=environments)
    # What the data of a case are is in no line of format 1.
    return replace(made, header=msgspec.structs.replace(made.header, data_kinds={"edges.*": "edges"}))
