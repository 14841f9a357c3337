"""The worker's own functions, in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from types import ModuleType
from typing import Any

import numpy as np

from conformance.protocol import Call, Configuration, Implementation
from conformance.worker import wire
from conformance.worker.native import configuration_from, perform

CONFIGURATION = Configuration(
    op="fake",
    shape=(4, 2),
    feature_axes=(1,),
    dtype="float32",
    parameter_dtype="float32",
    decay=0.9,
    epsilon=1e-3,
    scale=True,
    center=True,
    memory="strided",
    options={"shards": (3, 1), "rate": 0.5},
)


def test_a_configuration_survives_the_wire_with_its_options() -> None:
    sent = bytearray(wire.encode(asdict(CONFIGURATION)))
    assert configuration_from(wire.take(sent)) == CONFIGURATION


def test_configurations_that_differ_in_their_options_differ() -> None:
    other = configuration_from({**asdict(CONFIGURATION), "options": {"shards": (2, 2), "rate": 0.5}})
    assert (other == CONFIGURATION, len({other, CONFIGURATION})) == (False, 2)


def answers(
    train: Any, state: Callable[[Any], dict[str, Any]] = lambda live: {}, configuration: Configuration = CONFIGURATION
) -> list[dict[str, Any]]:
    """Return the answers of one train step with a mask."""
    implementation = Implementation(
        name="fake",
        op="fake",
        profile=(),
        modes=("eager",),
        dtypes=("float32",),
        supports=lambda configuration: None,
        call=lambda configuration: Call(path="numpy.zeros", keywords={"shape": 1}),
        start=lambda native, configuration, state, mode, device: native,
        state=state,
        steps={"train": train},
    )
    x = np.arange(8, dtype="float32").reshape(4, 2)
    mask = np.array([True, False, True, True])
    step = {"kind": "train", "input": x, "upstream": x, "arrays": {"mask": mask}}
    request = {
        "configuration": asdict(configuration),
        "quantities": ["output", "moving_mean", "layout"],
        "mode": "eager",
        "device": "cpu",
        "initial": {},
        "steps": [step],
    }
    return list(perform(implementation, ModuleType("fake"), request, []))


def test_a_further_array_comes_by_name() -> None:
    def train(live: Any, x: Any, upstream: Any, *, mask: Any) -> dict[str, Any]:
        return {"output": x[mask], "layout": np.array(x.strides)}

    quantities = answers(train)[1]["quantities"]
    assert quantities["output"].tolist() == [[0, 1], [4, 5], [6, 7]]
    assert quantities["layout"].tolist() == [16, 8]


def performed(kept: Any) -> list[dict[str, Any]]:
    """Return the answers of two steps of a function that is handed its state, the first of them with a gamma of size 1."""

    def infer(live: Any, x: Any, upstream: Any) -> dict[str, Any]:
        live["moving_mean"] = live["moving_mean"] + 1
        if len(live["gamma"]) != 2:
            raise ValueError("two features")
        return {"output": x * live["gamma"]}

    implementation = Implementation(
        name="fake",
        op="fake",
        profile=(),
        modes=("eager",),
        dtypes=("float32",),
        supports=lambda configuration: None,
        call=lambda configuration: Call(path="numpy.zeros", keywords={"shape": 1}),
        start=lambda native, configuration, state, mode, device: kept(state),
        state=lambda live: {name: value.reshape(1, -1) for name, value in live.items()},
        steps={"infer": infer},
        given=("gamma",),
    )
    x = np.ones((4, 2), "float32")
    step: dict[str, Any] = {"kind": "infer", "input": x, "upstream": None, "arrays": {}}
    request = {
        "configuration": asdict(CONFIGURATION),
        "quantities": ["output", "moving_mean", "gamma"],
        "mode": "eager",
        "device": "cpu",
        "initial": {"gamma": np.full(2, 3, "float32"), "moving_mean": np.zeros(2, "float32")},
        "steps": [{**step, "handed": {"gamma": [1]}}, {**step, "handed": {}}],
    }
    return list(perform(implementation, ModuleType("fake"), request, []))


def test_a_call_is_handed_a_gamma_of_another_size_and_the_next_is_not() -> None:
    _, first, second = performed(dict)
    assert first["refused"]["types"][0] == "ValueError"
    assert second["quantities"]["output"].tolist() == [[3, 3]] * 4
    assert second["state"]["moving_mean"].tolist() == [[1, 1]]


def test_what_a_call_that_refused_left_of_the_rest_is_told() -> None:
    _, first, _ = performed(dict)
    assert (first["state"]["gamma"].tolist(), first["state"]["moving_mean"].tolist()) == ([[3, 3]], [[1, 1]])


def test_a_start_that_refuses_the_size_is_the_refusal_of_the_step() -> None:
    def strict(state: Any) -> Any:
        if len(state["gamma"]) != 2:
            raise ValueError("two features")
        return dict(state)

    _, first, second = performed(strict)
    assert (first["refused"]["message"], first["state"]["moving_mean"].tolist()) == ("two features", [[0, 0]])
    assert "quantities" in second


def test_an_upstream_gradient_may_lie_otherwise_than_the_input() -> None:
    def train(live: Any, x: Any, upstream: Any, *, mask: Any) -> dict[str, Any]:
        return {"output": upstream - x, "layout": np.array([*x.strides, *upstream.strides])}

    quantities = answers(train, configuration=replace(CONFIGURATION, upstream_memory="contiguous"))[1]["quantities"]
    assert quantities["layout"].tolist() == [16, 8, 8, 4]
    assert not quantities["output"].any()


def test_a_further_array_that_the_step_wrote_to_is_told() -> None:
    def train(live: Any, x: Any, upstream: Any, *, mask: Any) -> dict[str, Any]:
        mask[:] = False
        return {}

    assert answers(train)[1]["overwritten"] == ["mask"]


def refuse(live: Any, x: Any, upstream: Any, *, mask: Any) -> dict[str, Any]:
    raise ValueError("one value a channel")


def test_a_refusal_whose_state_can_no_longer_be_read_stays_the_refusal_and_says_so() -> None:
    reads = iter([{"moving_mean": np.zeros(2)}])

    def state(live: Any) -> dict[str, Any]:
        try:
            return next(reads)
        except StopIteration:
            raise RuntimeError("the buffers were donated") from None

    _, answer = answers(refuse, state)
    assert answer["refused"]["types"] == ["ValueError", "Exception"]
    assert answer["refused"]["message"] == (
        "one value a channel; then its state could not be read: RuntimeError: the buffers were donated"
    )
    assert answer["state"] is None


def test_a_refusal_tells_the_state_that_it_left() -> None:
    _, answer = answers(refuse, lambda live: {"moving_mean": np.ones(2)})
    assert answer["refused"]["message"] == "one value a channel"
    assert answer["state"]["moving_mean"].tolist() == [1, 1]


def test_a_step_that_cannot_be_called_so_is_the_adapter_s_mistake() -> None:
    def train(live: Any, x: Any) -> dict[str, Any]:
        return {}

    refused = answers(train)[1]["refused"]
    assert refused["types"][0] == "TypeError"
    assert refused["mistake"].startswith("conformance/worker/native.py, line ")


def test_a_refusal_is_nobody_s_mistake() -> None:
    assert answers(refuse)[1]["refused"]["mistake"] == ""
