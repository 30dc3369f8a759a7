"""Options that cannot work are refused, and the error names the option."""

from __future__ import annotations

import pytest

from grange.errors import ConfigurationError
from grange.transport.options import TransportOptions


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"queue_messages": 0}, "queue_messages"),
        ({"close_timeout": -1.0}, "close_timeout"),
        ({"backoff_first": 2.0}, "backoff_max"),
        ({"frame_messages": 5000}, "frame_messages"),
        ({"frame_bytes": 2**20}, "frame_bytes"),
    ],
)
def test_a_value_that_cannot_work_is_named(options: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        TransportOptions(**options)  # type: ignore[arg-type]


def test_a_frame_is_larger_than_the_largest_message() -> None:
    assert TransportOptions(payload_limit=10).frame_limit == 10 + 2**20
