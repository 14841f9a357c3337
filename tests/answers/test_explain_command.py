"""`conformance explain` as a person and a program meet it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from conformance.answers.explain import explanation
from conformance.answers.explain_page import page
from conformance.answers.explain_subject import Settings, of_settings
from conformance.operations import OPERATIONS
from conformance.spec.loader import load
from conformance.spec.locations import spec_folder
from tests.answers.explained import explain

DATA = ("--data", "[[1, 2], [5, 8]]")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "explain: expected a case, or --data NUMBERS, or --npy FILE"),
        (("published.layer-2017/features-last", "--epsilon", "1"), "expected a case alone"),
        ((*DATA, "--npy", "x.npy"), "explain: expected a case, or --data NUMBERS, or --npy FILE"),
        (("publish.x",), "no family of cases is called 'publish'; did you mean published?"),
        (
            ("published.layer-2017",),
            "did you mean published.layer-2017/features-last, published.layer-2017/features-first?",
        ),
        ((*DATA, "--feature-axes", "2"), "data of shape [2, 2] have the axes -2 to 1, got 2"),
        ((*DATA, "--feature-axes", "0,-2"), "names an axis twice"),
        ((*DATA, "--feature-axes", "x"), "--feature-axes: expected axes, such as -1 or 1,2, got 'x'"),
        ((*DATA, "--gamma", "1, 2, 3"), "--gamma: expected 1 number or 2, one a feature, got 3"),
        ((*DATA, "--gamma", "1", "--no-scale"), "--gamma: batch_norm with --no-scale has none"),
        ((*DATA, "--op", "centering", "--moving-variance", "1"), "--moving-variance: centering has none"),
        ((*DATA, "--moving-variance", "-1"), "a variance is not negative, got -1"),
        ((*DATA, "--epsilon", "-1"), "'--epsilon': expected a number from 0 to 1,000,000,000, got '-1'"),
        ((*DATA, "--decay", "1.5"), "'--decay': expected a number from 0 to 1, got '1.5'"),
        ((*DATA, "--mode", "eval"), "--mode: expected train or infer, got 'eval'; here it is infer"),
        ((*DATA, "--dtype", "float8"), "--dtype: expected one of float64, float32, float16, bfloat16"),
        ((*DATA, "--op", "spectral_norm"), "--op: expected one of batch_norm"),
        ((*DATA, "--mode", "train", "--trained", "2"), "not with --mode train"),
        ((*DATA, "--got", "1, 2"), "--got: expected 4 numbers of the output, as the data has, got 2"),
        ((*DATA, "--got", "output=1,2,3,4", "--got", "1,2,3,4"), "--got: numbers of the output are given twice"),
        ((*DATA, "--got", "loss=1"), "--got: expected numbers of moving_mean, moving_variance, output"),
        ((*DATA, "--expected", "a"), "--expected: expected numbers"),
        ((*DATA, "--upstream", "1"), "--upstream: expected 4 numbers, as --data has, got 1"),
        ((*DATA, "--implementation", "torch.nn.BatchNrm"), "did you mean torch.nn.BatchNorm?"),
        (("--data", "3"), "--data: expected 1 to 8 axes"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words: tuple[str, ...], complaint: str) -> None:
    answer = explain(*words)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count("\n") == 1
    assert complaint in answer.err


@pytest.mark.parametrize(
    "words",
    [
        ("published.trained-100-epochs-2017/features-last",),
        (*DATA, "--got", "0, 0, 1, 1", "--expected", "nan, nan, nan, nan"),
        ("--data", "[1, 2, 3, 6]", "--feature-axes", "0", "--mode", "train"),
        ("--data", "[[]]", "--mode", "train"),
        ("--data", "[[1, inf], [nan, 2]]", "--dtype", "bfloat16"),
    ],
)
def test_the_json_is_valid_by_its_schema(words: tuple[str, ...]) -> None:
    document = json.loads(explain(*words, "--json").out)
    jsonschema.validate(document, json.loads((spec_folder() / "explanation.schema.json").read_text()))
    assert document["format"] == 1


@pytest.mark.parametrize("op", OPERATIONS)
def test_a_case_of_every_operation_is_explained(op: str) -> None:
    """With its equations written out, or with the sentence that they are not."""
    (case, *_) = (located.case for located in load(spec_folder()).cases if located.case.op == op)
    answer = explain(case.id, "--json")
    assert answer.code == 0, answer.err
    document = json.loads(answer.out)
    jsonschema.validate(document, json.loads((spec_folder() / "explanation.schema.json").read_text()))
    passes = [step for step in document["steps"] if step["performs"]]
    assert passes
    assert all(bool(step["equations"]) != any("not written out" in one for one in step["unshown"]) for step in passes)


def test_a_mask_is_not_laid_along_other_axes() -> None:
    """It belongs to these; that the rest is missing is said."""
    masked = explain("masked.positions/rank-3-features-last/float32")
    assert masked.code == 0, masked.err
    assert "What other axes would give is not shown: the mask would be another there." in masked.out
    assert "kept: each statistic over" not in masked.out


def test_of_many_values_nothing_else_is_computed() -> None:
    """A person waits for the answer."""
    answer = explain("statistics.long/positions")
    assert "What it would give otherwise is not computed of more than 200,000 values." in answer.out
    assert "if instead" not in answer.out


def test_of_many_steps_the_first_and_the_last_are_shown() -> None:
    document = json.loads(explain("published.trained-100-epochs-2017/features-last", "--json").out)
    assert [step["number"] for step in document["steps"]] == [1, 2, 201, 202]
    assert document["omitted"] == 198


def test_one_implementation_is_explained_by_its_own_conventions() -> None:
    """PyTorch keeps the variance that is divided by m - 1."""
    data = ("--data", "[[1], [5]]", "--mode", "train", "--decay", "0.5")
    ours = explain(*data, "--implementation", "numpy.BatchNorm")
    theirs = explain(*data, "--implementation", "torch.nn.BatchNorm")
    assert re.search(r"V after +0\.5·1 \+ 0\.5·4 = 2\.5$", ours.out, re.MULTILINE)
    assert re.search(r"σ² that enters V +4·2/1 = 8$", theirs.out, re.MULTILINE)
    assert "moving_correction 1 (documentation)" in theirs.out


def test_numbers_of_a_file_are_explained_alike(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[1, 2], [5, 8]]))
    assert explain("--npy", str(tmp_path / "x.npy")).out == explain(*DATA).out


def test_what_was_not_said_is_told() -> None:
    assert "You did not say, so the features are the last axis (--feature-axes); epsilon is 0.001" in explain(*DATA).out


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_holds_the_same_and_nothing_from_elsewhere(tmp_path: Path) -> None:
    answer = explain("published.layer-2017/features-last", "--html", str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    tags = _Tags()
    tags.feed(page)
    assert (answer.out, tags.open) == ("", [])
    assert tags.seen.count("h1") == 1
    assert "0.71096909, 2.09494853" in page
    assert not re.search(r"<(script|link|img)|https?://", page)


def test_words_are_no_markup_of_the_page() -> None:
    """Whatever a case or a person writes is text."""
    subject = of_settings(Settings(data=np.array([[1.0], [5.0]])))
    whole = replace(explanation(subject, subject.operation.dialect), subject="<script>alert(1)</script>")
    assert "<h1>&lt;script&gt;alert(1)&lt;/script&gt;</h1>" in page(whole)


def test_no_framework_is_imported_and_no_test_runner() -> None:
    code = (
        "import sys; from conformance.cli import main; sys.argv = ['conformance', 'explain', '--data', '[[1], [5]]']\n"
        "try: main()\nfinally: print(*({'jax', 'keras', 'tensorflow', 'torch', 'pytest'} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("misfit.layer/one-for-three", "the input's shape [8, 1] is of a wrong size for a layer made for [8, 3]"),
        ("misfit.handed/served-learned", "gamma is handed in the shape [1], a wrong size for the input's [8, 3]"),
    ],
)
def test_of_what_must_be_refused_it_says_what_does_not_fit(case: str, said: str) -> None:
    answer = explain(case)
    assert (answer.code, f"It must be refused: {said}" in " ".join(answer.out.split())) == (0, True)
