"""The tables of options of other rooms, and which of them has an option of a given name. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from grange.directory.options import DirectoryOptions
from grange.membership.model.options import MembershipOptions
from grange.placement.options import PlacementOptions
from grange.placement.versions import VersionOptions
from grange.reminders.options import ReminderOptions
from grange.runtime.options import RuntimeOptions
from grange.security.options import TlsOptions
from grange.security.vault_options import VaultOptions
from grange.silo.dashboard_options import DashboardOptions
from grange.storage.options import StorageOptions
from grange.transport.options import TransportOptions

TABLES: Mapping[str, type[msgspec.Struct]] = MappingProxyType({
    "runtime": RuntimeOptions,
    "membership_options": MembershipOptions,
    "directory": DirectoryOptions,
    "transport": TransportOptions,
    "storage_options": StorageOptions,
    "placement_options": PlacementOptions,
    "dashboard": DashboardOptions,
    "versions": VersionOptions,
    "tls": TlsOptions,
    "reminders": ReminderOptions,
    "vault": VaultOptions,
})  # fmt: skip
"""The tables of options, one of each room, with their classes."""


def table_of(name: str) -> str:
    """The table that has an option of this name; empty if none has."""
    return next((table for table, kind in TABLES.items() if name in kind.__struct_fields__), "")
