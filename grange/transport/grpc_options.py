"""The gRPC options of both sides. gRPC's defaults suit mobile clients, not silos that must detect deaths quickly."""

from __future__ import annotations

from grange.transport.listening import most_connections
from grange.transport.options import LONGEST, TransportOptions

IDLE_LIMIT = 30.0
"""Seconds without a stream after which a connection ends. A silo or client has a stream always, a probe line each few
seconds.
"""

Setting = tuple[str, int]

PROBE_LIMIT = 64 * 1024
"""Largest probe or answer, in bytes; a typical one has about a hundred."""


def channel_options(options: TransportOptions) -> list[Setting]:
    """Options of the opening side. A channel is one connection: gRPC must neither share it nor retry calls on it."""
    return [
        *_common_options(options),
        ("grpc.use_local_subchannel_pool", 1),  # no sharing between transports of one process
        ("grpc.enable_retries", 0),  # calls are at most once: gRPC must not resend
        ("grpc.enable_http_proxy", 0),  # silos connect directly, also when the environment names a proxy
        ("grpc.initial_reconnect_backoff_ms", _ms(options.backoff_first)),
        # This is also the time-out of one attempt, despite its name; so the 100 ms of the back-off are too short.
        ("grpc.min_reconnect_backoff_ms", _ms(options.connect_timeout)),
        ("grpc.max_reconnect_backoff_ms", _ms(max(options.backoff_max, options.connect_timeout))),
    ]


def server_options(options: TransportOptions, longest_age: float = 0.0) -> list[Setting]:
    """Options of the accepting side.

    `longest_age`: seconds after which a TLS connection takes no further streams, each of which would pass without a
    handshake of TLS. The stream that it has goes on; `security/renewal.py` ends that. 0: no limit.
    """
    return [
        *([("grpc.max_connection_age_ms", _ms(min(longest_age, LONGEST)))] if longest_age else []),
        *_common_options(options),
        ("grpc.so_reuseport", 0),  # a port in use is an error: sharing it would split the connections
        ("grpc.max_concurrent_streams", options.streams_per_connection),
        # gRPC counts its connections itself. Those without a stream are seen by nothing else, and cannot be refused.
        ("grpc.max_allowed_incoming_connections", most_connections(options.connections)),
        ("grpc.max_connection_idle_ms", _ms(IDLE_LIMIT)),
        ("grpc.server_handshake_timeout_ms", _ms(options.connect_timeout)),
        # Peers ping as often as this side does. By default a server treats that as abuse and closes the connection.
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(options.keepalive_time / 2)),
        ("grpc.http2.max_ping_strikes", 10),
    ]


def probe_options(options: TransportOptions) -> list[Setting]:
    """Options of the opening side of a probe line."""
    return _with_probe_limit(channel_options(options))


def probe_server_options(options: TransportOptions) -> list[Setting]:
    """Options of the accepting side of a probe line."""
    return _with_probe_limit(server_options(options))


def _with_probe_limit(settings: list[Setting]) -> list[Setting]:
    """These settings, with messages no larger than a probe."""
    limits = [(name, PROBE_LIMIT) for name in ("grpc.max_receive_message_length", "grpc.max_send_message_length")]
    return [*(setting for setting in settings if setting[0] not in dict(limits)), *limits]


def _common_options(options: TransportOptions) -> list[Setting]:
    return [
        ("grpc.max_receive_message_length", options.frame_limit),
        ("grpc.max_send_message_length", -1),  # the limits of TransportOptions apply before
        ("grpc.max_metadata_size", 8 * 1024),  # grange sends no metadata
        ("grpc.keepalive_time_ms", _ms(options.keepalive_time)),
        ("grpc.keepalive_timeout_ms", _ms(options.keepalive_timeout)),
        # Without this option a stopped peer is detected only after 60 s, despite the keepalive options.
        ("grpc.http2.ping_timeout_ms", _ms(options.keepalive_timeout)),
        ("grpc.http2.max_pings_without_data", 0),  # ping idle connections too
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
