"""A comparison as JUnit XML."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from conformance.compare.comparison import compare
from conformance.compare.junit import junit
from conformance.runfile.results import results_of
from tests.run_lines import record_line, run_of
from tests.run_pairs import DEVIATES, PAIRS


def suite_of(name: str) -> ET.Element:
    base, new = (results_of([run], partial=True) for run in PAIRS[name])
    found = ET.fromstring(junit(compare(base, new))).find("testsuite")
    assert found is not None
    return found


@pytest.mark.parametrize("name", PAIRS)
def test_a_failure_is_there_exactly_where_something_regressed(name: str) -> None:
    base, new = (results_of([run], partial=True) for run in PAIRS[name])
    suite = suite_of(name)
    assert bool(suite.findall("testcase/failure")) == compare(base, new).regression
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure"))
    assert int(suite.attrib["tests"]) == len(suite.findall("testcase"))


def test_a_regressed_cell_fails_under_its_case_and_column_with_the_cause() -> None:
    case = next(each for each in suite_of("conforms-deviates").iter("testcase") if each.find("failure") is not None)
    assert (case.attrib["classname"], case.attrib["name"]) == ("torch.nn.BatchNorm-eager-cpu", "a.one")
    failure = case.find("failure")
    assert failure is not None
    assert "epsilon outside the root" in failure.attrib["message"]


def test_what_xml_cannot_hold_is_replaced() -> None:
    hostile = {**DEVIATES, "diagnosis": "a\x00b\x1b[31m\ud800<&>"}
    base, new = (results_of([run_of(each)]) for each in (record_line(), hostile))
    assert "a\N{REPLACEMENT CHARACTER}b" in ET.tostring(ET.fromstring(junit(compare(base, new))), encoding="unicode")
