"""What the action asks of GitHub, by `gh`: the run of the base branch, and one comment on a pull request.

    pull_request.py base BRANCH ARTIFACT FILE      writes the newest run of the branch to FILE, where there is one
    pull_request.py comment NUMBER ARTIFACT FILE   writes the comment, in place of the one that it wrote before

GITHUB_REPOSITORY names the repository, and GH_TOKEN is for `gh`.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_RUN = "run.jsonl"
#: Who comments with the token that a workflow has.
_AUTHOR = "github-actions[bot]"
#: A comment ends at 65,536 characters.
_LONGEST = 65_000
#: What GitHub answers where a token may not comment, as that of a pull request from a fork.
_FORBIDDEN = "HTTP 403"


class GhError(Exception):
    """`gh` failed: what it said."""


def newest(artifacts: Iterable[Mapping[str, Any]], branch: str) -> int | None:
    """Return the id of the newest artefact that a workflow of this repository's own branch left.

    A branch of a fork may have the same name: what ran there is no base.
    """
    own = [
        artifact
        for artifact in artifacts
        for run in [artifact.get("workflow_run") or {}]
        if not artifact["expired"]
        and run.get("head_branch") == branch
        and run.get("head_repository_id") == run.get("repository_id")
    ]
    return max(own, key=lambda artifact: str(artifact["created_at"]))["id"] if own else None


def earlier(comments: Iterable[Mapping[str, Any]], mark: str) -> int | None:
    """Return the id of the comment that the action wrote before."""
    own = (
        comment["id"]
        for comment in comments
        if comment["user"]["login"] == _AUTHOR and str(comment["body"]).startswith(mark)
    )
    return next(own, None)


def body_of(mark: str, text: str) -> str:
    """Return the comment: a mark that nobody sees, and the text as far as a comment holds it."""
    rest = "\n\n… the artefact has the rest." if len(text) > _LONGEST else ""
    return f"{mark}\n{text[:_LONGEST]}{rest}"


def mark_of(artifact: str) -> str:
    """Return what tells the comment of one artefact from every other."""
    return f"<!-- normalization-conformance {re.sub(r'[^A-Za-z0-9_.]', '-', artifact)} -->"


def fetch_base(repository: str, branch: str, artifact: str, file: Path) -> None:
    """Write the newest run of the branch, where there is one."""
    pages = _json(f"repos/{repository}/actions/artifacts?per_page=100", "--method", "GET", "-f", f"name={artifact}")
    id_ = newest([entry for page in pages for entry in page["artifacts"]], branch)
    if id_ is None:
        print(f"::notice::no artefact {artifact} of {branch} to compare with")
        return
    with zipfile.ZipFile(io.BytesIO(_gh(f"repos/{repository}/actions/artifacts/{id_}/zip"))) as archive:
        if _RUN in archive.namelist():
            file.write_bytes(archive.read(_RUN))
        else:
            print(f"::notice::the artefact {artifact} of {branch} holds no {_RUN} to compare with")


def comment(repository: str, number: int, artifact: str, file: Path) -> None:
    """Write the comment, or renew it; a token that may not is told of, since the summary says the same."""
    mark = mark_of(artifact)
    body = json.dumps({"body": body_of(mark, file.read_text(encoding="utf-8"))}).encode()
    pages = _json(f"repos/{repository}/issues/{number}/comments?per_page=100")
    id_ = earlier((entry for page in pages for entry in page), mark)
    place, method = (f"issues/{number}/comments", "POST") if id_ is None else (f"issues/comments/{id_}", "PATCH")
    try:
        _gh(f"repos/{repository}/{place}", "--method", method, "--input", "-", given=body)
    except GhError as error:
        if _FORBIDDEN not in str(error):
            raise
        print("::notice::this token may not comment; the summary of the job has the comparison")


def _json(path: str, *words: str) -> list[Any]:
    """Return every page of an answer."""
    answered: list[Any] = json.loads(_gh(path, "--paginate", "--slurp", *words))
    return answered


def _gh(path: str, *words: str, given: bytes = b"") -> bytes:
    done = subprocess.run(["gh", "api", path, *words], input=given, capture_output=True)
    if done.returncode:
        raise GhError(done.stderr.decode(errors="replace").strip())
    return done.stdout


def main(words: list[str]) -> None:
    """Do what the command line says."""
    repository = os.environ["GITHUB_REPOSITORY"]
    match words:
        case ["base", branch, artifact, file]:
            fetch_base(repository, branch, artifact, Path(file))
        case ["comment", number, artifact, file]:
            comment(repository, int(number), artifact, Path(file))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except GhError as refused:
        raise SystemExit(f"error: gh: {refused}") from None
