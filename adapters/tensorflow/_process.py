"""What TensorFlow and Keras on it, or on another backend, share in one process: what was compiled, and settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from conformance.protocol import Configuration

#: What was compiled.
COMPILED: dict[tuple[Any, Configuration, str, str], Any] = {}


def once(make: Callable[[], Any], call: Any, configuration: Configuration, mode: str, device: str) -> Any:
    """What it makes; compiled, what was made for the first equal call, which compiles each signature once."""
    if mode == "eager":
        return make()
    key = call, replace(configuration, memory="contiguous", upstream_memory=None), mode, device
    if key not in COMPILED:
        COMPILED[key] = make()
    return COMPILED[key]


def threads(tf: Any) -> dict[str, str]:
    return {
        "threads within an op": str(tf.config.threading.get_intra_op_parallelism_threads() or "automatic"),
        "threads between ops": str(tf.config.threading.get_inter_op_parallelism_threads() or "automatic"),
    }


def numerics(tf: Any) -> dict[str, str]:
    return {
        "oneDNN": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "deterministic ops": os.environ.get("TF_DETERMINISTIC_OPS", "default"),
        "TF32": str(tf.config.experimental.tensor_float_32_execution_enabled()),
        "cuDNN": str(tf.sysconfig.get_build_info().get("cudnn_version", "")),
        "memory growth": os.environ.get("TF_FORCE_GPU_ALLOW_GROWTH", "default"),
        "XLA flags": os.environ.get("XLA_FLAGS", ""),
    }
