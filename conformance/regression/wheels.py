"""The two versions that are compared, before anything is built for them: of that package, and not the same."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tomllib
import zipfile
from pathlib import Path

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from conformance.errors import UsageError
from conformance.regression.installer import PIP
from conformance.regression.pins import Local, Nightly, Released, Source

#: One build; a build that takes longer hangs.
_SECONDS = 1800.0


def check_asked(package: str, base: Source, head: Source) -> None:
    """Raise `UsageError` where one of the two is of another package, or both are the same: nothing is built for it."""
    check_package("--base", package, base)
    check_package("--head", package, head)
    check_different(package, base, head)


def check_package(option: str, package: str, source: Source) -> None:
    """Raise `UsageError` where what an option names shows that it is of another package."""
    name = _name_of(source)
    if name is not None and canonicalize_name(name) != canonicalize_name(package):
        raise UsageError(f"{option} {_shown(source)}: is of {name}, not of {package}")


def check_different(package: str, base: Source, head: Source) -> None:
    """Raise `UsageError` where both are one version, one checkout, or wheels of the same content."""
    same = base == head
    match base, head:
        case Local(path=one), Local(path=other) if one.is_file() and other.is_file():
            same = digest_of(one) == digest_of(other)
        case _:
            pass
    if same:
        raise UsageError(f"{package}: base and head are the same, {_shown(head)}: nothing to compare")


def built_wheel(package: str, at: Source, folder: Path) -> Source:
    """Return the version or wheel as it is, and of a checkout a wheel built of it as it stands. Raises `UsageError`."""
    match at:
        case Local(path=checkout) if checkout.is_dir():
            wheel = _wheel(package, checkout, folder / "wheels")
            name = _wheel_name(wheel)
            if canonicalize_name(name) != canonicalize_name(package):
                raise UsageError(f"{checkout}: is of {name}, not of {package}")
            return Local(path=wheel)
        case _:
            return at


def digest_of(wheel: Path) -> str:
    """Return a short digest of a wheel's files; when they were packed does not count. Raises `UsageError`."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            files = sorted((member.filename, member.CRC, member.file_size) for member in archive.infolist())
    except (OSError, zipfile.BadZipFile) as error:
        raise UsageError(f"{wheel}: not a wheel: {error}") from error
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()[:12]


def last_line(text: str) -> str:
    """Return what pip said last."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no word from pip"


def _name_of(source: Source) -> str | None:
    """Return the package that a wheel or a checkout is of; None where that shows only once it is built."""
    match source:
        case Released() | Nightly():
            return None
        case Local(path=path) if path.is_dir():
            return _declared_name(path / "pyproject.toml")
        case Local(path=path):
            return _wheel_name(path)


def _declared_name(file: Path) -> str | None:
    """Return the name that a checkout's `pyproject.toml` states; None where it states none."""
    if not file.is_file():
        return None
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: not TOML: {error}") from error
    name = project.get("name") if isinstance(project, dict) else None
    return name if isinstance(name, str) else None


def _wheel_name(wheel: Path) -> str:
    try:
        return parse_wheel_filename(wheel.name)[0]
    except InvalidWheelFilename as error:
        raise UsageError(f"{wheel}: not a wheel's name: expected NAME-VERSION-PYTHON-ABI-PLATFORM.whl") from error


def _wheel(package: str, checkout: Path, folder: Path) -> Path:
    """Return a wheel built of a checkout as it stands."""
    into = folder / hashlib.sha256(str(checkout).encode()).hexdigest()[:12]
    for old in into.glob("*.whl"):
        old.unlink()
    command = [*PIP, "wheel", "--no-deps", "--wheel-dir", str(into), str(checkout)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_SECONDS)
    wheels = sorted(into.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise UsageError(f"{checkout}: no wheel of {package} can be built there: {last_line(done.stderr)}")
    return wheels[0]


def _shown(source: Source) -> str:
    return str(source.path) if isinstance(source, Local) else str(source)
