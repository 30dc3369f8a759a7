"""Replies of the API: JSON, errors, and the bodies of requests."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

T = TypeVar("T")

MOST_BYTES = 1_048_576
"""Bytes of a request's body that are read at most."""


_FORMULA: Final = re.compile(r"(^|[;\t\r\n])(?=[=+\-@\t\r])")
_WORD: Final = re.compile(r"[^\w.-]", re.ASCII)


class BadRequest(Exception):
    """A request that cannot be answered. `field` names the parameter at fault; `status` is the HTTP status."""

    def __init__(self, message: str, field: str = "", status: int = 400) -> None:
        super().__init__(message)
        self.field = field
        self.status = status


def json_reply(value: Any, status: int = 200) -> Response:
    """A reply in JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def list_reply(request: Request, facts: dict[str, Any], rows: str) -> Response:
    """A list as JSON, or with `?format=csv` its rows as a file. Raises BadRequest for another format."""
    wanted = request.query_params.get("format", "json")
    if wanted == "json":
        return json_reply(facts)
    if wanted != "csv":
        raise BadRequest("json or csv", "format")
    name = f"grange-{request.url.path.rpartition('/')[2]}"
    headers = {"content-disposition": f'attachment; filename="{_WORD.sub("-", name)}.csv"'}
    return Response(csv_of(facts[rows]), headers=headers, media_type="text/csv; charset=utf-8")


def csv_of(rows: Iterable[Any]) -> str:
    """Rows as CSV. What a spreadsheet would run as a formula gets a quotation mark before it.

    Many spreadsheets split the lines at semicolons or tabs, so a formula may also begin in the middle of a text.
    """
    found = [msgspec.to_builtins(row) for row in rows]
    columns = list(dict.fromkeys(name for row in found for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name)) for name in columns] for row in found)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return _FORMULA.sub(r"\1'", text)


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
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None


def _field_in(message: str) -> str:
    """The field that msgspec names at the end of its message: "... - at `$.action`"."""
    return message.rpartition("`$.")[2].rstrip("`") if "`$." in message else ""
