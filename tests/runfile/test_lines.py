"""The lines of a run file say everything that a report needs, in JSON's own values."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.cause import because
from conformance.errors import Place, WorkerError
from conformance.judging.judge import judge
from conformance.operations.layout import flatten, index_of
from conformance.planning.plan import Selection
from conformance.reference.expected import References
from conformance.runfile.lines import case_line, environment_line, failure_line, header_line, record_line, unbuilt_line
from conformance.runfile.structs import AnyLine
from conformance.runfile.writing import RunWriter, encoded
from conformance.spec.divergences import Divergence, Known, Listed
from tests import shipped
from tests.cells import (
    DYADIC,
    FREEZE,
    INFER,
    NORMAL,
    TRAIN,
    UPSTREAM,
    case,
    cell,
    declared,
    key,
    located,
    offer,
    offered,
)
from tests.exact_layer import ExactLayer, altered, outcomes


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((4, 3), [1]),
        ((2, 3, 4, 5), [1]),
        ((2, 3, 4, 5), [-1]),
        ((2, 3, 4, 5), [3, 1]),
        ((3, 5), [0]),
        ((2, 1, 3), [1, 2]),
    ],
)
def test_a_position_is_the_index_it_had_before_flattening(shape: tuple[int, ...], axes: list[int]) -> None:
    configuration = case(shape=list(shape), feature_axes=axes).configuration
    flat = flatten(np.arange(np.prod(shape)).reshape(shape), configuration)
    for position, value in enumerate(flat.ravel()):
        right = tuple(int(each) for each in np.unravel_index(int(value), shape))
        assert index_of(position, "input", configuration, shape) == right


def test_a_position_in_a_statistic_is_an_index_of_the_feature_axes() -> None:
    configuration = case(shape=[2, 3, 4, 5], feature_axes=[1, 3]).configuration
    found = [index_of(position, "features", configuration, (2, 3, 4, 5)) for position in range(15)]
    assert found == [(first, second) for first in range(3) for second in range(5)]


def as_written(line: AnyLine) -> dict[str, Any]:
    return json.loads(encoded(line))  # type: ignore[no-any-return]


def recorded(made: Any, given: Any = None, listed: Known | None = None, **fields: Any) -> dict[str, Any]:
    made_cell = cell(made, **fields)
    judgement = judge(made_cell, outcomes(ExactLayer(case=made)) if given is None else given, References())
    return as_written(record_line(made_cell, judgement, listed or Known()))


def quantity(line: dict[str, Any], step: int, name: str) -> dict[str, Any]:
    (found,) = (each for each in line["steps"][step]["quantities"] if each["quantity"] == name)
    return dict(found)


def test_a_record_names_its_cell_and_its_verdict() -> None:
    line = recorded(case(TRAIN))
    named = {
        name: line[name] for name in ("cell", "case", "implementation", "mode", "device", "environment", "verdict")
    }
    assert named == {
        "cell": "fake.case::fake.BatchNorm-eager-cpu",
        "case": "fake.case",
        "implementation": "fake.BatchNorm",
        "mode": "eager",
        "device": "cpu",
        "environment": "fake",
        "verdict": "conforms",
    }


def test_a_passing_record_has_the_largest_score_of_its_quantities() -> None:
    line = recorded(case(TRAIN, INFER))
    scores = [each["score"] for step in line["steps"] for each in step["quantities"] if "score" in each]
    assert line["score"] == max(scores)
    assert 0 < line["score"] < 1


def test_the_worst_element_has_its_index_in_the_layout_of_the_input() -> None:
    def shifted(output: Any) -> Any:
        changed = output.copy()
        changed[1, 2, 3] += 1
        return changed

    made = case(TRAIN, shape=[2, 3, 4], feature_axes=[1])
    line = recorded(made, altered(outcomes(ExactLayer(case=made)), 1, "output", shifted))
    worst = quantity(line, 1, "output")["worst"]
    assert worst["index"] == [1, 2, 3]
    assert worst["observed"] == pytest.approx(worst["expected"] + 1, abs=1e-6)


def test_a_score_without_end_is_text() -> None:
    made = case(TRAIN)
    given = altered(outcomes(ExactLayer(case=made)), 1, "output", lambda output: output * np.float32("nan"))
    line = recorded(made, given)
    assert (line["score"], quantity(line, 1, "output")["worst"]["observed"]) == ("Infinity", "NaN")


def test_a_quantity_without_elements_has_no_worst_one() -> None:
    assert "worst" not in quantity(recorded(case({**TRAIN, "shape": [0, 3]})), 1, "output")


def test_an_exact_quantity_has_an_element_unless_it_is_state_that_stayed() -> None:
    """What was computed can be asserted; of what must not change the whole is."""
    line = recorded(case(DYADIC, INFER, shape=[16, 3], epsilon=0.25))
    assert quantity(line, 1, "grad_beta")["score"] == 0
    assert {"index", "expected", "observed", "allowed"} == set(quantity(line, 1, "grad_beta")["worst"])
    assert ["worst" in quantity(line, step, name) for step, name in ((1, "gamma"), (2, "moving_mean"))] == [False] * 2


def test_an_environment_holds_the_sources_of_its_adapter_and_the_names_of_its_functions() -> None:
    sources = {"conformance_adapters.fake._native": "", "conformance_adapters.fake.layer": "ADAPTER = None"}
    line = as_written(environment_line(offer(offered(functions={"train": "train"}), sources=sources)))
    assert list(line["sources"].items()) == list(sources.items())
    assert line["implementations"][0]["functions"] == {"train": "train"}


def test_a_quantity_has_its_own_dtype_and_shape() -> None:
    found = quantity(recorded(case(TRAIN, shape=[4, 3, 5], feature_axes=[1], dtype="float16")), 1, "grad_input")
    assert (found["dtype"], found["shape"]) == ("float16", [4, 3, 5])


def test_a_dialect_names_its_fields() -> None:
    made = case(TRAIN)
    given = outcomes(ExactLayer(case=made, moving_correction=1))
    line = recorded(made, given, profile=(declared("moving_correction", 1),))
    assert quantity(line, 1, "moving_variance")["fields"] == ["moving_correction"]


def test_steps_have_the_checksum_of_their_inputs() -> None:
    line = recorded(case(TRAIN, FREEZE, TRAIN, INFER))
    sums = [step.get("inputs") for step in line["steps"]]
    assert sums[0] is sums[2] is None
    assert sums[1] == sums[3] != sums[4]


def test_a_listed_deviation_joins_the_record() -> None:
    entry = Divergence.model_validate(
        {
            "implementations": ["*"],
            "causes": ["decay-inverted"],
            "witnesses": ["edges.one"],
            "versions": {},
            "reason": "It gives one when two is right.",
            "diagnosis": "Somebody wrote one in place of two.",
            "upstream": "https://example.org/1",
        }
    )
    known = Known(listed=((because("decay-inverted"), Listed(divergence=entry, place=Place(file="d.yaml"))),))
    line = recorded(case(TRAIN), listed=known)
    assert line["divergence"] == [
        {
            "reason": "It gives one when two is right.",
            "diagnosis": "Somebody wrote one in place of two.",
            "upstream": "https://example.org/1",
            "cause": "decay-inverted",
        }
    ]


def test_a_case_has_a_formula_for_each_kind_of_its_steps() -> None:
    line = as_written(case_line(located(case({"step": "repeat", "times": 2, "steps": [TRAIN, INFER]}, FREEZE))))
    assert list(line["formulas"]) == ["train", "infer", "freeze"]
    assert all(line["formulas"].values())


def test_every_shipped_case_has_a_line_of_strict_json(tmp_path: Path) -> None:
    spec = shipped.spec()
    with RunWriter(tmp_path / "run.jsonl") as writer:
        for each in spec.cases:
            writer.add(case_line(each))
    lines = (tmp_path / "run.jsonl").read_text().splitlines()
    assert len(lines) == len(spec.cases)
    assert not any(name in line for line in lines for name in (":NaN", "[NaN", ",NaN", ":Infinity", "[Infinity"))


def test_a_case_line_keeps_numbers_that_json_lacks_as_text(tmp_path: Path) -> None:
    step = {"step": "train", "input": {"kind": "literal", "values": [[float("nan")] * 3] * 8}, "upstream": UPSTREAM}
    with RunWriter(tmp_path / "run.jsonl") as writer:
        writer.add(case_line(located(case(step))))
    line = json.loads((tmp_path / "run.jsonl").read_text())
    assert line["steps"][0]["input"]["values"][0] == ["NaN"] * 3


def test_a_header_has_the_spec_the_selection_and_the_number_planned() -> None:
    spec = shipped.spec()
    line = as_written(header_line(spec, Selection(cases=("a.*",)), ["-x"], 7, True))
    assert (line["spec"], line["planned"], line["narrowed"]) == (spec.hash, 7, True)
    assert line["selection"]["cases"] == ["a.*"]
    assert line["selection"]["pytest"] == ["-x"]
    assert line["clauses"] == spec.clauses


def test_an_environment_has_versions_settings_and_profiles() -> None:
    implementation = offered(profile=(declared("moving_correction", 1),))
    made = replace(offer(implementation), settings={"threads": "1"}, key=key(environment=(("A", "1"),), group="torch"))
    line = as_written(environment_line(made))
    assert (line["id"], line["group"], line["adapter"], line["process"]) == ("fake", "torch", "fake.py", {"A": "1"})
    assert (line["versions"], line["settings"]) == ({"fake": "1.0"}, {"threads": "1"})
    assert line["implementations"][0]["profile"][0]["field"] == "moving_correction"


def test_an_environment_that_did_not_start_says_why() -> None:
    line = as_written(failure_line(WorkerError(worker="fake", message="no such module"), key()))
    assert (line["id"], line["failed"]) == ("fake", "no such module")


def test_a_group_that_was_not_built_has_the_installer_s_last_lines() -> None:
    line = as_written(unbuilt_line("torch", "no space left"))
    assert (line["id"], line["group"]) == ("torch", "torch")
    assert "no space left" in line["failed"]


def test_recipes_are_recorded_as_they_stand() -> None:
    line = as_written(case_line(located(case(TRAIN))))
    assert {name: line["steps"][0]["input"][name] for name in NORMAL} == NORMAL
