"""Native calls without the libraries: what is held of them, how it is learned, and that the adapter at hand agrees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from conformance.answers.native_calls import WAYS, Told, call_of, form_of, implementations
from conformance.answers.native_learning import Made, forms, holds
from conformance.errors import SuiteError
from conformance.protocol import Adapter, Configuration
from conformance.runfile.structs import NativeCall
from conformance.spec.case import Case
from conformance.spec.loader import load_clauses, load_file
from conformance.spec.locations import root, spec_folder
from conformance.worker.adapter_file import load_adapter
from conformance.worker.native import written

PLAIN = Configuration(
    op="batch_norm",
    shape=(8, 3, 5, 5),
    feature_axes=(1,),
    dtype="float32",
    parameter_dtype="float32",
    decay=0.99,
    epsilon=1e-3,
    scale=True,
    center=True,
)


def told(name: str) -> Told:
    (one,) = [one for one in implementations() if one.name == name]
    return one


def asked() -> list[Case]:
    return [
        entry.case for entry in load_file(spec_folder() / "calls.yaml", load_clauses(spec_folder() / "semantics.md"))
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("torch.nn.BatchNorm", "torch.nn.BatchNorm2d(num_features=3, eps=0.001, momentum=0.01, affine=True)"),
        (
            "keras.layers.BatchNormalization+tensorflow",
            "keras.layers.BatchNormalization(axis=1, momentum=0.99, epsilon=0.001, center=True, scale=True, dtype='float32')",
        ),
        (
            "haiku.BatchNorm",
            "haiku.BatchNorm(…, create_scale=True, create_offset=True, decay_rate=0.99, eps=0.001, axis=(0, 2, 3))",
        ),
    ],
)
def test_a_configuration_is_told_in_a_library_s_own_words(name: str, text: str) -> None:
    assert call_of(told(name), PLAIN).text == text


def test_what_a_library_cannot_be_told_has_its_reason() -> None:
    assert (
        "`affine` switches weight and bias together"
        in call_of(told("torch.nn.BatchNorm"), replace(PLAIN, scale=False)).reason
    )
    assert call_of(told("numpy.BatchNorm"), replace(PLAIN, dtype="float16", parameter_dtype="float16")).reason == (
        "does not take float16"
    )


def test_every_implementation_is_held_for_every_layout_that_is_asked_about() -> None:
    configurations = [case.configuration for case in asked()]
    lacking = [
        (one.name, configuration.shape)
        for one in implementations()
        for configuration in configurations
        if configuration.op == one.op and form_of(one, configuration) is None
    ]
    assert lacking == []
    assert {way for one in implementations() for form in one.forms for way in form.follows.values()} <= WAYS.keys()


def test_what_is_held_is_what_the_adapter_at_hand_says() -> None:
    """NumPy's needs no framework; the others are asked the same where theirs are installed."""
    adapter: Adapter = load_adapter(str(root() / "adapters" / "numpy" / "batch_norm.py")).ADAPTER
    compared = 0
    for implementation in adapter.implementations:
        for configuration in (case.configuration for case in asked()):
            if implementation.op == configuration.op and configuration.dtype in implementation.dtypes:
                form = form_of(told(implementation.name), configuration)
                call = NativeCall(**written(implementation.call(configuration)))
                assert form is not None
                assert holds(form, call, configuration)
                assert not holds(form, call, replace(configuration, decay=0.125))
                compared += 1
    assert compared > 50


def made(keywords: dict[str, str], **fields: object) -> Made:
    return Made(call=NativeCall(path="lib.Norm", keywords=keywords), configuration=replace(PLAIN, **fields))  # type: ignore[arg-type]


def test_a_keyword_follows_from_what_varies_with_it() -> None:
    (form,) = forms(
        [
            made({"eps": "0.001", "rate": "0.010000000000000009", "kind": "'x'"}),
            made({"eps": "0.5", "rate": "0.25", "kind": "'x'"}, epsilon=0.5, decay=0.75),
        ]
    )
    assert (form.follows, form.literals) == ({"eps": "epsilon", "rate": "1 - decay"}, {"kind": "'x'"})


def test_a_keyword_that_never_varies_is_a_literal() -> None:
    (form,) = forms([made({"affine": "True"}), made({"affine": "True"}, epsilon=0.5)])
    assert form.literals == {"affine": "True"}


def test_calls_that_differ_for_reasons_that_are_not_held_give_no_form() -> None:
    assert forms([made({"seed": "1"}), made({"seed": "2"})]) == []


def test_a_file_of_calls_that_cannot_be_read_is_the_suite_s_fault(tmp_path: Path) -> None:
    (tmp_path / "calls.json").write_text("[{}]")
    with pytest.raises(SuiteError, match="cannot be used"):
        implementations(tmp_path / "calls.json")
