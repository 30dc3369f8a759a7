"""Replies of the API: JSON, errors, and the bodies of requests."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

T = TypeVar("T")

MOST_BYTES = 1_048_576
"""Bytes of a request's body that are read at most."""


class BadRequest(Exception):
    """A request that cannot be answered. `field` names the parameter at fault; `status` is the HTTP status."""

    def __init__(self, message: str, field: str = "", status: int = 400) -> None:
        super().__init__(message)
        self.field = field
        self.status = status


def json_reply(value: Any, status: int = 200) -> Response:
    """A reply in JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def error_reply(status: int, message: str, field: str = "") -> Response:
    """An error as every route sends it: `{"error": {"message", "field"?}}`."""
    error = {"message": message, "field": field} if field else {"message": message}
    return json_reply({"error": error}, status)


async def on_bad_request(_: Request, error: Exception) -> Response:
    """Starlette: the reply to a BadRequest."""
    assert isinstance(error, BadRequest)
    return error_reply(error.status, str(error), error.field)


async def read_body(request: Request, kind: type[T]) -> T:
    """The body of a request. Raises BadRequest if it is too large or not of this kind."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise BadRequest(f"the body is larger than {MOST_BYTES} bytes", status=413)
    try:
        return msgspec.json.decode(bytes(body), type=kind)
    except msgspec.DecodeError as error:
        raise BadRequest(str(error), _field_in(str(error))) from None


def _field_in(message: str) -> str:
    """The field that msgspec names at the end of its message: "... - at `$.action`"."""
    return message.rpartition("`$.")[2].rstrip("`") if "`$." in message else ""
