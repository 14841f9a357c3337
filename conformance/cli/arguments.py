"""What several commands take alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Files = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[FILE|FOLDER]...", help="Case files of your own; omitted: the shipped spec."),
]
Python = Annotated[
    list[str] | None, typer.Option("--python", metavar="GROUP=PATH", help="The interpreter of a framework group.")
]
Adapter = Annotated[
    list[str] | None, typer.Option("--adapter", metavar="FILE.py:NAME", help="Judge this adapter alone.")
]
