"""Checks and error texts that every provider shares: names, payloads and etags of records. Pure.

The limits are those of the strictest database (Postgres), applied everywhere. So a grain that works on the memory
provider in a test works in production too.
"""

from __future__ import annotations

import re

from grange.errors import ConfigurationError, InconsistentStateError, StorageError
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.provider import Stamp, StateRecord

NAME_LIMIT = 2_500
"""Bytes (UTF-8) of service, grain type, key and state name together: a Postgres index row holds 2,704."""

_LARGEST_ETAG = 2**63 - 1
_NUL_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def check_service(service: str) -> str:
    """The service name, which is part of every key. Raises ConfigurationError if it is empty, too long or has NUL."""
    if not service.strip() or not _is_storable(service) or len(service.encode()) > 200:
        raise ConfigurationError(f"the service name {service!r} must be 1 to 200 bytes of text without NUL characters")
    return service


def check_name(service: str, grain_id: GrainId, state: str) -> None:
    """Raise StorageError for a record name that one of the databases cannot hold."""
    text = f"{service}{grain_id.type}{grain_id.key}{state}"
    if not _is_storable(text):
        raise StorageError(
            f"state {state!r} of {_shortened(grain_id)}: databases cannot hold NUL characters or lone "
            f"surrogates in a grain's type, key or state name; encode such keys (hex, base64) first"
        )
    if len(text) * 4 > NAME_LIMIT and len(text.encode()) > NAME_LIMIT:
        raise StorageError(
            f"state {state!r} of {_shortened(grain_id)}: the key is too long to be stored: service, type, "
            f"key and state name have {len(text.encode())} bytes together, the limit is {NAME_LIMIT}"
        )


def check_payload(grain_id: GrainId, state: str, payload: bytes, limit: int) -> str:
    """The payload as text. Raises StorageError if it is over `limit` bytes, not UTF-8, or holds a NUL character."""
    if len(payload) > limit:
        raise StorageError(
            f"state {state!r} of {grain_id} has {len(payload):,} bytes, the limit is {limit:,}; spread it "
            f"over several grains or raise payload_limit"
        )
    if holds_nul(payload):
        raise StorageError(
            f"state {state!r} of {grain_id} holds a NUL character in a text, which jsonb cannot store; "
            f"keep binary content as bytes"
        )
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise StorageError(f"the payload of state {state!r} of {grain_id} is not UTF-8: {error}") from error


def holds_nul(payload: bytes) -> bool:
    """Whether a JSON text holds a NUL character, as such or escaped."""
    return b"\0" in payload or (rb"\u0000" in payload and _NUL_ESCAPE.search(payload) is not None)


def etag_number(etag: str | None) -> int:
    """The counter behind an etag: 0 for None (no record), -1 for a text that is not a counter."""
    if etag is None:
        return 0
    if not (etag.isascii() and etag.isdigit()) or etag.startswith("0") or int(etag) > _LARGEST_ETAG:
        return -1
    return int(etag)


def etag_text(number: int) -> str | None:
    """The inverse of `etag_number`."""
    return str(number) if number else None


def stamp_of(writer: str | None, number: int | None) -> Stamp | None:
    """The stamp of a row. None: the row was written without one, or by a tool that wrote another text."""
    if writer is None or number is None:
        return None
    try:
        return Stamp(SiloAddress.parse(writer), number)
    except ConfigurationError:
        return None


def inconsistent(grain_id: GrainId, state: str, stored: str | None, given: str | None) -> InconsistentStateError:
    """The error of a lost race, with the same text from every provider."""
    return InconsistentStateError(
        f"state {state!r} of {grain_id} was changed by another writer: its stored etag is {stored}, "
        f"this write names {given}; read it again before writing",
        stored=stored,
        given=given,
    )


def fenced(grain_id: GrainId, state: str, writer: SiloAddress, held: StateRecord, given: str | None) -> Exception:
    """The error for a silo that was declared dead, whether its etag matches or not."""
    return InconsistentStateError(
        f"state {state!r} of {grain_id} was not changed: this silo was declared dead ({writer}), and the store "
        f"refuses its changes; the grain runs on another silo by now",
        stored=held.etag,
        given=given,
        fenced=True,
    )


def _is_storable(text: str) -> bool:
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shortened(grain_id: GrainId) -> str:
    key = grain_id.key if len(grain_id.key) <= 60 else f"{grain_id.key[:60]}…"
    return ascii(f"{grain_id.type}/{key}")
