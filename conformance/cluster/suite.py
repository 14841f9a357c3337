"""Which suite this is: a digest of all by which cells are performed and judged, equal on every machine that has the same."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from conformance import __version__
from conformance.spec.locations import root

_PACKAGE = Path(__file__).resolve().parents[1]


@functools.cache
def suite() -> str:
    """Return the version, and a digest of the sources, the adapters and the spec as this process found them first."""
    digest = hashlib.sha256()
    shipped = root()
    for name, folder in (("conformance", _PACKAGE), ("adapters", shipped / "adapters"), ("spec", shipped / "spec")):
        for file in sorted(folder.rglob("*")):
            place = file.relative_to(folder)
            # A wheel has adapters and spec inside the package.
            if file.suffix in (".py", ".yaml", ".md", ".json", ".csv") and place.parts[0] != "_shipped":
                digest.update(f"{name}/{place.as_posix()}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return f"{__version__} {digest.hexdigest()[:16]}"


def difference(theirs: str, ours: str) -> str:
    """Return how another suite differs from this one; empty where it does not."""
    if theirs == ours:
        return ""
    their_version, our_version = theirs.partition(" ")[0][:40], ours.partition(" ")[0]
    if their_version != our_version:
        return f"has suite {their_version}, and the run has {our_version}"
    return f"has other sources, adapters or spec of suite {our_version} than the run"


def digest_of_texts(sources: Mapping[str, str]) -> str:
    """Return a digest of the texts of an adapter's modules."""
    digest = hashlib.sha256()
    for name, text in sorted(sources.items()):
        digest.update(f"{name}\0{text}\0".encode(errors="surrogatepass"))
    return digest.hexdigest()[:16]


def resource_of(group: str) -> str:
    """Return the resource that a Dask worker has which can run a group: its name in capitals, `TORCH`."""
    return re.sub(r"[^A-Z0-9]+", "_", group.upper())


#: What a Dask worker has that may use an accelerator.
GPU = "GPU"
