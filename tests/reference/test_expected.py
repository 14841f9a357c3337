"""A step's reference: what it computes, what it leaves alone, and what it may remember."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance.dialect import Dialect
from conformance.operations import OPERATIONS
from conformance.operations.expected import Expected
from conformance.precision import working
from conformance.reference import expected as module
from conformance.reference.computed import Request, compute
from conformance.reference.expected import References
from conformance.reference.inputs import inputs_of, states_of
from conformance.spec.case import Case
from tests.cells import FREEZE, INFER, RELOAD, SGD, TRAIN, case

STATE = {
    "gamma": np.array([1.0, 2.0, -1.0], np.float32),
    "beta": np.array([0.5, 0.0, 0.25], np.float32),
    "moving_mean": np.array([1.0, 2.0, 3.0], np.float32),
    "moving_variance": np.array([4.0, 1.0, 0.25], np.float32),
}


def request(made: Case, number: int = 1, **changes: Any) -> Request:
    return Request(
        **{
            "case": made,
            "configuration": made.configuration,
            "number": number,
            "inputs": inputs_of(made).steps[number - 1],
            "dialect": OPERATIONS[made.op].dialect,
            "worked": working(made.dtype),
            "frozen": False,
            "trained": 0,
            **changes,
        }
    )


def expected(made: Case, gradients: Any = None, **changes: Any) -> dict[str, Expected]:
    state = {name: value for name, value in STATE.items() if name in states_of(made)[0]}
    return References().expected(request(made, **changes), state, gradients or {})


def kept(found: dict[str, Expected], *names: str) -> bool:
    """Whether the quantities are those of the state, to the bit."""
    return all(found[name].value.tolist() == STATE[name].tolist() and not found[name].bound.any() for name in names)


@pytest.mark.parametrize("step", [RELOAD, FREEZE, {"step": "unfreeze"}])
def test_a_step_that_computes_nothing_leaves_all_state_as_it_is(step: dict[str, Any]) -> None:
    assert kept(expected(case(step)), *STATE)


def test_inference_leaves_all_state_as_it_is() -> None:
    found = expected(case(INFER))
    assert kept(found, *STATE)
    assert set(found) == {*STATE, "output"}


def test_training_leaves_gamma_and_beta_as_they_are() -> None:
    found = expected(case(TRAIN))
    assert kept(found, "gamma", "beta")
    assert not kept(found, "moving_mean")


def test_a_gradient_step_subtracts_the_rate_times_the_gradient() -> None:
    gradients = {"gamma": np.array([2.0, -4.0, 1.0], np.float32), "beta": np.array([1.0, 0.0, 8.0], np.float32)}
    found = expected(case(TRAIN, SGD), gradients, number=2)
    assert found["gamma"].value.tolist() == [1.0 - 1.0, 2.0 + 2.0, -1.0 - 0.5]
    assert found["beta"].value.tolist() == [0.5 - 0.5, 0.0, 0.25 - 4.0]
    assert kept(found, "moving_mean", "moving_variance")


def test_a_gradient_step_of_a_frozen_layer_leaves_all_state_as_it_is() -> None:
    gradients = {"gamma": np.ones(3, np.float32), "beta": np.ones(3, np.float32)}
    assert kept(expected(case(TRAIN, SGD), gradients, number=2, frozen=True), *STATE)


@pytest.mark.parametrize("rate", [0.1, 1e-3, 7.3])
def test_a_healthy_gradient_step_stays_within_the_bound(rate: float) -> None:
    random = np.random.default_rng(4)
    slopes = {name: (random.normal(size=3) * 100).astype(np.float32) for name in ("gamma", "beta")}
    found = expected(case(TRAIN, {"step": "sgd", "learning_rate": rate}), slopes, number=2)
    for name, slope in slopes.items():
        after = STATE[name] - np.float32(rate) * slope
        error = np.abs(after.astype(np.longdouble) - found[name].value)
        assert (error <= found[name].bound).all()
        assert (
            np.abs(STATE[name] - np.float32(rate * (1 + 1e-5)) * slope - found[name].value) > found[name].bound
        ).any()


@pytest.mark.parametrize(
    ("op", "dialect", "frozen", "infers"),
    [
        ("batch_norm", Dialect(), True, False),
        ("batch_norm", Dialect(frozen_implies_inference=True), True, True),
        ("batch_norm", Dialect(frozen_implies_inference=True), False, False),
        ("centering", Dialect(frozen_implies_inference=True), True, True),
        ("centering", Dialect(frozen_implies_inference=True), False, False),
    ],
)
def test_freezing_implies_inference_where_the_dialect_says_so(
    op: str, dialect: Dialect, frozen: bool, infers: bool
) -> None:
    found = expected(case(TRAIN, op=op), dialect=dialect, frozen=frozen)
    assert ("batch_mean" not in found) is infers
    assert kept(found, "moving_mean") is infers


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """The requests that were computed and not remembered."""
    asked: list[Request] = []

    def counting(request: Request, *rest: Any) -> dict[str, Expected]:
        asked.append(request)
        return compute(request, *rest)

    monkeypatch.setattr(module, "compute", counting)
    return asked


def test_the_same_request_is_computed_once(computed: list[Request]) -> None:
    references, asked = References(), request(case(TRAIN))
    assert references.expected(asked, STATE, {}) is references.expected(asked, STATE, {})
    assert len(computed) == 1


ONE_BIT = {**STATE, "moving_mean": np.nextafter(STATE["moving_mean"], np.float32(9))}
SAME_BYTES = {name: value.view(np.int32) for name, value in STATE.items()}


@pytest.mark.parametrize(
    ("changes", "state", "gradients"),
    [
        ({"number": 2}, STATE, {}),
        ({"dialect": Dialect(moving_correction=1)}, STATE, {}),
        ({"worked": working("float64")}, STATE, {}),
        ({"frozen": True}, STATE, {}),
        ({"trained": 1}, STATE, {}),
        ({"variance": "one_pass"}, STATE, {}),
        ({"configuration": case(TRAIN, TRAIN, decay=0.5).configuration}, STATE, {}),
        ({}, ONE_BIT, {}),
        ({}, SAME_BYTES, {}),
        ({}, STATE, {"gamma": STATE["gamma"]}),
    ],
)
def test_anything_that_differs_is_computed_anew(
    computed: list[Request], changes: dict[str, Any], state: Any, gradients: Any
) -> None:
    references, made = References(), case(TRAIN, TRAIN)
    references.expected(request(made), STATE, {})
    references.expected(request(made, **changes), state, gradients)
    assert len(computed) == 2


@pytest.mark.parametrize(
    ("step", "fields"),
    [
        (TRAIN, {"state": "caller", "statistics_dtype": "float64", "empty_batch": "error"}),
        (TRAIN, {"frozen_implies_inference": True}),
        (INFER, {"moving_correction": 1, "update": "merge", "normalizes_with": "moving_after"}),
        (RELOAD, {"moving_correction": 1}),
    ],
)
def test_a_choice_that_moves_no_number_is_not_computed_anew(
    computed: list[Request], step: dict[str, Any], fields: dict[str, Any]
) -> None:
    references, made = References(), case(step)
    references.expected(request(made), STATE, {})
    remembered = references.expected(request(made, dialect=Dialect(**fields)), STATE, {})
    assert len(computed) == 1
    anew = compute(request(made, dialect=Dialect(**fields)), STATE, {})
    assert all(np.array_equal(remembered[name].value, each.value) for name, each in anew.items())
    assert all(np.array_equal(remembered[name].bound, each.bound) for name, each in anew.items())


def test_one_value_a_feature_is_computed_anew_where_it_passes_as_it_is(computed: list[Request]) -> None:
    references, made = References(), case(TRAIN, shape=[1, 3])
    references.expected(request(made), STATE, {})
    references.expected(request(made, dialect=Dialect(single_value="identity")), STATE, {})
    assert len(computed) == 2


@pytest.mark.parametrize("dialect", [Dialect(replica_moving="first"), Dialect(replica_gradients="mean")])
def test_inference_is_computed_anew_for_what_replicas_make_of_it(dialect: Dialect, computed: list[Request]) -> None:
    references, made = References(), case(INFER)
    references.expected(request(made), STATE, {})
    references.expected(request(made, dialect=dialect), STATE, {})
    assert len(computed) == 2


def test_a_frozen_layer_that_infers_is_computed_anew(computed: list[Request]) -> None:
    references, made = References(), case(TRAIN)
    references.expected(request(made, frozen=True), STATE, {})
    references.expected(request(made, frozen=True, dialect=Dialect(frozen_implies_inference=True)), STATE, {})
    assert len(computed) == 2


def test_the_oldest_references_make_room_for_new_ones(computed: list[Request], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT_ELEMENTS", 200)  # one step has about 80
    references, made = References(), case(*[TRAIN] * 4)
    for number in (1, 2, 1, 3, 1, 2):
        references.expected(request(made, number), STATE, {})
    assert [each.number for each in computed] == [1, 2, 3, 2]


def test_large_references_do_not_take_the_place_of_small_ones(
    computed: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KEPT_ELEMENTS", 200)
    monkeypatch.setattr(module, "_KEPT_OF_LARGE", 20_000)
    references = References()
    small, large = case(TRAIN), [case(TRAIN, id=f"fake.{number}", shape=[2000, 3]) for number in range(3)]
    for made in (small, *large, small):
        references.expected(request(made), STATE, {})
    assert [each.case.id for each in computed] == ["fake.case", "fake.0", "fake.1", "fake.2"]
