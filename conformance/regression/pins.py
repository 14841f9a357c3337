"""The pinned requirements of framework groups with one package replaced: pure functions of `pyproject.toml` as parsed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from conformance.errors import UsageError

#: What a worker needs of its interpreter, beside the framework.
WORKER = ("numpy", "ml_dtypes")
#: Packages of a group that are installed without their dependencies.
_ALONE = "-alone"
_GPU = "-gpu"
_UNLOCKED: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A version from the package index."""

    version: Version

    def __str__(self) -> str:
        return str(self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """A wheel, or a checkout to build one of."""

    path: Path

    def __str__(self) -> str:
        return self.path.name


@dataclass(frozen=True, slots=True, kw_only=True)
class NightlyBuilds:
    """Where a package's builds of every night are, and what comes with one."""

    #: The name that they have in the index; that of the package unless `pyproject.toml` says another.
    distribution: str
    #: An index beside pip's own that has them; empty where pip's own does.
    index: str = ""
    #: Packages of which such a build needs a build of a night too.
    along: tuple[str, ...] = ()
    #: Pins that it makes needless: it brings the same files under another name.
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Nightly:
    """A build of some night."""

    version: Version
    builds: NightlyBuilds

    def __str__(self) -> str:
        return str(self.version)


Source: TypeAlias = Released | Local | Nightly


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """The requirements of one group."""

    group: str
    #: Resolved together.
    together: tuple[str, ...]
    #: Installed after them, without dependencies.
    alone: tuple[str, ...] = ()
    #: A digest of the group's lock: an environment that was built before another lock is built anew.
    lock: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One attempt to install: how far the other pins are kept, and the requirements that follow."""

    kept: str
    together: tuple[str, ...]
    alone: tuple[str, ...]


def source(text: str) -> Source:
    """Return the version or the path that a person named. Raises `UsageError` for what is neither."""
    path = Path(text)
    if text and (path.exists() or path.suffix == ".whl" or "/" in text):
        checkout = any((path / name).is_file() for name in ("pyproject.toml", "setup.py", "setup.cfg"))
        if not (checkout or (path.is_file() and path.suffix == ".whl")):
            raise UsageError(f"{text}: no wheel and no checkout there")
        return Local(path=path.resolve())
    try:
        return Released(version=Version(text))
    except InvalidVersion:
        raise UsageError(f"{text}: expected a version, such as 1.2.3, or the path of a wheel or a checkout") from None


def pins(
    project: Mapping[str, Any], groups: Sequence[str], *, gpu: bool = False, locks: Mapping[str, str] = _UNLOCKED
) -> tuple[Pins, ...]:
    """Return the pins of those groups, in their order, from a parsed `pyproject.toml`. Raises `UsageError`.

    `locks` are digests of the locks by group.
    """
    try:
        from packaging.dependency_groups import resolve_dependency_groups
    except ImportError as error:  # the module is there from packaging 26.1 on
        message = "comparing versions needs packaging 26.1 or newer: pip install 'batchnorm-conformance[regression]'"
        raise UsageError(message) from error
    declared = project["dependency-groups"]
    return tuple(
        Pins(
            group=group,
            together=resolve_dependency_groups(declared, f"{group}{_GPU}" if gpu else group),
            alone=resolve_dependency_groups(declared, group + _ALONE) if group + _ALONE in declared else (),
            lock=locks.get(group, ""),
        )
        for group in groups
    )


def holding(groups: Sequence[Pins], package: str) -> tuple[Pins, ...]:
    """Return the groups that pin the package. Raises `UsageError` where none does."""
    holders = tuple(group for group in groups if package_of(group, package) is not None)
    if not holders:
        names = sorted({Requirement(text).name for group in groups for text in (*group.together, *group.alone)})
        near = difflib.get_close_matches(package, names, 1)
        meant = f" did you mean {near[0]}?" if near else f" pinned are {', '.join(names)};"
        raise UsageError(f"--package {package}: no group pins it;{meant} --group names a group to add it to")
    return holders


def package_of(group: Pins, package: str) -> Requirement | None:
    """Return the requirement by which a group pins the package."""
    return next(
        (
            requirement
            for requirement in map(Requirement, (*group.together, *group.alone))
            if _same(requirement, package)
        ),
        None,
    )


def pinned_version(groups: Sequence[Pins], package: str) -> Released | None:
    """Return the version at which those groups pin the package."""
    for group in groups:
        requirement = package_of(group, package)
        for specifier in requirement.specifier if requirement else ():
            if specifier.operator == "==":
                return Released(version=Version(specifier.version))
    return None


def with_nightly(group: Pins, package: str, builds: NightlyBuilds) -> Pins:
    """Return the pins with the package under the name of its builds of a night, without what those bring themselves."""
    without = {canonicalize_name(name) for name in builds.without}

    def kept(texts: Sequence[str]) -> tuple[str, ...]:
        pairs = [(text, Requirement(text)) for text in texts]
        return tuple(
            _named(requirement, builds.distribution) if _same(requirement, package) else text
            for text, requirement in pairs
            if canonicalize_name(requirement.name) not in without
        )

    # A requirement that names a pre-release admits one, for that package alone: `--pre` would for every other as well.
    along = tuple(f"{name}>=0.dev0" for name in builds.along)
    return replace(group, together=(*kept(group.together), *along), alone=kept(group.alone))


def _named(requirement: Requirement, name: str) -> str:
    requirement = Requirement(str(requirement))
    requirement.name = name
    return str(requirement)


def rungs(group: Pins, package: str, replacement: str) -> tuple[Rung, ...]:
    """Return what to install, one attempt after the other, with the package at `replacement`.

    `replacement` is a specifier, ` @ ` and a URL, or empty to leave the pins as they are. First every other pin is
    kept. Where they do not go together, the others may be older, since a resolver then takes the nearest below
    the pin; last, any version.
    """
    kept = [("as pinned", "=="), ("as pinned or older", "<="), ("free", "")]
    tried = [_rung(group, package, replacement, name, operator) for name, operator in kept]
    return tuple(tried) if replacement else tuple(tried[:1])


def _rung(group: Pins, package: str, replacement: str, kept: str, operator: str) -> Rung:
    together = [_replaced(text, package, replacement, operator) for text in group.together]
    alone = [_replaced(text, package, replacement, operator) for text in group.alone]
    if replacement and package_of(group, package) is None:
        together.append(f"{package}{replacement}")
    needed = [name for name in WORKER if not any(_same(Requirement(text), name) for text in together)]
    return Rung(kept=kept, together=(*together, *needed), alone=tuple(alone))


def _replaced(text: str, package: str, replacement: str, operator: str) -> str:
    """Return a requirement with the package replaced, or as another one that is kept by `operator`."""
    requirement = Requirement(text)
    name = f"{requirement.name}[{','.join(sorted(requirement.extras))}]" if requirement.extras else requirement.name
    marker = f" ; {requirement.marker}" if requirement.marker else ""
    if _same(requirement, package) and replacement:
        return f"{name}{replacement}{marker}"
    if operator == "==":
        return text
    pinned = next((specifier.version for specifier in requirement.specifier if specifier.operator == "=="), "")
    if not pinned and requirement.specifier.prereleases:
        return text
    return f"{name}{f'{operator}{pinned}' if operator and pinned else ''}{marker}"


def _same(requirement: Requirement, package: str) -> bool:
    return canonicalize_name(requirement.name) == canonicalize_name(package)
