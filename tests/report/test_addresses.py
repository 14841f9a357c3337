"""An address from a run file becomes a link where it is one of the web, and stays text otherwise, on every page."""

from __future__ import annotations

from pathlib import Path

from conformance.report import write
from tests.report_lines import Document, case, environment, record, run
from tests.run_lines import TORCH

ADDRESSES = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "\tjavascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "file:///etc/passwd",
    "//elsewhere.example/x",
]
WEB = "https://upstream.example/issue"


def links(folder: Path) -> set[str]:
    """Return every address that any page links to or loads."""
    pages = [Document(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")]
    given = [attributes for document in pages for _, attributes in document.elements]
    return {value for attributes in given for name in ("href", "src", "action") if (value := attributes.get(name))}


def test_no_address_of_a_stranger_is_followed_and_one_of_the_web_is(tmp_path: Path) -> None:
    addresses = {f"a.{number}": address for number, address in enumerate([*ADDRESSES, WEB])}
    declared = {"field": "empty_batch", "value": "error", "source": "documentation", "error": "ValueError"}
    profile = [declared | {"where": address} for address in ADDRESSES]
    offered = {"name": TORCH, "op": "batch_norm", "modes": ["eager"], "devices": ["cpu"], "profile": profile}
    cells = [
        record(
            "deviates", "xfailed", of=name, divergence=[{"reason": address, "diagnosis": address, "upstream": address}]
        )
        for name, address in addresses.items()
    ]
    cases = tuple(case(name, title=address, source=address) for name, address in addresses.items())
    environments = (environment(implementations=[{**offered, "documentation": ADDRESSES[0]}]),)
    write([run(*cells, cases=cases, environments=environments)], tmp_path / "out", partial=False)
    followed = links(tmp_path / "out")
    assert not [link for link in followed if any(address.strip() in link for address in ADDRESSES)]
    assert WEB in followed
