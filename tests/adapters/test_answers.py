"""Translations and ONNX models on the real libraries, where their interpreters are at hand (see `test_contracts.py`)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.answers.libraries import Libraries
from conformance.answers.translating import translate
from conformance.answers.translation import verdict_of
from conformance.answers.vector_files import write
from conformance.answers.weight_files import read
from conformance.answers.weight_files import write as write_weights
from conformance.execution.pool import Workers
from conformance.spec.loader import load
from conformance.spec.locations import spec_folder

pytestmark = pytest.mark.frameworks

PYTHONS = dict(line.split("=", 1) for line in os.environ.get("CONFORMANCE_PYTHONS", "").splitlines() if line)
#: Reads models as ONNX's own backend tests do, and prints of each whether its outputs are within its tolerance.
BACKEND = """
import json, sys
import numpy, onnx, onnx.reference
from onnx.backend.test.loader import load_model_tests
said = {}
def arrays(case, kind):
    for path in sorted(__import__("pathlib").Path(case.model_dir, "test_data_set_0").glob(kind + "_*.pb")):
        yield onnx.numpy_helper.to_array(onnx.load_tensor(path)).astype(numpy.float64)
for case in load_model_tests(sys.argv[1], "conformance"):
    model = onnx.load(case.model_dir + "/model.onnx")
    onnx.checker.check_model(model, full_check=True)
    inputs = [onnx.numpy_helper.to_array(onnx.load_tensor(f"{case.model_dir}/test_data_set_0/input_{i}.pb")) for i in range(5)]
    got = onnx.reference.ReferenceEvaluator(model).run(None, dict(zip([one.name for one in model.graph.input], inputs)))
    right = list(arrays(case, "output"))
    said[case.name] = len(got) == len(right) and all(
        numpy.allclose(one.astype(numpy.float64), other, rtol=case.rtol, atol=case.atol) for one, other in zip(got, right)
    )
print(json.dumps(said))
"""

#: Saves a layer as PyTorch does, and prints what it reads of one that was written here.
TORCH = """
import sys, torch
layer = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
layer(torch.randn(4, 1, 3, 3))
torch.save({"epoch": 3, "model": layer.state_dict()}, sys.argv[1])
torch.save(layer[1].state_dict(), sys.argv[2])
print([value.hex() for value in layer[1].running_var.double().tolist()])
"""
LOADED = """
import sys, torch
layer = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
layer.load_state_dict(torch.load(sys.argv[1], weights_only=True), strict=False)
print([value.hex() for value in layer[1].running_var.double().tolist()])
"""
KERAS = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy
inner = keras.Sequential([keras.Input((5, 5, 2)), keras.layers.BatchNormalization(scale=False, momentum=0.5, name="bn")], name="inner")
model = keras.Sequential([keras.Input((5, 5, 2)), keras.layers.BatchNormalization(name="stem", epsilon=1e-5), inner])
model.layers[0].moving_mean.assign([1, 2])
inner.layers[0].moving_mean.assign([3, 4])
model.save(sys.argv[1])
model.save(sys.argv[2])
"""


def printed(group: str, code: str, *arguments: Path) -> str:
    """Return what the code prints in the interpreter of a group."""
    if group not in PYTHONS:
        pytest.skip(f"no interpreter of the group {group}")
    command = [PYTHONS[group], "-c", code, *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture(name="libraries", scope="module")
def _libraries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Libraries]:
    if "torch" not in PYTHONS:
        pytest.skip("no interpreter of the group torch")
    with Workers(2, tmp_path_factory.mktemp("workers")) as workers:
        yield Libraries({"torch": PYTHONS["torch"]}, [], workers)


def test_a_layer_of_keras_is_one_of_torch_but_for_the_moving_variance(libraries: Libraries) -> None:
    """The port that most people make: momentum turns round, the axis moves, the variance is over m - 1."""
    source, target = libraries.row("keras"), libraries.row("torch")
    made = translate(source, target, {"momentum": "0.99", "epsilon": "1e-3"}, libraries)
    assert made.target.call.path == "torch.nn.BatchNorm2d"
    assert float(made.target.call.keywords["momentum"]) == pytest.approx(0.01, rel=1e-12)
    assert made.target.implementation.names["moving_variance"] == "*.running_var"
    assert verdict_of(made) == "The same but for: moving_variance (target: moving_correction = 1)"


def test_onnx_itself_reads_the_models_and_computes_what_they_expect(tmp_path: Path) -> None:
    """Checked in full, and run by the reference implementation of ONNX; only its empty batches are known to differ."""
    spec = load(spec_folder())
    write(spec, [located for located in spec.cases if located.case.family == "axes"], tmp_path, onnx=True)
    said = json.loads(printed("portable", BACKEND, tmp_path / "onnx"))
    assert len(said) > 20
    assert [name for name, right in said.items() if not right] == []


def test_torch_s_checkpoints_are_read_and_written_without_it(tmp_path: Path) -> None:
    """A whole model among other things of a checkpoint; what is written here is loaded there, without its unpickler."""
    variance = printed("torch", TORCH, tmp_path / "whole.pt", tmp_path / "layer.pt")
    arrays = read(tmp_path / "whole.pt").arrays
    assert "model.1.running_mean" in arrays
    assert [float(value).hex() for value in read(tmp_path / "layer.pt").arrays["running_var"]] == json.loads(
        variance.replace("'", '"')
    )
    write_weights(tmp_path / "again.pt", {name.removeprefix("model."): array for name, array in arrays.items()})
    assert printed("torch", LOADED, tmp_path / "again.pt") == variance


def test_keras_s_models_are_read_without_it(tmp_path: Path) -> None:
    """In both formats by the names that the user gave, with each layer's own arguments."""
    printed("tensorflow", KERAS, tmp_path / "x.keras", tmp_path / "x.h5")
    for saved in (read(tmp_path / "x.keras"), read(tmp_path / "x.h5")):
        assert {name: array.tolist() for name, array in saved.arrays.items() if name.endswith("moving_mean")} == {
            "stem/moving_mean": [1, 2],
            "inner/bn/moving_mean": [3, 4],
        }
        assert "inner/bn/gamma" not in saved.arrays
        assert saved.settings["stem"].arguments["epsilon"] == "1e-05"
        assert saved.settings["inner/bn"].arguments["momentum"] == "0.5"
