"""Why a trained layer gives what somebody published: worked out from the run file, and only where it can be."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from conformance.cli import app
from conformance.report.questions import TrainedLayer, trained_layers
from tests.report.published_layers import PRINTED, PUBLISHED, porters_run
from tests.report_lines import Line, record, report_of, run
from tests.run_lines import configuration


def layers_of(*records: Line, cases: tuple[Line, ...]) -> tuple[TrainedLayer, ...]:
    report = report_of(run(*records, cases=cases))
    return trained_layers(report.cases, report.cells)


def test_the_arithmetic_gives_the_published_numbers() -> None:
    """They were printed by another, years before, from the four roundings of float32 arithmetic."""
    report = report_of(porters_run())
    (layer,) = trained_layers(report.cases, report.cells)
    assert layer.published == PRINTED
    worked_out = [equation.value for equation in layer.equations if equation.symbol.startswith("y")]
    assert worked_out == pytest.approx([float(text) for text in PRINTED], rel=4 * 2.0**-24)
    assert layer.by_batch == (-1.0, 1.0)
    assert (layer.judged, layer.right) == (2, 2)


def test_the_question_is_asked_as_a_person_asks_it() -> None:
    (layer,) = layers_of(record("conforms", of=PUBLISHED["id"]), cases=(PUBLISHED,))
    assert layer.question == "Why does a trained layer make 0.795 of 1, and not −1?"


def test_the_command_that_is_shown_answers_it(capsys: pytest.CaptureFixture[str]) -> None:
    (layer,) = layers_of(record("conforms", of=PUBLISHED["id"]), cases=(PUBLISHED,))
    _, *words = shlex.split(layer.command)
    app(words, standalone_mode=False)
    told = capsys.readouterr().out
    assert "What you got, output 0.79519051, 4.17485714, is inference, by the moving values" in told
    assert "What you expected, output -1, 1, is training" in told


def test_two_layouts_of_the_same_numbers_are_one_answer() -> None:
    twin = {**PUBLISHED, "id": "published.layer-2017/features-first"}
    (layer,) = layers_of(
        record("conforms", of=PUBLISHED["id"]), record("deviates", "failed", of=twin["id"]), cases=(PUBLISHED, twin)
    )
    assert (layer.judged, layer.right) == (2, 1)


@pytest.mark.parametrize(
    "other",
    [
        {"published": []},
        {"op": "centering"},
        {"configuration": configuration(shape=[1, 2], feature_axes=[1])},
        {"steps": [{"step": "train", "input": {"kind": "literal", "values": [[1.0, 5.0]]}}]},
        {"steps": [{"step": "infer", "input": {"kind": "ramp", "start": 1.0}}]},
        {"steps": [{"step": "infer", "input": {"kind": "literal", "values": [[3.0], [3.0]]}}]},
        {"initial": {"moving_variance": {"kind": "literal", "values": [-1.0]}}},
        {"initial": {"gamma": {"kind": "ramp", "start": 1.0}}},
    ],
)
def test_a_case_that_answers_nothing_is_left_out(other: dict[str, Any]) -> None:
    """Nothing published, another operation or pass, several features, data that are no numbers, no deviation, no root."""
    case = PUBLISHED | other
    assert layers_of(record("conforms", of=case["id"]), cases=(case,)) == ()
