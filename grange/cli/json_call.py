"""Texts of `grange call`: parse the grain id and the arguments, describe an error. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from grange.errors import CallNotExecuted, CallOutcomeUnknown, ConfigurationError, HandshakeRefused, RemoteError
from grange.proto.ids import GrainId

NOT_EXECUTED = "not executed"
UNKNOWN = "outcome unknown"
EXECUTED = "executed"


def grain_id_from(text: str) -> GrainId:
    """Parse `type/key`. The key is canonical text and may contain slashes. Raises ConfigurationError for other text."""
    grain_type, slash, key = text.partition("/")
    if not (slash and grain_type.strip() and key.strip()):
        raise ConfigurationError(f"{text!r} does not name a grain; write TYPE/KEY, such as cart/ann")
    return GrainId(grain_type, key)


def arguments_from(text: str | None) -> bytes:
    """Arguments for `Client.call_json`: an array is positional, an object is by name, other JSON is one argument.

    Raises ConfigurationError for text that is not JSON.
    """
    if text is None or not text.strip():
        return b"[]"
    try:
        value: Any = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        remedy = f"a text needs quotes of its own: '{msgspec.json.encode(text).decode()}'"
        raise ConfigurationError(f"the arguments are not JSON ({error}); {remedy}") from None
    return msgspec.json.encode(value if isinstance(value, list | dict) else [value])


def outcome_of(error: Exception) -> str:
    """Whether the call that raised this error was executed: `NOT_EXECUTED`, `UNKNOWN` or `EXECUTED`."""
    if isinstance(error, CallNotExecuted | HandshakeRefused):
        return NOT_EXECUTED
    return UNKNOWN if isinstance(error, CallOutcomeUnknown) else EXECUTED


def error_facts(error: Exception) -> dict[str, str]:
    """An error for programs: `type`, `message` and `outcome`."""
    name, message = type(error).__name__, str(error)
    if isinstance(error, RemoteError):
        name, message = error.type_name or name, str(error.args[0]) if error.args else ""
    return {"type": name, "message": message, "outcome": outcome_of(error)}
