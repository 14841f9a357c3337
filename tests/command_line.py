"""The command line in this process: what a test of answers and messages needs, without an interpreter's start for each."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from conformance import cli


def inside(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Return how `conformance` with those words ends, called here from that folder: its exit code and what it printed.

    Not for a run that comes to judging, which pytest drives and would drive inside another.
    """
    out, err = io.StringIO(), io.StringIO()
    before = Path.cwd()
    os.chdir(folder)
    try:
        with (
            mock.patch.object(sys, "argv", ["conformance", *words]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            cli.main()
    finally:
        os.chdir(before)
    assert isinstance(ended.value.code, int)
    return subprocess.CompletedProcess(list(words), ended.value.code, out.getvalue(), err.getvalue())
