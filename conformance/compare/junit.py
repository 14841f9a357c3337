"""A comparison as JUnit XML, for programs that show the results of tests: every change a case, a regression a failure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from conformance.compare.telling import FAILING, Entry, entry, headline, sections
from conformance.compare.values import Appeared, Comparison, EnvironmentChange, GradeChange, Vanished
from conformance.compare.xml_text import legal


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tested:
    who: str
    name: str
    #: Why it fails; empty where it does not.
    failure: str = ""
    said: str = ""


def junit(comparison: Comparison) -> str:
    """Return the comparison as one suite: each regressed cell fails by itself, what else changed passes and says so."""
    tested = list(_tested(comparison))
    failures = sum(bool(item.failure) for item in tested)
    counts = {"tests": str(len(tested)), "failures": str(failures), "errors": "0", "skipped": "0"}
    suites = ET.Element("testsuites", {"name": "conformance compare", **counts})
    suite = ET.SubElement(suites, "testsuite", {"name": "conformance compare", **counts})
    for item in tested:
        case = ET.SubElement(suite, "testcase", {"classname": legal(item.who), "name": legal(item.name), "time": "0"})
        if item.failure:
            ET.SubElement(case, "failure", {"message": legal(item.failure), "type": "regression"}).text = legal(
                item.said
            )
        elif item.said:
            ET.SubElement(case, "system-out").text = legal(item.said)
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _tested(comparison: Comparison) -> Iterator[_Tested]:
    yield _Tested(
        who="comparison", name=f"{comparison.same} of {comparison.compared} cells as before", said=headline(comparison)
    )
    for change in comparison.changes:
        if change.regression:
            words = _words(entry(change))
            for cell in change.cells:
                said = f"{cell.what}\nscore {cell.base_score} → {cell.new_score}".lstrip()
                failure = words if cell.regression else ""
                yield _Tested(who=cell.column, name=cell.case, failure=failure, said=said)
    others: list[GradeChange | EnvironmentChange | Vanished | Appeared]
    others = [*comparison.grades, *comparison.environments, *comparison.vanished, *comparison.appeared]
    for other in others:
        if other.regression:
            change_entry = entry(other)
            yield _Tested(
                who=change_entry.who,
                name=change_entry.said,
                failure=_words(change_entry),
                said="\n".join(name for name, _ in change_entry.rows),
            )
    for section in sections(comparison):
        if section.title not in FAILING:
            yield from (
                _Tested(who=section_entry.who, name=section_entry.said, said=_words(section_entry))
                for section_entry in section.entries
            )


def _words(change_entry: Entry) -> str:
    return f"{change_entry.said}: {change_entry.what}" if change_entry.what else change_entry.said
