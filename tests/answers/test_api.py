"""The public Python interface, by itself: nothing else of the suite is imported here."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance import api

Array = np.ndarray[Any, np.dtype[Any]]
X = np.linspace(-3, 5, 48, dtype=np.float32).reshape(16, 3) ** 2
UPSTREAM = np.cos(X)
AXES: dict[str, Any] = {"feature_axes": -1, "epsilon": 1e-3}


def normalized(x: Array, epsilon: float = 1e-3, correction: int = 0) -> Array:
    mean, variance = x.mean(0), x.var(0, ddof=correction)
    return np.asarray((x - mean) / np.sqrt(variance + np.float32(epsilon)))


def moved(x: Array, decay: float = 0.9, correction: int = 0) -> dict[str, Array]:
    new = np.float32(1 - decay)
    return {
        "moving_mean": x.mean(0) * new,
        "moving_variance": np.float32(decay) + x.var(0, ddof=correction) * new,
    }


def test_this_file_uses_the_public_interface_alone() -> None:
    """Of ours it imports `conformance.api`."""
    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in modules if str(name).startswith("conformance")} == {"conformance"}


def test_the_package_is_typed() -> None:
    """A type checker reads its annotations."""
    assert (Path(api.__file__).parents[1] / "py.typed").is_file()


def test_every_public_name_is_documented() -> None:
    """Each has a docstring."""
    assert [name for name in api.__all__ if not getattr(api, name).__doc__] == []


def test_right_numbers_conform() -> None:
    """The output of a training pass, as NumPy computes it in float32."""
    judgement = api.assert_conforms(normalized(X), X, training=True, **AXES)
    assert judgement.verdict in (api.Verdict.CONFORMS, api.Verdict.EXACT)


def test_wrong_numbers_fail_with_the_worst_element_and_the_cause() -> None:
    """Epsilon outside the root is named as what was done."""
    x = X / 40
    wrong = (x - x.mean(0)) / (x.std(0) + np.float32(1e-3))
    with pytest.raises(AssertionError, match="output: deviates") as failure:
        api.assert_conforms(wrong, x, training=True, **AXES)
    assert "expected" in str(failure.value)
    assert "outside" in str(failure.value)


def test_another_epsilon_fails_however_near() -> None:
    """A thousandth more of the variance is no rounding."""
    with pytest.raises(AssertionError, match="epsilon"):
        api.assert_conforms(normalized(X / 40, 2e-3), X / 40, training=True, **AXES)


def test_moving_values_are_judged_where_they_are_given() -> None:
    """By decay, the weight of the old value; torch's unbiased variance is a dialect where it is stated."""
    unbiased = {"output": normalized(X), **moved(X, correction=1)}
    with pytest.raises(AssertionError, match="moving_variance"):
        api.assert_conforms(unbiased, X, training=True, decay=0.9, **AXES)
    stated = {"moving_correction": 1}
    judgement = api.assert_conforms(unbiased, X, training=True, decay=0.9, dialect=stated, **AXES)
    assert judgement.verdict is api.Verdict.DIALECT


def test_a_swapped_momentum_is_named() -> None:
    """Moving values of decay 0.1 where 0.9 was asked for."""
    with pytest.raises(AssertionError, match="diagnosis: decay inverted"):
        api.assert_conforms(moved(X, decay=0.1), X, training=True, decay=0.9, **AXES)


def test_inference_starts_from_the_given_state() -> None:
    """With the moving values given, and gamma and beta."""
    state: dict[str, Any] = {name: np.array(values, np.float32) for name, values in (
        ("gamma", [1, 2, 3]), ("beta", [0, 1, -1]), ("moving_mean", [4, 5, 6]), ("moving_variance", [1, 4, 9]),
    )}  # fmt: skip
    root = np.sqrt(state["moving_variance"] + np.float32(1e-3))
    output = (X - state["moving_mean"]) / root * state["gamma"] + state["beta"]
    api.assert_conforms(output, X, training=False, **AXES, **state)
    with pytest.raises(AssertionError, match="output"):
        api.assert_conforms(output, X, training=True, **AXES, **state)


def test_gradients_are_judged() -> None:
    """The input's gradient goes through the statistics; one that does not is a deviation."""
    normal, root = normalized(X), np.sqrt(X.var(0) + np.float32(1e-3))
    right = (UPSTREAM - UPSTREAM.mean(0) - normal * (UPSTREAM * normal).mean(0)) / root
    api.assert_conforms({"grad_input": right}, X, training=True, upstream=UPSTREAM, **AXES)
    with pytest.raises(AssertionError, match="grad_input"):
        api.assert_conforms({"grad_input": UPSTREAM / root}, X, training=True, upstream=UPSTREAM, **AXES)


def test_a_case_of_the_spec_is_judged_by_its_steps() -> None:
    """Moving values of each step, as the case's own arrays give them."""
    case = next(found.case for found in api.load_spec().cases if found.case.id == "moving.correction")
    inputs = api.case_inputs(case)
    state, outputs = dict(inputs.initial), []
    for step in inputs.steps:
        assert step.input is not None
        x, decay = step.input, np.float32(case.decay)
        if step.step.step == "train":
            state |= {
                "moving_mean": decay * state["moving_mean"] + (1 - decay) * x.mean(0),
                "moving_variance": decay * state["moving_variance"] + (1 - decay) * x.var(0),
            }
        outputs.append({name: state[name] for name in ("moving_mean", "moving_variance")})
    assert api.judge(case, inputs, outputs).verdict.agrees
    outputs[2] = {**outputs[2], "moving_mean": outputs[2]["moving_mean"] * np.float32(1.001)}
    judgement = api.judge(case, inputs, outputs)
    assert [step.number for step in judgement.steps if not step.verdict.agrees] == [3, 4]


def test_of_a_step_that_must_be_refused_nothing_is_given() -> None:
    case = next(found.case for found in api.load_spec().cases if found.case.id == "misfit.layer/four-for-three")
    inputs = api.case_inputs(case)
    gamma, beta = (inputs.initial[name] for name in ("gamma", "beta"))

    def rows(x: Array) -> Array:
        deviation = x - x.mean(1, keepdims=True)
        return np.asarray(gamma * deviation / np.sqrt(x.var(1, keepdims=True) + np.float32(1e-3)) + beta)

    given = [step.input for step in inputs.steps if step.input is not None]
    outputs = [{"output": rows(given[0])}, {}, {}, {"output": rows(given[3])}]
    assert api.judge(case, inputs, outputs).verdict.agrees
    outputs[1] = {"output": given[1]}
    assert api.judge(case, inputs, outputs).verdict == "deviates"


def test_a_case_without_moving_values_starts_each_step_from_the_references_own() -> None:
    """An inference after training is judged by the moving values that the reference has then."""
    case = next(found.case for found in api.load_spec().cases if found.case.id == "moving.correction")
    inputs = api.case_inputs(case)
    outputs: list[dict[str, Array]] = [{} for _ in inputs.steps]
    with pytest.raises(api.UsageError, match="nothing to judge"):
        api.judge(case, inputs, outputs)
    first = inputs.steps[0].input
    assert first is not None
    gamma, beta = inputs.initial["gamma"], inputs.initial["beta"]
    outputs[0] = {"output": normalized(first) * gamma + beta}
    judgement = api.judge(case, inputs, outputs)
    assert [step.number for step in judgement.steps if not step.verdict.agrees] == [2, 3, 4, 5]
    assert judgement.steps[2].quantities[0].causes[0].id == "not-given"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"feature_axes": 2}, "no axis 2"),
        ({"feature_axes": -1, "dialect": {"moving_correction": 2}}, "moving_correction = 2"),
        ({"feature_axes": -1, "dialect": {"unbiased": True}}, "unbiased"),
        ({"feature_axes": -1, "gamma": [1.0, 2.0]}, "gamma: expected the shape"),
    ],
)
def test_what_does_not_fit_is_one_line(words: dict[str, Any], message: str) -> None:
    """Never a traceback from inside, never a silent pass."""
    with pytest.raises(api.UsageError, match=message) as failure:
        api.assert_conforms(X, X, training=True, epsilon=1e-3, **words)
    assert "\n" not in str(failure.value)


def test_unknown_names_integers_and_missing_arguments_are_refused() -> None:
    """Nothing is judged by a guess."""
    with pytest.raises(api.UsageError, match="outptu"):
        api.assert_conforms({"outptu": X}, X, training=True, **AXES)
    with pytest.raises(api.UsageError, match="int64"):
        api.assert_conforms([[1]], np.array([[1]]), training=True, **AXES)
    with pytest.raises(api.UsageError, match="decay"):
        api.assert_conforms(moved(X), X, training=True, **AXES)
    with pytest.raises(api.UsageError, match="upstream"):
        api.assert_conforms({"grad_input": X}, X, training=True, **AXES)
    with pytest.raises(api.UsageError, match="nothing to judge"):
        api.assert_conforms({}, X, training=True, **AXES)
    with pytest.raises(api.UsageError, match=r"step 1 \(infer\) gives no batch_mean"):
        api.assert_conforms({"batch_mean": X.mean(0)}, X, training=False, **AXES)
    with pytest.raises(api.UsageError, match="step="):
        api.judge(api.configuration_of(X, **AXES), {"input": X}, {"output": X})


ROOT = Path(__file__).parents[2]
PLAIN = f"{ROOT / 'docs' / 'examples' / 'plain_python.py'}:ADAPTER"


def test_cells_are_run_and_judged(tmp_path: Path) -> None:
    """Of an adapter that is named, one case."""
    selection = api.Selection(cases=("axes.equal-sizes/rank-2",))
    cells = list(api.run_cells(api.load_spec(), selection, adapters=[PLAIN], workers=1, folder=tmp_path))
    assert [(cell.id.partition("::")[0], judgement.verdict.agrees) for cell, judgement in cells] == [
        ("axes.equal-sizes/rank-2", True)
    ]


def test_a_layer_is_translated(tmp_path: Path) -> None:
    """From an implementation to itself: nothing is lost, and all is the same."""
    words = {"rate": 0.25, "eps": 1e-5}
    translation = api.translate("plain_python", "plain_python", words, rank=2, adapters=[PLAIN], folder=tmp_path)
    assert (translation.losses, translation.remaining) == ((), ())
    assert {one.difference for one in translation.agreements} == {0.0}


def test_the_snippets_of_the_page_run() -> None:
    """Each goes on from the one before it; that of the fixture is a test file of its own."""
    page = (ROOT / "docs" / "judging-your-numbers.md").read_text(encoding="utf-8")
    blocks = [block.partition("```")[0] for block in page.split("```python\n")[1:]]
    names: dict[str, Any] = {}
    for block in (block for block in blocks if "pytest_plugins" not in block):
        exec(block, names)  # what the page tells a reader to run
    assert names["judgement"].verdict.agrees


def test_the_failure_on_the_page_is_the_one_that_comes() -> None:
    """Word by word; the last digits are this machine's."""
    page = (ROOT / "docs" / "judging-your-numbers.md").read_text(encoding="utf-8")
    x = np.linspace(-3, 5, 48, dtype=np.float32).reshape(16, 3)
    wrong = (x - x.mean(0)) / (x.std(0) + np.float32(1e-3))
    with pytest.raises(AssertionError) as failure:
        api.assert_conforms(wrong, x, training=True, feature_axes=-1, epsilon=1e-3)
    said, shown = (re.sub(r"[\d.e+-]{4,}", "#", text) for text in (f"```\n{failure.value}\n```", page))
    assert said in shown


def test_a_mask_is_judged_with_its_operation() -> None:
    """Truth values over the reduced axes; what an operation needs is asked for."""
    mask = np.arange(16) < 10
    configuration = api.configuration_of(X, op="masked_batch_norm", **AXES)
    mean, variance = X[mask].mean(0), X[mask].var(0)
    output = (X - mean) / np.sqrt(variance + np.float32(1e-3))
    outputs = {"output": output}
    assert api.judge(configuration, {"input": X, "mask": mask}, outputs, step="train").verdict.agrees
    differentiated = api.configuration_of(X, op="differentiated_batch_norm", **AXES)
    with pytest.raises(api.UsageError, match="needs `"):
        api.judge(differentiated, {"input": X}, outputs, step="train")
    with pytest.raises(api.UsageError, match="mask: expected the shape"):
        api.judge(configuration, {"input": X, "mask": mask[:4]}, outputs, step="train")


def test_a_configuration_that_cannot_be_is_one_line() -> None:
    """A negative epsilon."""
    configuration = api.configuration_of(X, feature_axes=-1, epsilon=-1.0)
    with pytest.raises(api.UsageError, match="configuration: epsilon"):
        api.judge(configuration, {"input": X}, {"output": X}, step="train")


def test_the_fixture_is_there_where_it_is_asked_for(tmp_path: Path) -> None:
    """A test of one's own with `pytest_plugins`, one passing and one failing."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["conformance.api.fixture"]\n')
    (tmp_path / "test_mine.py").write_text(
        "import numpy as np\n"
        "X = np.arange(8, dtype=np.float32).reshape(4, 2)\n"
        "def test_right(conforms):\n"
        "    y = (X - X.mean(0)) / np.sqrt(X.var(0) + np.float32(1e-3))\n"
        "    conforms(y, X, training=True, feature_axes=1, epsilon=1e-3)\n"
        "def test_wrong(conforms):\n"
        "    conforms(X, X, training=True, feature_axes=1, epsilon=1e-3)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert "1 failed, 1 passed" in ran.stdout, ran.stdout + ran.stderr
