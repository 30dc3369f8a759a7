"""Every numeric option of every room refuses what cannot work, by its name, from code and from a configuration."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange import ConfigurationError
from grange.client.options import ClientOptions
from grange.directory.options import DirectoryOptions
from grange.membership.model.options import MembershipOptions
from grange.option_ranges import LARGEST, LONGEST
from grange.placement.options import PlacementOptions
from grange.runtime.options import RuntimeOptions
from grange.storage.options import StorageOptions
from grange.testing.cluster import KeywordConfig
from grange.transport.options import TransportOptions

ROOMS: dict[str, type[msgspec.Struct]] = {
    "runtime": RuntimeOptions,
    "membership_options": MembershipOptions,
    "directory": DirectoryOptions,
    "transport": TransportOptions,
    "storage_options": StorageOptions,
    "placement_options": PlacementOptions,
    "client": ClientOptions,
}
MAY_BE_ZERO = {
    ("directory", "death_hold"),
    ("placement_options", "rebalance_delay"),
    ("runtime", "hold_down"),
    ("runtime", "identity_bytes"),
    ("runtime", "identity_requests"),
    ("runtime", "memory_mib"),
    ("runtime", "shed_lag"),
}
NEVER = (-1, -0.5, math.nan, math.inf, -math.inf, 1e300, 10**400, True, "5", None)


def fields() -> Iterator[tuple[str, str, Any]]:
    for room, kind in ROOMS.items():
        for field in msgspec.structs.fields(kind):
            yield room, field.name, field.default


NUMBERS = [(room, name, default) for room, name, default in fields() if not isinstance(default, bool)]
FLAGS = [(room, name) for room, name, default in fields() if isinstance(default, bool)]


@pytest.mark.parametrize(("room", "name", "default"), NUMBERS)
def test_a_number_that_cannot_work_is_refused(room: str, name: str, default: float) -> None:
    """Negative, infinite, huge, not a number: in code and in the table of a configuration."""
    zero = () if (room, name) in MAY_BE_ZERO else (0,)
    fraction = (1.5,) if isinstance(default, int) else ()
    for value in (*NEVER, *zero, *fraction):
        with pytest.raises(ConfigurationError, match=f"option {name} must be "):
            ROOMS[room](**{name: value})
        if room != "client" and not isinstance(value, str):
            with pytest.raises(ConfigurationError, match=rf"option '{room}\.{name}': "):
                KeywordConfig(**{room: {name: value}})


@pytest.mark.parametrize(("room", "name"), FLAGS)
@pytest.mark.parametrize("value", [0, 1, 1.0, "true", None])
def test_a_flag_is_true_or_false(room: str, name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"option {name} must be true or false"):
        ROOMS[room](**{name: value})


def test_a_hold_of_no_time_is_a_documented_meaning() -> None:
    assert DirectoryOptions(death_hold=0).death_hold == 0


@given(st.floats(0, LONGEST, exclude_min=True), st.integers(1, LARGEST))
def test_every_number_in_range_is_accepted(seconds: float, number: int) -> None:
    options = RuntimeOptions(response_timeout=seconds, mailbox_limit=number)
    assert (options.response_timeout, options.mailbox_limit) == (seconds, number)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, 1e300, True, "soon", None, []])
def test_the_drain_time_out_is_a_finite_number(value: object) -> None:
    with pytest.raises(
        ConfigurationError, match="option 'drain_timeout': must be a number of seconds above 0, at most"
    ):
        KeywordConfig(drain_timeout=value)


@pytest.mark.parametrize("option", ["port", "gateway_port", "probe_port", "road_port", "gateway_road_port"])
@pytest.mark.parametrize("value", [-1, 65536, 1.5, math.nan, math.inf, 10**400, True, "high", None])
def test_a_port_is_a_whole_number(option: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"option '{option}': must be a whole number from 0 to 65535"):
        KeywordConfig(**{option: value})
