"""The gRPC options of both sides. gRPC's defaults suit mobile clients, not silos that must detect deaths quickly."""

from __future__ import annotations

from grange.transport.options import TransportOptions

Setting = tuple[str, int]

PROBE_LIMIT = 64 * 1024
"""Bytes of a probe or its answer at most; they have about a hundred."""


def channel_options(options: TransportOptions) -> list[Setting]:
    """For the opening side. One channel is one connection: never shared, never retried behind our back."""
    return [
        *_both(options),
        ("grpc.use_local_subchannel_pool", 1),  # no sharing between transports of one process
        ("grpc.enable_retries", 0),  # at most once: grpc must not resend
        ("grpc.enable_http_proxy", 0),  # silos talk to each other, whatever the environment says of proxies
        ("grpc.initial_reconnect_backoff_ms", _ms(options.backoff_first)),
        # In spite of its name also the time that one attempt may take, so not the 100 ms of the back-off.
        ("grpc.min_reconnect_backoff_ms", _ms(options.connect_timeout)),
        ("grpc.max_reconnect_backoff_ms", _ms(max(options.backoff_max, options.connect_timeout))),
    ]


def server_options(options: TransportOptions) -> list[Setting]:
    """For the accepting side."""
    return [
        *_both(options),
        ("grpc.so_reuseport", 0),  # a port in use is an error, not half of the connections
        ("grpc.max_concurrent_streams", options.streams_per_connection),
        # Peers ask as often as we do; a server that calls this abuse would cut off its own cluster.
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(options.keepalive_time / 2)),
        ("grpc.http2.max_ping_strikes", 10),
    ]


def probe_options(options: TransportOptions) -> list[Setting]:
    """For both sides of a probe line: as above, with room for a probe and no more."""
    small = [(name, PROBE_LIMIT) for name in ("grpc.max_receive_message_length", "grpc.max_send_message_length")]
    return [*(setting for setting in channel_options(options) if setting[0] not in dict(small)), *small]


def probe_server_options(options: TransportOptions) -> list[Setting]:
    """For the accepting side of a probe line."""
    small = [(name, PROBE_LIMIT) for name in ("grpc.max_receive_message_length", "grpc.max_send_message_length")]
    return [*(setting for setting in server_options(options) if setting[0] not in dict(small)), *small]


def endpoint(host: str, port: int) -> str:
    """`host:port` as gRPC takes it, with the brackets that an IPv6 address needs."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _both(options: TransportOptions) -> list[Setting]:
    return [
        ("grpc.max_receive_message_length", options.frame_limit),
        ("grpc.max_send_message_length", -1),  # our own limits came first
        ("grpc.max_metadata_size", 8 * 1024),  # nothing of ours travels there
        ("grpc.keepalive_time_ms", _ms(options.keepalive_time)),
        ("grpc.keepalive_timeout_ms", _ms(options.keepalive_timeout)),
        # The one that counts: without it a stopped peer is found after 60 s, whatever keepalive says.
        ("grpc.http2.ping_timeout_ms", _ms(options.keepalive_timeout)),
        ("grpc.http2.max_pings_without_data", 0),  # idle connections are asked too
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
