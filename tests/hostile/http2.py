"""Frames of HTTP/2 as an attacker makes them: valid ones, in an order or number that no library would send."""

from __future__ import annotations

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
INITIAL_WINDOW_SIZE = 4
CANCEL = 8


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    """RFC 9113, section 4.1."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def settings(**values: int) -> bytes:
    """SETTINGS with these values: `_4=0` sets the fourth."""
    pairs = (struct.pack(">HI", int(name.strip("_")), value) for name, value in values.items())
    return frame(SETTINGS, b"".join(pairs))


def text(value: str) -> bytes:
    """A string literal without Huffman coding (RFC 7541, section 5.2)."""
    data = value.encode()
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest, encoded = len(data) - 127, bytearray((127,))
    while rest >= 128:
        encoded.append(rest % 128 + 128)
        rest //= 128
    encoded.append(rest)
    return bytes(encoded) + data


def header(name: str, value: str) -> bytes:
    """A header field that enters no table (RFC 7541, section 6.2.2)."""
    return b"\x00" + text(name) + text(value)


def request_headers(path: str, *further: tuple[str, str]) -> bytes:
    """The header block of a gRPC call."""
    fields = [
        (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"), ("te", "trailers"),
        ("content-type", "application/grpc"), *further,
    ]  # fmt: skip
    return b"".join(header(name, value) for name, value in fields)


def call(path: str, stream: int, *further: tuple[str, str]) -> bytes:
    """HEADERS that open a stream."""
    return frame(HEADERS, request_headers(path, *further), flags=END_HEADERS, stream=stream)


def message(data: bytes, stream: int, *, announced: int | None = None) -> bytes:
    """DATA with one gRPC message, which may announce more bytes than it has."""
    size = len(data) if announced is None else announced
    return frame(DATA, b"\x00" + struct.pack(">I", size) + data, stream=stream)


def reset(stream: int) -> bytes:
    return frame(RST_STREAM, struct.pack(">I", CANCEL), stream=stream)
