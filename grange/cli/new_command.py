"""`grange new`: writes a starter, a small project with a grain, a silo and tests that pass."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from types import MappingProxyType

import click

from grange.cli.streams import write
from grange.errors import ConfigurationError
from grange.printable import printable

FILES: Mapping[str, str] = MappingProxyType({
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "grange.toml": "grange.toml",
    ".gitignore": "gitignore",
    "{package}/__init__.py": "package",
    "{package}/app.py": "app.py",
    "{package}/cart.py": "cart.py",
    "tests/test_cart.py": "test_cart.py",
})  # fmt: skip
"""Each file of a starter with the name of its template in the folder `starter`."""

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")


@click.command("new")
@click.argument("name")
def new_command(name: str) -> None:
    """Write a starter into the new folder NAME: a grain, a silo, options, and tests that pass."""
    package = _package(Path(name).name)
    folder = Path(name)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigurationError(f"{name!r} is there already and not an empty folder; choose another name")
        for path, template in FILES.items():
            _write(folder / path.format(package=package), template, {"project": folder.name, "package": package})
    except OSError as error:
        raise ConfigurationError(f"the starter cannot be written: {error.strerror}: {error.filename}") from error
    for line in (
        f"{name} has a grain, a silo and tests. Next:",
        f"  cd {name}",
        "  pytest",
        f"  grange dev {package}.app:silo",
    ):
        write(printable(line))


def _package(name: str) -> str:
    """The Python package for a project's name. Raises ConfigurationError for a name that cannot be imported."""
    package = name.replace("-", "_")
    taken = package in sys.stdlib_module_names or package in ("grange", "tests")
    if not _NAME.fullmatch(name) or keyword.iskeyword(package) or taken:
        reason = (
            "another package has this name" if taken else "use small letters, digits and single hyphens, as in my-shop"
        )
        raise ConfigurationError(f"a project cannot be named {name!r}: {reason}")
    return package


def _write(path: Path, template: str, names: Mapping[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = files("grange.cli").joinpath("starter", f"{template}.template").read_text()
    with path.open("x") as file:
        file.write(Template(text).substitute(names))
