"""How one silo is set up, beside the others: its options that differ, and its connections. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from grange.proto.inspection import Setup

OWN = frozenset({
    "name", "host", "advertise", "port", "gateway_port", "probe_port", "road_port", "gateway_road_port", "http",
    "http_host", "data", "tls.port", "tls.gateway_port", "tls.probe_port", "tls.http_port", "tls.certificate",
    "tls.key",
})  # fmt: skip
"""Options that each silo has for itself: a difference tells nothing."""

MISSING = "not given"


def options_that_differ(mine: Mapping[str, str], others: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The options that have another value than in most of the other silos, by name."""
    if not others:
        return []
    names = sorted({*mine, *(name for each in others for name in each)} - OWN)
    found: list[dict[str, str]] = []
    for name in names:
        usual = Counter(each.get(name, MISSING) for each in others).most_common(1)[0][0]
        if mine.get(name, MISSING) != usual:
            found.append({"name": name, "value": mine.get(name, MISSING), "usual": usual})
    return found


def connection_rows(setup: Setup, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """The connections, with the names of silos for their addresses."""
    return [{**msgspec.to_builtins(row), "peer": names.get(row.peer, row.peer)} for row in setup.connections]
