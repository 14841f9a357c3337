"""The example of docs/testing.md as a module, as it stands there or with a part of it replaced."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hypothesis import settings


def example(page: Path, *replaced: tuple[str, str]) -> dict[str, Any]:
    """Return the names that the first Python snippet of a page defines; the profile in force stays as it was."""
    match = re.search(r"^```python\n(?P<text>.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert match is not None
    text = match["text"]
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    names: dict[str, Any] = {}
    before = settings.get_current_profile_name()
    exec(compile(text, str(page), "exec"), names)
    settings.load_profile(before)
    return names
