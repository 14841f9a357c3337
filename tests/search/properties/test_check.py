"""Every property holds of the healthy layer, and is broken by a planted fault; what its record says is what was seen."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest

from conformance.search.bench import Bench
from conformance.search.properties import PROPERTIES
from conformance.search.properties.check import Checked, check, check_one, distance
from conformance.search.properties.identity import near, same
from conformance.search.properties.recorded import record_of
from conformance.spec.loader import load_clauses
from conformance.spec.locations import spec_folder
from conformance.verdict import Standing
from tests.search.benches import PLANTED, bench

#: By property, a fault that breaks it; no fault is planted that makes a pass depend on how often it was performed.
BREAKS = {
    "power-of-two": "epsilon_outside_root",
    "negated": "gamma_without_sign",
    "doubled-parameters": "gamma_ignored",
    "shifted": "negative_variance",
    "permuted-exactly": "last_row_dropped",
    "permuted": "last_row_dropped",
    "isolated": "layer_norm",
    "exchanged": "odd_features_gamma",
    "repeated-output": "normalizing_correction",
    "repeated-variance": "moving_correction",
    "sum-of-outputs": "layer_norm",
    "square-of-outputs": "normalizing_correction",
    "sum-of-gradients": "layer_norm",
    "euler": "epsilon_outside_root",
    "gamma-of-outputs": "gamma_ignored",
    "sum-of-upstream": "beta_gradient_mean",
    "constant-upstream": "last_row_dropped",
    "symmetric": "layer_norm",
    "train-is-inference": "moving_correction",
    "affine": "inference_with_batch",
    "beside-others": "inference_with_batch",
    "closed-form": "zero_debiased",
    "at-rest": "last_row_dropped",
    "between": "old_not_decayed",
    "constant-feature": "beta_ignored",
}


@pytest.fixture(name="planted", scope="module")
def _planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    names = [f"planted.{name}" for name in ("nothing", *sorted(set(BREAKS.values())))]
    with bench(tmp_path_factory.mktemp("bench"), PLANTED, *names) as made:
        yield made


@pytest.fixture(name="checked", scope="module")
def _checked(planted: Bench) -> Mapping[tuple[str, str], Checked]:
    """Check each property of the healthy layer and of the fault that breaks it, two examples each.

    Which examples Hypothesis draws depends on the modules that are loaded, so a fault that few of them show gets more.
    """
    result = {}
    everything = planted.selection
    for identity in PROPERTIES["batch_norm"].properties:
        names = ("planted.nothing", f"planted.{BREAKS.get(identity.id, 'nothing')}")
        planted.selection = replace(everything, implementations=names)
        for one in check_one(planted, "batch_norm", identity, 30 if identity.id == "between" else 2):
            result[one.identity.id, one.cell.implementation.name.removeprefix("planted.")] = one
    planted.selection = everything
    return result


@pytest.mark.parametrize("name", [one.id for one in PROPERTIES["batch_norm"].properties])
def test_a_property_holds_of_the_healthy_layer(name: str, checked: Mapping[tuple[str, str], Checked]) -> None:
    assert checked[name, "nothing"].score <= 1


@pytest.mark.parametrize(("name", "fault"), BREAKS.items())
def test_a_fault_breaks_a_property(name: str, fault: str, checked: Mapping[tuple[str, str], Checked]) -> None:
    assert not checked[name, fault].holds


def test_when_the_time_is_over_no_property_is_begun_and_those_left_are_told(planted: Bench) -> None:
    missed: list[str] = []
    assert not list(check(planted, 2, until=time.monotonic(), missed=missed))
    assert missed == [one.id for one in PROPERTIES["batch_norm"].properties]


def test_at_least_twenty_properties_are_checked_of_batch_norm() -> None:
    assert len(PROPERTIES["batch_norm"].properties) >= 20


def test_every_property_names_clauses_that_there_are() -> None:
    clauses = load_clauses(spec_folder() / "semantics.md")
    named = {clause for family in PROPERTIES.values() for one in family.properties for clause in one.clauses}
    assert named <= clauses.keys()


def test_a_broken_property_whose_results_deviate_says_what_is_wrong_with_them(
    planted: Bench, checked: Mapping[tuple[str, str], Checked]
) -> None:
    record = record_of(checked["repeated-variance", "moving_correction"], planted, ())
    assert record.standing is Standing.UNEXPECTED
    assert {cause.id for alternatives in record.diagnosis for cause in alternatives} >= {"moving-correction"}


def test_a_broken_property_whose_results_are_right_is_told_as_that(
    planted: Bench, checked: Mapping[tuple[str, str], Checked]
) -> None:
    healthy = replace(checked["shifted", "nothing"], score=3.0)
    record = record_of(healthy, planted, ())
    assert record.standing is Standing.UNEXPECTED
    assert [cause.id for alternatives in record.diagnosis for cause in alternatives] == ["identity-broken"]


def test_sides_that_must_have_the_same_bits_are_infinitely_apart_where_one_differs() -> None:
    ones = np.ones(3)
    assert distance(same("output", ones, ones)) == (0.0, 0)
    assert distance(same("output", ones, np.array([1, 1, 1 + 2**-50]))) == (np.inf, 2)


def test_sides_are_measured_in_what_is_allowed() -> None:
    assert distance(near("output", np.array([1.0, 2.0]), np.array([1.0, 2.5]), np.array(0.25))) == (2.0, 1)
    assert distance(near("output", np.array([np.nan]), np.array([1.0]), np.array(1.0)))[0] == np.inf
