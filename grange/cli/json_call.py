"""Texts of `grange call`: parse the grain id and the arguments, describe an error. Pure."""

from __future__ import annotations

import re

import msgspec

from grange.errors import (
    CallCancelled,
    CallNotExecuted,
    CallOutcomeUnknown,
    ConfigurationError,
    HandshakeRefused,
    InvalidResult,
    RemoteError,
)
from grange.proto.faults import is_remote
from grange.proto.ids import GrainId
from grange.runtime.requests.refusal import not_activated

NOT_EXECUTED = "not executed"
UNKNOWN = "outcome unknown"
EXECUTED = "executed"

MAX_DEPTH = 500
"""Levels of arrays and objects in the arguments of a call."""

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')


def grain_id_from(text: str) -> GrainId:
    """Parse `type/key`. The key is canonical text and may contain slashes. Raises ConfigurationError for other text."""
    grain_type, slash, key = text.partition("/")
    if not (slash and grain_type.strip() and key.strip()):
        raise ConfigurationError(f"{text!r} does not name a grain; write TYPE/KEY in one word, such as cart/ann")
    _check_encodable("grain", text)
    return GrainId(grain_type, key)


def method_from(text: str) -> str:
    """The name of a method. Raises ConfigurationError for a text that cannot be one."""
    if not text.isidentifier():
        raise ConfigurationError(f"{text!r} does not name a method; write the name alone, such as add")
    return text


def arguments_from(text: str | None) -> bytes:
    """Arguments for `Client.call_json`: an array is positional, an object is by name, other JSON is one argument.

    Raises ConfigurationError for text that is not JSON. The text is sent as it is: no number is changed by a decoding.
    """
    if text is None or not text.strip():
        return b"[]"
    _check_encodable("JSON", text)
    data = text.strip().encode()
    try:
        msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"the arguments are not JSON ({error}); {_remedy(text.strip(), str(error))}") from None
    except RecursionError:
        too_deep = True
    else:
        too_deep = _depth(text) > MAX_DEPTH
    if too_deep:  # how deep a decoder can go differs between versions of Python
        raise ConfigurationError(
            f"the arguments are nested too deeply: {MAX_DEPTH} levels at most; a grain takes flatter values"
        )
    return data if data[:1] in (b"[", b"{") else b"[" + data + b"]"


def _depth(text: str) -> int:
    """How many levels of arrays and objects JSON text has."""
    depth = deepest = 0
    for bracket in re.findall(r"[\[{\]}]", _TEXT.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _remedy(text: str, problem: str) -> str:
    if "'" in text and text[0] in "[{":
        return 'JSON has double quotes, so the shell needs single ones around it: \'{"sku": "apple"}\''
    if "out of range" in problem:
        return "a number has at most the range of a 64-bit float; give a larger one as a text"
    if "truncated" in problem or text[0] in '[{"':
        return "close each bracket and quote, and put single quotes around all of it for the shell: '[\"apple\", 2]'"
    return f"a text needs quotes of its own: '{msgspec.json.encode(text).decode()}'"


def _check_encodable(what: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"the {what} {text!a} is not UTF-8, so it cannot be sent") from None


def outcome_of(error: Exception, grain_id: GrainId | None = None) -> str:
    """Whether the call to this grain, which raised the error, was executed: `NOT_EXECUTED`, `UNKNOWN` or `EXECUTED`.

    Only an error that came back from a silo proves that the call was executed, unless it kept the grain from being
    activated: then its method did not run.
    """
    if isinstance(error, CallNotExecuted | HandshakeRefused):
        return NOT_EXECUTED
    if grain_id is not None and not_activated(grain_id) in getattr(error, "__notes__", ()):
        return NOT_EXECUTED
    came_back = isinstance(error, RemoteError | InvalidResult | CallCancelled) or is_remote(error)
    return EXECUTED if came_back and not isinstance(error, CallOutcomeUnknown) else UNKNOWN


def error_facts(error: Exception, grain_id: GrainId | None = None) -> dict[str, str]:
    """An error of a call to this grain for programs: `type`, `message` and `outcome`."""
    name, message = type(error).__name__, str(error)
    if isinstance(error, RemoteError):
        name, message = error.type_name or name, str(error.args[0]) if error.args else ""
    return {"type": name, "message": message, "outcome": outcome_of(error, grain_id)}
