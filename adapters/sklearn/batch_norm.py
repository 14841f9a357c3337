"""scikit-learn: `StandardScaler`, fitted batch by batch with `partial_fit`; `with_std=False` is centering."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import joblib
import numpy as np
import sklearn
import sklearn.preprocessing  # noqa: F401 - the call names it by its path

from conformance.protocol import Adapter, Call, Configuration, Declared, Implementation, Quantities

PROCESSES = "portable"


def supports(configuration: Configuration) -> str | None:
    if configuration.rank != 2 or configuration.feature_axes != (1,):
        return "X is of shape (n_samples, n_features)"
    if configuration.input_dtype is not None and configuration.dtype != "float64":
        return "check_array(dtype=FLOAT_DTYPES): integers are converted to the first of them, float64"
    return None


def supports_scaling(configuration: Configuration) -> str | None:
    if configuration.scale or configuration.center:
        return "scales to unit variance and centers to zero mean, and learns neither gamma nor beta"
    if configuration.epsilon:
        return "has no epsilon: `scale_` is calculated using np.sqrt(var_), and 1 where a variance is zero"
    return supports(configuration)


def call(configuration: Configuration) -> Call:
    return Call(
        path="sklearn.preprocessing.StandardScaler",
        keywords={"with_mean": True, "with_std": configuration.op == "batch_norm"},
    )


def start(scaler: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    """The attributes of a fitted scaler, of no samples: what is fitted next replaces them."""
    scaler.mean_, scaler.var_, scaler.scale_ = state["moving_mean"].astype(np.float64), None, None
    if scaler.with_std:
        scaler.var_ = state["moving_variance"].astype(np.float64)
        scaler.scale_ = np.sqrt(scaler.var_)
    scaler.n_features_in_, scaler.n_samples_seen_ = configuration.feature_count, np.int64(0)
    return scaler


def state(scaler: Any) -> Quantities:
    moving = {"moving_mean": scaler.mean_, "moving_variance": scaler.var_}
    return {name: np.array(value) for name, value in moving.items() if value is not None}


def train(scaler: Any, x: Any, upstream: Any) -> Quantities:
    return {"output": scaler.partial_fit(x).transform(x)}


def infer(scaler: Any, x: Any, upstream: Any) -> Quantities:
    return {"output": scaler.transform(x)}


def supports_weights(configuration: Configuration) -> str | None:
    if configuration.feature_count != 1:
        return "`sample_weight` has one weight for each sample, whatever the features"
    return supports(configuration)


def call_weighted(configuration: Configuration) -> Call:
    return Call(path="sklearn.preprocessing.StandardScaler", keywords={})


def start_weighted(scaler: Any, configuration: Configuration, state: Quantities, mode: str, device: str) -> Any:
    return scaler


def no_state(scaler: Any) -> Quantities:
    return {}


def weigh(scaler: Any, x: Any, upstream: Any, weights: Any) -> Quantities:
    scaler.fit(x, sample_weight=weights[:, 0])
    return {"batch_mean": scaler.mean_, "batch_variance": scaler.var_}


def reload(scaler: Any) -> Any:
    file = io.BytesIO()
    joblib.dump(scaler, file)
    file.seek(0)
    return joblib.load(file)


UPDATE = Declared(
    field="update",
    value="merge",
    source="documentation",
    where="StandardScaler.partial_fit: Online computation of mean and std on X for later scaling, by Chan, Golub, LeVeque",
)
NORMALIZES_WITH = Declared(
    field="normalizes_with",
    value="moving_after",
    source="documentation",
    where="StandardScaler: mean_, the mean value for each feature in the training set, which grows by partial_fit",
)
STATISTICS = Declared(
    field="statistics_dtype",
    value="float64",
    source="source code",
    where="sklearn/preprocessing/_data.py: In scikit-learn, variance is always computed using float64 accumulators",
)
EMPTY_BATCH = Declared(
    field="empty_batch",
    value="error",
    source="documentation",
    error="ValueError",
    where="sklearn.utils.validation.check_array: ensure_min_samples=1, the default",
)

#: Arrays are NumPy's, computed at once.
TIMED: dict[str, Callable[..., Any]] = {"put": lambda array, device: array, "get": np.array, "wait": lambda *_: None}
SCALING = Implementation(
    name="sklearn.preprocessing.StandardScaler",
    op="batch_norm",
    profile=(UPDATE, NORMALIZES_WITH, STATISTICS, EMPTY_BATCH),
    modes=("eager",),
    dtypes=("float64", "float32"),
    supports=supports_scaling,
    call=call,
    start=start,
    state=state,
    steps={"train": train, "infer": infer, "reload": reload},
    timed={**TIMED, "infer": infer, "train_forward": train},
    lacks=("grad_input", "grad_gamma", "grad_beta"),
    documentation="https://scikit-learn.org/stable/modules/generated/sklearn.preprocessing.StandardScaler.html",
)
CENTERING = replace(SCALING, name=f"{SCALING.name}+centering", op="centering", supports=supports)

WEIGHTED = replace(
    SCALING,
    name=f"{SCALING.name}+sample_weight",
    op="weighted_moments",
    profile=(),
    # Statistics are float64 whatever the input is.
    dtypes=("float64",),
    supports=supports_weights,
    call=call_weighted,
    start=start_weighted,
    state=no_state,
    steps={"infer": weigh},
    timed={},
    lacks=(),
)

ADAPTER = Adapter(
    library="scikit-learn",
    versions={"scikit-learn": sklearn.__version__, "joblib": joblib.__version__},
    settings={"array API dispatch": str(sklearn.get_config()["array_api_dispatch"])},
    implementations=(SCALING, CENTERING, WEIGHTED),
)
