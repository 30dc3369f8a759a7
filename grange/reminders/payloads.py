"""Encodes the payloads of reminders and jobs: values of JSON, which come back equal or are refused."""

from __future__ import annotations

from typing import Any

import msgspec

from grange.proto.message import Encoding
from grange.proto.values import ValueCodec

PAYLOAD_LIMIT = 32 * 1024
"""Bytes of one payload: a silo holds the reminders that are due soon in memory."""


class Payloads:
    """The codec of payloads in one silo."""

    def __init__(self, codec: ValueCodec) -> None:
        self._codec = codec.of(Any, Encoding.JSON)

    def encode(self, payload: Any) -> msgspec.Raw:
        """The payload as JSON. Raises TypeError for what is no value of JSON, ValueError for what is too large."""
        try:
            encoded = self._codec.encode(payload)
        except (TypeError, ValueError) as error:
            raise TypeError(f"payload={payload!r:.100} does not come back equal from JSON: {error}") from error
        if len(encoded) > PAYLOAD_LIMIT:
            raise ValueError(
                f"the payload has {len(encoded):,} bytes, the limit is {PAYLOAD_LIMIT:,}; keep the data in a state"
            )
        return msgspec.Raw(encoded)
