"""Generates the option tables of docs/operations/configuration.md: `python -m tests.docs.option_tables`.

The page has each table between `<!-- options: NAME -->` and `<!-- end -->`. Running this module writes all of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from grange.client.options import ClientOptions
from grange.directory.options import DirectoryOptions
from grange.membership.model.options import MembershipOptions
from grange.placement.options import PlacementOptions
from grange.reminders.options import ReminderOptions
from grange.runtime.options import RuntimeOptions
from grange.security.vault_options import VaultOptions
from grange.silo.config import SiloConfig
from grange.silo.dashboard_options import DashboardOptions
from grange.silo.option_reference import meanings
from grange.storage.options import StorageOptions
from grange.transport.options import TransportOptions
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "operations" / "configuration.md"
TABLE = re.compile(r"(?<=<!-- options: )(\w+) -->\n(.*?)(?=<!-- end -->)", re.DOTALL)
CLASSES: Mapping[str, type] = {
    "silo": SiloConfig,
    "runtime": RuntimeOptions,
    "membership_options": MembershipOptions,
    "directory": DirectoryOptions,
    "transport": TransportOptions,
    "storage_options": StorageOptions,
    "placement_options": PlacementOptions,
    "reminders": ReminderOptions,
    "vault": VaultOptions,
    "dashboard": DashboardOptions,
    "client": ClientOptions,
}


def default_of(options: type, name: str) -> Any:
    if options is SiloConfig:
        return SiloConfig.model_fields[name].get_default(call_default_factory=True)
    return getattr(options(), name)


def shown(value: Any) -> str:
    """A default in TOML syntax."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, dict | tuple | list):
        return str([*value]).replace("'", '"') if value else "none"
    return f'"{value}"'


def table(name: str) -> str:
    options = CLASSES[name]
    rows = [f"| `{key}` | `{shown(default_of(options, key))}` | {text} |" for key, text in meanings(options).items()]
    return "\n".join(["| option | default | meaning |", "|---|---|---|", *rows]) + "\n"


def renewed(page: str) -> str:
    return TABLE.sub(lambda found: f"{found[1]} -->\n{table(found[1])}", page)


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
