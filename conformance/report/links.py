"""Addresses within the site: relative, so that it opens from a disk and from any folder of a web server."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """The site that a report is part of: how the report is called there, and where the site's own pages are from it."""

    name: str
    index: str
    #: Empty where the site has no documentation.
    documentation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where links lead from one page; `single`: all pages are in one file, told apart by `#page=`."""

    page: str
    single: bool

    @property
    def root(self) -> str:
        """The way from the page to the site's folder."""
        return "" if self.single else "../" * self.page.count("/")

    def to(self, page: str, **query: str) -> str:
        """Return the address of a page, and of a view of it: `to("case.html", cell=ID)`."""
        if self.single:
            return _fragment({"page": page, **query})
        return f"{self.root}{page}{_fragment(query)}"

    def at(self, page: str, anchor: str) -> str:
        """Return the address of an element of a page."""
        if self.single:
            return _fragment({"page": page, "at": anchor})
        return f"#{anchor}" if page == self.page else f"{self.root}{page}#{anchor}"


def _fragment(query: dict[str, str]) -> str:
    return "#" + "&".join(f"{name}={_quoted(value)}" for name, value in query.items()) if query else ""


@lru_cache(maxsize=2**16)
def _quoted(value: str) -> str:
    """Return a value for an address: that of a cell stands on several pages."""
    return quote(value, safe="/:+,@")


def slugs(names: Sequence[str]) -> Mapping[str, str]:
    """Return a file name for every implementation: its own name, of letters, digits, dots and dashes."""
    slug_by_name: dict[str, str] = {}
    for name in names:
        slug = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.") or "implementation"
        in_use = {slug.lower() for slug in slug_by_name.values()}
        number = 1
        while (unique := slug if number == 1 else f"{slug}-{number}").lower() in in_use:
            number += 1
        slug_by_name[name] = unique
    return slug_by_name
