"""Loads the provider that a URL's scheme names. Providers register by entry points, also those of other packages.

Called by `storage/urls.py` (group `grange.storage`), `membership/urls.py` (group `grange.membership`) and
`checks.py` (group `grange.check`). The name of an entry point is the scheme.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, requires
from types import MappingProxyType
from typing import Any

from grange.databases.urls import scheme_of
from grange.errors import ConfigurationError

_EXTRAS: Mapping[str, str] = MappingProxyType({"redis": "redis", "asyncpg": "postgres"})
"""The extra of grange that installs a driver, by the driver's package."""

_EXAMPLES = "'memory://', 'sqlite:///file.db', 'redis://host:6379/0' or 'postgresql://user@host/database'"


def find_provider(group: str, url: str) -> Any | None:
    """The provider of the group for the URL's scheme; None for a scheme that no package provides.

    Raises ConfigurationError with the remedy for a driver that is not installed, and for a scheme that several packages
    provide.
    """
    scheme = scheme_of(url)
    if scheme is None:
        return None
    points = {point.value: point for point in entry_points(group=group, name=scheme)}
    if len(points) > 1:
        # The order of entry points depends on the folders of the installation, so none of them is preferred.
        packages = " and ".join(sorted(map(_package_of, points.values())))
        raise ConfigurationError(f"{scheme}:// has several providers ({group}): {packages}; uninstall all but one")
    return next((_loaded(point) for point in points.values()), None)


def load_provider(group: str, url: str, subject: str) -> Any:
    """The provider of the group for the URL's scheme. `subject` names the use of the URL in errors.

    Raises ConfigurationError for a URL without a scheme, for an unknown scheme, and as `find_provider` does. Errors
    show only the scheme: the rest of the URL may hold a password.
    """
    scheme = scheme_of(url)
    provider = find_provider(group, url)
    if provider is not None:
        return provider
    known = ", ".join(sorted({f"{point.name}://" for point in entry_points(group=group)}))
    if scheme is None:
        raise ConfigurationError(f"not a {subject} URL: it has no scheme; known are {known}; write {_EXAMPLES}")
    raise ConfigurationError(f"the {subject} URL has the scheme {scheme!r}; known are {known or 'none'}")


def _package_of(point: EntryPoint) -> str:
    """The package that provides an entry point, for messages."""
    return point.value if point.dist is None else f"{point.dist.name} ({point.value})"


def _loaded(point: EntryPoint) -> Any:
    try:
        return point.load()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = _EXTRAS.get(package)
        # The package by itself, not "grange[extra]": that would be looked for in the index also from a checkout.
        remedy = f'pip install "{_requirement(extra, package)}"' if extra else f"pip install {package}"
        note = f" (it is the extra {extra!r} of grange)" if extra else ""
        raise ConfigurationError(
            f"{point.name}:// needs the package {package}, which is not installed: {remedy}{note}"
        ) from error
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"the provider of {point.name}://, {_package_of(point)}, cannot be imported: {error}; install it again"
        ) from error


def _requirement(extra: str, package: str) -> str:
    """The package with its versions, as grange's own metadata has it: `redis>=6`."""
    try:
        listed = requires("grange") or []
    except PackageNotFoundError:  # the sources are used without an installation
        listed = []
    found = (line.partition(";")[0].strip() for line in listed if f"extra == '{extra}'" in line.replace('"', "'"))
    return next((line for line in found if line.startswith(package)), package)
