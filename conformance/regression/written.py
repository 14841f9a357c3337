"""The files that a regression check leaves behind, each made from the run files alone."""

from __future__ import annotations

import json
from pathlib import Path

from conformance.compare.junit import junit
from conformance.compare.text import text
from conformance.errors import UsageError
from conformance.files.json_text import text_of
from conformance.files.whole import write_whole
from conformance.regression.checked import Bisected, Checked, CheckedVersion, failures, moved
from conformance.regression.environments import Built, Environment, Unbuilt
from conformance.regression.summary import summary, verdict_of
from conformance.report import write as write_report
from conformance.runfile.reading import read


def write(checked: Checked, out: Path) -> str:
    """Write summary, comparison, JUnit XML, environments and report; return what a terminal shows."""
    if checked.head.file is None or checked.base.results is None:
        raise UsageError(f"{checked.package} {checked.head.at}: nothing was selected there")
    files = {
        "summary.md": summary(checked),
        "comparison.json": text_of(checked.comparison),
        "junit.xml": junit(checked.comparison),
        "versions.json": json.dumps(_versions(checked), indent=1) + "\n",
    }
    for name, content in files.items():
        write_whole(out / name, content.encode(errors="backslashreplace"))
    page = write_report([read(checked.head.file)], out / "report", partial=False, baseline=checked.base.results)
    bisected = [f"{checked.package}: {verdict_of(checked.bisected)}\n"] if checked.bisected else []
    return "".join([text(checked.comparison), *_moved(checked), *bisected, f"{page}\n"])


def _moved(checked: Checked) -> list[str]:
    return [
        f"{group}: {name} {was or 'none'} → {now or 'none'}\n"
        for group, packages in moved(checked.base, checked.head).items()
        for name, (was, now) in packages.items()
    ]


def _versions(checked: Checked) -> object:
    bisected = checked.bisected
    return {
        "package": checked.package,
        "base": _side(checked.base),
        "head": _side(checked.head),
        "moved": moved(checked.base, checked.head),
        "bisected": _bisected(bisected) if bisected else None,
    }


def _bisected(bisected: Bisected) -> object:
    return {
        "last": str(bisected.found.last),
        "first": str(bisected.found.first),
        "untestable": [str(version) for version in bisected.found.untestable],
        "steps": [{**_side(step.side), "answer": step.answer, "said": step.said} for step in bisected.steps],
    }


def _side(side: CheckedVersion) -> dict[str, object]:
    return {
        "version": str(side.at),
        "seconds": side.seconds,
        "failures": failures(side),
        "environments": [_environment(environment) for environment in side.environments],
    }


def _environment(environment: Environment) -> object:
    match environment:
        case Built():
            return {
                "group": environment.group,
                "built": True,
                "others": environment.kept,
                "seconds": environment.seconds,
                "versions": environment.versions,
            }
        case Unbuilt():
            return {"group": environment.group, "built": False, "reason": environment.reason}
