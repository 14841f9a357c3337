"""Translations and ONNX models on the real libraries, where their interpreters are at hand (see `test_contracts.py`)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.answers.translating import Libraries, translate
from conformance.answers.translation import verdict_of
from conformance.answers.vector_files import write
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
    if "portable" not in PYTHONS:
        pytest.skip("no interpreter of the group portable")
    spec = load(spec_folder())
    write(spec, [located for located in spec.cases if located.case.family == "axes"], tmp_path, onnx=True)
    command = [PYTHONS["portable"], "-c", BACKEND, str(tmp_path / "onnx")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert len(said) > 20
    assert [name for name, right in said.items() if not right] == []
