"""How options are shown: without passwords and tokens, and with references to secrets as they are written. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from grange.databases.urls import shown_template, shown_url
from grange.security.references import has_references, only_references
from grange.security.secret import HIDDEN
from grange.silo.option_errors import TOKENS

_URLS = frozenset({"audit", "membership", "storage"})
_SECRET = frozenset({("dashboard", "users"), ("vault", "secret_id")})
"""Options of tables that are secrets; a table of them is shown with its names."""

Templates = Mapping[tuple[str, ...], str]
"""The options that secrets are filled into, by the path of their names."""


def shown_option(name: str, value: Any, templates: Templates) -> Any:
    """The value of an option at the top, for people and programs."""
    return _shown((name,), value, templates)


def shown_in_table(table: str, name: str, value: Any, templates: Templates) -> Any:
    """The value of an option of a table."""
    return _shown((table, name), value, templates)


def _shown(path: tuple[str, ...], value: Any, templates: Templates) -> Any:
    if isinstance(value, Mapping):
        table = cast("Mapping[str, Any]", value)
        return {name: _shown((*path, name), each, templates) for name, each in table.items()}
    is_url = path[0] in _URLS or path[0] == "storages"
    template = value if has_references(value) else templates.get(path, "")
    if isinstance(value, str) and template:
        if is_url:
            return shown_template(template)
        return template if not _is_secret(path) or only_references(template) else HIDDEN
    if _is_secret(path):
        return HIDDEN if value else value
    return shown_url(value) if is_url and value else value


def _is_secret(path: tuple[str, ...]) -> bool:
    return path[0] in TOKENS or path[:2] in _SECRET
