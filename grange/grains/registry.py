"""The registry of services: svcs without its integrations.

`import svcs` imports every web framework that is installed and that svcs has an integration for. A silo needs only the
core, so that is imported alone. An application that imports svcs itself gets the whole, with the same classes.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec


@contextmanager
def _core_only() -> Generator[None]:
    """Inside, an import of a part of svcs does not run the package's `__init__`, unless that has run already."""
    spec = find_spec("svcs")
    if spec is None or "svcs" in sys.modules:
        yield
        return
    sys.modules["svcs"] = module_from_spec(spec)
    try:
        yield
    finally:
        del sys.modules["svcs"]  # a later `import svcs` runs `__init__`, and finds its core imported


with _core_only():
    from svcs._core import Container, Registry

__all__ = ["Container", "RegisteredServices", "Registry"]


class RegisteredServices:
    """`facets.Services`, from a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __contains__(self, kind: type, /) -> bool:
        return kind in self._registry

    def container(self) -> Container:
        """A container for one activation."""
        return Container(self._registry)
