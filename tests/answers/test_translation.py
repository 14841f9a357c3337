"""Translation of a layer between two libraries that were never told of each other."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from conformance.answers import safetensors, torch_files
from conformance.answers.libraries import Libraries
from conformance.answers.saved import Settings
from conformance.answers.translating import translate
from conformance.answers.translation import Refused, Translation, verdict_of
from conformance.answers.translation_document import document_of
from conformance.answers.translation_page import arguments_of, check_agreement
from conformance.answers.translation_table import table
from conformance.answers.translation_text import text_of
from conformance.answers.weights import LayerWeights
from conformance.errors import UsageError
from conformance.execution.pool import Workers
from conformance.spec.locations import root, spec_folder

FAKE = f"{Path(__file__).parents[1] / 'faults' / 'translated.py'}:ADAPTER"
PLAIN = f"{root() / 'adapters' / 'numpy' / 'batch_norm.py'}:ADAPTER"


@pytest.fixture(name="libraries", scope="module")
def _libraries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Libraries]:
    with Workers(2, tmp_path_factory.mktemp("workers")) as workers:
        yield Libraries({}, [FAKE, PLAIN], workers)


def made(libraries: Libraries, source: str, target: str, **given: str) -> Translation:
    return translate(libraries.row(source), libraries.row(target), given, libraries)


def test_momentum_becomes_decay_and_the_axis_moves(libraries: Libraries) -> None:
    """The weight of the new value here is one minus that of the old one there; nothing says so but both calls."""
    there = made(libraries, "translated.Norm", "numpy.BatchNorm", momentum="0.1", eps="1e-5", channels="7")
    assert there.target.call.keywords["decay"] == "0.9"
    assert there.target.call.keywords["epsilon"] == "1e-05"
    assert there.target.call.keywords["features"] == "(7,)"
    back = made(libraries, "numpy.BatchNorm", "translated.Norm", decay="0.75")
    assert back.target.call.keywords["momentum"] == "0.25"
    assert (back.source.configuration.feature_axes, back.target.configuration.feature_axes) == ((3,), (1,))


def test_the_number_of_features_is_ones_own(libraries: Libraries) -> None:
    """Where the source has no argument for it, as Keras has none."""
    rows = libraries.row("numpy.BatchNorm"), libraries.row("translated.Norm")
    assert translate(*rows, {}, libraries, features=7).target.call.keywords["channels"] == "7"


def test_what_is_documented_otherwise_is_a_loss_and_what_remains_of_the_proof(libraries: Libraries) -> None:
    """The moving variance over m - 1."""
    translation = made(libraries, "numpy.BatchNorm", "translated.Norm")
    (loss,) = [loss for loss in translation.losses if "moving variance" in loss.what]
    assert (loss.source, loss.target) == ("0", "1")
    assert "a page of this library" in loss.where
    assert translation.unexplained == ()
    causes = {one.quantity: one.cause for one in translation.remaining}
    assert causes["moving_variance"] == "target: moving_correction = 1"
    assert "output" not in causes


def test_outputs_of_both_layouts_are_compared_value_by_value(libraries: Libraries) -> None:
    """In training they differ by rounding alone."""
    translation = made(libraries, "numpy.BatchNorm", "translated.Norm")
    differences = [one.difference for one in translation.agreements if one.quantity == "output" and one.kind == "train"]
    assert all(difference is not None and difference < 1e-5 for difference in differences)


def test_a_target_that_computes_something_else_is_not_called_the_same(libraries: Libraries) -> None:
    """Its epsilon is outside the root, which nothing documents."""
    translation = made(libraries, "numpy.BatchNorm", "translated.WrongNorm")
    assert {one.quantity for one in translation.unexplained} >= {"output"}
    assert verdict_of(translation).startswith("Not the same: ")
    assert "epsilon" in verdict_of(translation)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"momentun": "0.1"}, "--momentun: translated.Norm is configured by affine, channels, eps, momentum"),
        ({"momentum": "much"}, "--momentum: expected a number, got 'much'"),
        ({"momentum": "1.5"}, "--momentum: 1.5: there is no such decay"),
        ({"channels": "2.5"}, "--channels: 2.5: there is no such features"),
        ({"affine": "maybe"}, "--affine: maybe: cannot be with the other arguments"),
    ],
)
def test_an_argument_that_cannot_be_is_one_line(libraries: Libraries, given: dict[str, str], message: str) -> None:
    """It is named, with what was expected."""
    with pytest.raises(UsageError, match=message) as failure:
        made(libraries, "translated.Norm", "numpy.BatchNorm", **given)
    assert "\n" not in str(failure.value)


def test_what_a_row_always_has_may_be_said(libraries: Libraries) -> None:
    """As a file says it of each of its layers."""
    said = made(libraries, "translated.WrongNorm", "numpy.BatchNorm", wrong="True")
    assert said.target.call.keywords["decay"] == "0.9"
    with pytest.raises(UsageError, match=r"--wrong: translated\.WrongNorm is configured by.*it always has wrong"):
        made(libraries, "translated.WrongNorm", "numpy.BatchNorm", wrong="False")


def test_the_page_says_what_to_do_and_what_remains(libraries: Libraries) -> None:
    """The input is transposed, the moving variance is another, and what was run to know that."""
    whole = made(libraries, "numpy.BatchNorm", "translated.Norm")
    rows = libraries.row("numpy.BatchNorm"), libraries.row("translated.Norm")
    flat = translate(*rows, {}, libraries, rank=2)
    text = text_of(document_of(whole, [flat, Refused(rank=3, reason="not here")], []))
    assert "transpose the input" in text
    assert text.count("The same but for: moving_variance (target: moving_correction = 1)") == 2
    assert "on input [6, 2, 3, 5] and [6, 5, 2, 3], eager, float32, on the CPU, 2 × train and 1 × infer:" in text
    assert "on input [6, 5], eager, float32" in text
    assert text.endswith("Not run on an input of 3 axes: not here")


def test_an_unknown_implementation_is_one_line(libraries: Libraries) -> None:
    """With some that there are."""
    with pytest.raises(UsageError, match=r"nonsense: expected an implementation.*numpy\.BatchNorm"):
        libraries.row("nonsense")


def test_a_table_has_every_ordered_pair(libraries: Libraries) -> None:
    """Proven or refused, none left out."""
    names = ["numpy.BatchNorm", "translated.Norm", "translated.WrongNorm"]
    said = table(names, names, libraries, 4)
    assert len(said) == 6
    assert said["translated.Norm", "numpy.BatchNorm"].startswith("The same but for: ")
    assert said["numpy.BatchNorm", "translated.WrongNorm"].startswith("Not the same: ")


def test_arguments_are_read_by_name() -> None:
    """With a space or an equals sign, dashes for underscores."""
    assert arguments_of(["--momentum", "0.1", "--num-features=3"]) == {"momentum": "0.1", "num_features": "3"}
    for words in (["--momentum"], ["0.1", "--x"], ["--a", "1", "--a", "2"]):
        with pytest.raises(UsageError):
            arguments_of(words)


def conformance(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "conformance", "translate", "--adapter", FAKE, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


def test_the_command_converts_saved_weights(tmp_path: Path) -> None:
    """A file of two layers, read by the source's names and written by the target's; both are in the JSON, with their calls."""
    arrays = {
        f"{place}.{name}": np.full(features, value, np.float32)
        for place, features in (("stem.bn", 3), ("head.bn", 4))
        for name, value in (("weight", 2), ("bias", 1), ("running_mean", 4), ("running_var", 9))
        if not (place == "head.bn" and name in ("weight", "bias"))
    }
    (tmp_path / "model.pt").write_bytes(torch_files.encoded(arrays))
    words = ("--from", "translated.Norm", "--to", "translated.WrongNorm", "--weights", "model.pt")
    ran = conformance(tmp_path, *words, "--out", "other.safetensors", "--json")
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    jsonschema.validate(document, json.loads((spec_folder() / "translation.schema.json").read_text()))
    assert document["format"] == 1
    assert [(layer["place"], layer["features"], layer["reason"]) for layer in document["layers"]] == [
        ("stem.bn", 3, ""),
        ("head.bn", 4, ""),
    ]
    assert ["affine=True" in layer["call"] for layer in document["layers"]] == [True, False]
    assert [proof["rank"] for proof in document["proofs"]] == [4, 2]
    assert document["proofs"][0]["verdict"].startswith("Not the same: ")
    written = safetensors.read(tmp_path / "other.safetensors")
    assert {name: array.tobytes() for name, array in written.items()} == {
        name: array.tobytes() for name, array in arrays.items()
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--weights", "model.onnx", "--out", "x.onnx"), r"x\.onnx: expected \.safetensors, \.npz, \.pt"),
        (("--weights", "model.onnx", "--out", "model.onnx/x.pt"), "cannot be written"),
        (("--out", "x.pt"), "--out needs --weights"),
        (("--weights", "model.onnx"), r"model\.onnx: no protocol buffer"),
    ],
)
def test_a_mistake_is_one_line(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    """A place that cannot be written to is told before any library is asked."""
    (tmp_path / "model.onnx").write_text("no model")
    ran = conformance(tmp_path, "--from", "translated.Norm", "--to", "translated.WrongNorm", *words)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert re.search(message, ran.stderr)


def test_what_a_file_says_of_a_layer_is_not_overruled(tmp_path: Path) -> None:
    """Who types another number than the file has is told so, and of which layer."""
    layer = LayerWeights(place="stem", state={}, settings=Settings(arguments={"eps": "1e-05"}))
    check_agreement({"eps": "0.00001", "momentum": "0.5"}, [layer], tmp_path)
    with pytest.raises(UsageError, match=r"--eps 1e-3: .* says 1e-05 of stem"):
        check_agreement({"eps": "1e-3"}, [layer], tmp_path)
