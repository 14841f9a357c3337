"""Options of a few words: read, completed by the shell, and refused with the word that is nearest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from conformance.errors import nearest
from conformance.spec.tiers import DEVICES, MODES


def choice(name: str, words: tuple[str, ...], text: str, metavar: str = "") -> Any:
    """Return the option `name` that takes one of these words; `text` is its help."""
    return typer.Option(
        name,
        parser=_reader(words),
        metavar=metavar or "|".join(words),
        help=text,
        autocompletion=lambda incomplete: [word for word in words if word.startswith(incomplete)],
    )


def mode_option(text: str = "Omitted: every mode.") -> Any:
    """Return the option that takes a mode."""
    return choice("--mode", MODES, text)


def device_option(text: str = "Omitted: every device there is.") -> Any:
    """Return the option that takes a device."""
    return choice("--device", DEVICES, text)


def _reader(words: tuple[str, ...]) -> Callable[[str], str]:
    def word(text: str) -> str:
        if text in words:
            return text
        raise typer.BadParameter(f"{text!r}: expected {', '.join(words[:-1])} or {words[-1]}{nearest(text, words)}")

    return word
