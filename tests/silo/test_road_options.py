"""The options of the road: a port without effect is refused, and so is a road that does not exist."""

from __future__ import annotations

from typing import Any

import pytest

from grange import ConfigurationError
from grange.client import ClientOptions
from grange.testing.cluster import KeywordConfig


@pytest.mark.parametrize("option", ["road_port", "gateway_road_port"])
def test_a_port_of_the_road_needs_the_road(option: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"option '{option}'.*road = 'tcp'"):
        KeywordConfig(**{option: 5000})
    config: Any = KeywordConfig(**{option: 5000, "road": "tcp"})
    assert getattr(config, option) == 5000


def test_a_road_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"option 'road'.*grpc or tcp"):
        KeywordConfig(road="quic")
    with pytest.raises(ConfigurationError, match="client option road must be 'grpc' or 'tcp', not 'quic'"):
        ClientOptions(road="quic")  # type: ignore[arg-type]


def test_the_default_road_is_grpc() -> None:
    assert (KeywordConfig().road, ClientOptions().road) == ("grpc", "grpc")
