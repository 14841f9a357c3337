"""The page and the document of a history."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from conformance.errors import UsageError
from conformance.files.json_text import text_of
from conformance.publish.schemas import history_schema
from conformance.regression.history_page import check_possible, page, write
from tests.regression.test_following import NOT_BUILT, RIGHT, WRONG, followed
from tests.run_lines import run_of, strict

HISTORY = followed(RIGHT, run_of(environments=(NOT_BUILT,), narrowed=True), WRONG)


def test_a_row_of_the_page_is_a_finding_and_a_column_a_version() -> None:
    html = page(HISTORY).decode()
    assert html.count('<th role="columnheader" scope="col">3</th>') == 1
    assert "began in 3, or in 2, which cannot tell" in html
    for words in ("not seen", "not run", "1 cell"):
        assert html.count(f"</span> {words}</span>") >= 1
    assert "no distribution" in html


def test_the_page_takes_its_looks_from_the_report_and_nothing_from_elsewhere(tmp_path: Path) -> None:
    index = write(HISTORY, tmp_path / "history")
    assert {path.name for path in (tmp_path / "history" / "assets").iterdir()} == {
        "base.css",
        "marks.css",
        "history.css",
    }
    assert "http" not in index.read_text().replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_a_folder_that_holds_what_no_report_wrote_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(UsageError):
        check_possible(tmp_path)


def test_the_document_obeys_its_schema() -> None:
    validator = jsonschema.Draft202012Validator(history_schema())
    document = strict(text_of(HISTORY))
    validator.validate(document)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**document, "findings": [{}]})
