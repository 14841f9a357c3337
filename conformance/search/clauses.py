"""Which clauses of the semantics a drawn case exercises, by what is in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Raw = Mapping[str, Any]


def clauses_of(raw: Raw) -> tuple[str, ...]:
    """Return the numbers of the clauses that a case exercises, a case being what a spec file writes."""
    kinds = {step["step"] for step in raw["steps"]}
    found = [*_BY_OPERATION.get(raw["op"], ()), *(_COMMON if raw["op"] not in _APART else ())]
    for kind in kinds:
        found += _BY_STEP.get("centering" if "centering" in raw["op"] else "", {}).get(kind, ())
        found += _BY_STEP["*"].get(kind, ()) if raw["op"] not in _APART else ()
    found += [clause for clause, holds in _WHERE if holds(raw)]
    return tuple(sorted(dict.fromkeys(found), key=lambda number: [int(part) for part in number.split(".")])) or ("1.1",)


#: The operations that normalize by statistics of each sample.
_BY_SAMPLE = ("layer_norm", "rms_norm", "group_norm", "instance_norm")
#: The operations that take no part in the clauses of batch normalization's steps.
_APART = ("centering", "replicated_centering", "moments", "differentiated_moments", "weighted_moments", *_BY_SAMPLE)
_COMMON = ("2.1", "2.2", "3.1", "13.1")
_BY_OPERATION: Mapping[str, tuple[str, ...]] = {
    "centering": ("20.2",),
    "masked_batch_norm": ("22.2", "22.5"),
    "batch_renorm": ("23.1", "23.2", "23.5", "23.6"),
    "synchronized_batch_norm": ("24.1", "24.2", "24.3"),
    "masked_synchronized_batch_norm": ("22.2", "22.5", "24.2", "24.13"),
    "partly_differentiated_batch_norm": ("11.6",),
    "replicated_batch_norm": ("24.1", "24.8", "24.9"),
    "replicated_centering": ("24.1", "24.10"),
    "virtual_batch_norm": ("25.1", "25.2", "25.3"),
    "transformed_batch_norm": ("26.1",),
    "differentiated_batch_norm": ("26.4", "26.5"),
    "untracked_batch_norm": ("26.7",),
    "moments": ("27.1", "27.2"),
    "differentiated_moments": ("26.9",),
    "weighted_moments": ("32.1",),
    "layer_norm": ("28.1", "28.2"),
    "rms_norm": ("28.1", "29.1"),
    "group_norm": ("30.1", "30.2"),
    "instance_norm": ("30.1", "31.1"),
}
_BY_STEP: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "": {},
    "centering": {
        "train": ("20.1", "20.3"),
        "infer": ("20.4",),
        "freeze": ("20.6",),
        "reload": ("20.8",),
    },
    "*": {
        "train": ("4.1", "5.1", "6.1", "7.1", "9.1"),
        "infer": ("5.1", "6.1", "10.1", "10.2"),
        "sgd": ("11.5",),
        "freeze": ("14.1", "14.2"),
        "reload": ("15.1",),
    },
}


def _passes(raw: Raw, kind: str) -> Iterator[Raw]:
    return (step for step in raw["steps"] if step["step"] == kind)


def _sizes(raw: Raw) -> Iterator[int]:
    """Yield how many values per feature each train step has."""
    for step in _passes(raw, "train"):
        shape = step.get("shape", raw["shape"])
        kept = [axis % len(shape) for axis in raw["feature_axes"]]
        yield math.prod(size for axis, size in enumerate(shape) if axis not in kept)


def _numbers(raw: Raw) -> Iterator[float]:
    for step in raw["steps"]:
        yield from _flat(step.get("input", {}).get("values", ()))


def _flat(nested: Any) -> Iterator[float]:
    if isinstance(nested, list):
        for part in nested:
            yield from _flat(part)
    elif nested != ():
        yield nested


def _normalizes(raw: Raw) -> bool:
    return raw["op"] not in _APART


_WHERE: tuple[tuple[str, Callable[[Raw], bool]], ...] = (
    ("2.4", lambda raw: len(raw["feature_axes"]) > 1),
    ("2.5", lambda raw: any("refused" in step for step in raw["steps"])),
    ("6.2", lambda raw: not raw.get("scale", True)),
    ("6.3", lambda raw: not raw.get("center", True)),
    ("11.1", lambda raw: _normalizes(raw) and any("upstream" in step for step in _passes(raw, "train"))),
    ("11.2", lambda raw: _normalizes(raw) and any("upstream" in step for step in _passes(raw, "train"))),
    ("11.3", lambda raw: _normalizes(raw) and any("upstream" in step for step in _passes(raw, "train"))),
    ("12.1", lambda raw: _normalizes(raw) and any("upstream" in step for step in _passes(raw, "infer"))),
    ("12.2", lambda raw: _normalizes(raw) and any("upstream" in step for step in _passes(raw, "infer"))),
    ("13.2", lambda raw: raw.get("parameter_dtype") is not None),
    ("13.3", lambda raw: raw["dtype"] in ("float16", "bfloat16")),
    ("13.5", lambda raw: raw.get("input_dtype") is not None),
    ("16.2", lambda raw: _normalizes(raw) and 0 in _sizes(raw)),
    ("17.1", lambda raw: _normalizes(raw) and 1 in _sizes(raw)),
    ("18.1", lambda raw: _normalizes(raw) and not all(map(math.isfinite, _numbers(raw)))),
    ("19.1", lambda raw: raw.get("memory", "contiguous") != "contiguous"),
    ("20.5", lambda raw: raw["op"] == "centering" and any("upstream" in step for step in raw["steps"])),
    ("20.7", lambda raw: raw["op"] == "centering" and 0 in _sizes(raw)),
    ("22.1", lambda raw: raw["op"].startswith("masked") and any("mask" in step for step in raw["steps"])),
)
