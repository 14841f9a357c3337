"""Translation of a layer between two libraries that were never told of each other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from conformance.answers import safetensors
from conformance.answers.translating import Libraries, translate
from conformance.answers.translation import Translation, verdict_of
from conformance.answers.translation_page import arguments_of, text_of
from conformance.answers.translation_table import table
from conformance.errors import UsageError
from conformance.execution.pool import Workers
from conformance.spec.locations import root

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


def test_the_page_says_what_to_do_and_what_remains(libraries: Libraries) -> None:
    """The input is transposed, and the moving variance is another."""
    text = text_of(made(libraries, "numpy.BatchNorm", "translated.Norm"), [])
    assert "transpose the input" in text
    assert "The same but for: moving_variance (target: moving_correction = 1)" in text


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


def test_the_command_converts_saved_weights(tmp_path: Path) -> None:
    """A file of two layers, read by the source's names, written by the target's, and the layers in the JSON."""
    arrays = {
        f"{place}.{name}": np.full(3, value, np.float32)
        for place in ("stem.bn", "head.bn")
        for name, value in (("weight", 2), ("bias", 1), ("running_mean", 4), ("running_var", 9))
    }
    (tmp_path / "model.safetensors").write_bytes(safetensors.encoded(arrays))

    def conformance(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "conformance", "translate", "--adapter", FAKE, *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)

    words = ("--from", "translated.Norm", "--to", "translated.WrongNorm", "--weights", "model.safetensors")
    ran = conformance(*words, "--out", "other.safetensors", "--json")
    assert ran.returncode == 0, ran.stderr
    assert [layer["place"] for layer in json.loads(ran.stdout)["layers"]] == ["stem.bn", "head.bn"]
    written = safetensors.read(tmp_path / "other.safetensors")
    assert {name: array.tobytes() for name, array in written.items()} == {
        name: array.tobytes() for name, array in arrays.items()
    }
    wrong = conformance(*words, "--channels", "4")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "of 3 features, and by its arguments of 4" in wrong.stderr
