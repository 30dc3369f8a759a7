"""The types of a silo's options: each checks its value and says in plain words what is allowed. Pure."""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

import pydantic

from grange.admin_token import check_token
from grange.option_ranges import LONGEST
from grange.proto.identity import GRAIN, SILO, TOKEN
from grange.security.references import has_references, references_in
from grange.security.rule import read_rules

_HOST_NAME = re.compile(r"(?!-)[\w.-]{1,253}")
_NUMBERS = re.compile(r"[0-9.]+")
_ROLE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_STORAGE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


def is_wildcard(host: str) -> bool:
    """Whether a host means all addresses of a machine; an empty one does."""
    address = _ip(host)
    return not host or (address is not None and address.is_unspecified)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host."""
    address = _ip(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _number(value: Any) -> Any:
    if isinstance(value, bool):  # pydantic takes it for 0 or 1
        raise ValueError
    return value


def _http_port(value: Any) -> int | Literal["off"]:
    if value == "off":
        return "off"
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 65535:
        raise ValueError  # `option_errors` has the words
    return value


Check = TypeVar("Check", bound=Callable[[Any], Any])


def _unless_referring(check: Check) -> Check:
    """The check of a text, which waits until the secrets are filled in: their silo checks them when it starts."""

    @functools.wraps(check)
    def checked(value: Any) -> Any:
        if not has_references(value):
            return check(value)
        for _ in references_in(value):
            pass  # raises ConfigurationError for one that is malformed
        return value

    return cast("Check", checked)


@_unless_referring
def _text(value: str) -> str:
    if not value.isprintable() or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError(f"must be one line of text without control characters, not {value!a}")
    return value


@_unless_referring
def _word(value: str) -> str:
    if not value.strip():
        raise ValueError("needs a name, not a blank text: every silo and client of the cluster gives the same one")
    return _text(value)


@_unless_referring
def _host(value: str) -> str:
    """A host in its usual form: an IPv6 address without brackets, as short as possible."""
    bare = value[1:-1] if value[:1] == "[" and value[-1:] == "]" else value
    address = _ip(bare)
    if address is not None:
        return str(address)
    if value and (not _HOST_NAME.fullmatch(value) or _NUMBERS.fullmatch(value)):
        raise ValueError(f"must be a host name or an IP address, without scheme and port, not {_hidden(value)}")
    return value


def _hidden(value: str) -> str:
    return "a URL" if "://" in value else f"{value!r:.100}"


def _folder(value: Path) -> Path:
    name = str(value)
    if "\0" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
        raise ValueError(f"must be the path of a folder in UTF-8, not {name!a}")
    return value


def _given_folder(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():  # Path("") is the current folder
        raise ValueError("must be the path of a folder, not a blank text; '.' is the current folder")
    return value


def _urls(value: Mapping[str, str]) -> Mapping[str, str]:
    names: dict[str, str] = {"default": "default"}
    for name, url in value.items():
        if not _STORAGE_NAME.fullmatch(name):
            shown = "a URL" if "://" in name else ascii(name)
            raise ValueError(f"a storage is named by letters, digits, '_', '-' and '.' (64 at most), not by {shown}")
        if (other := names.setdefault(name.lower(), name)) != name:  # a variable of the environment has no case
            raise ValueError(f"{name!r} and {other!r} differ by case only; write one of them")
        _checked_url(url)
        if not url.strip():
            raise ValueError(f"the URL of the storage {name!r} is empty; remove it, or give a URL")
    return value


def _checked_url(value: str) -> str:
    """A URL, which is checked when it is opened. Its references are checked now."""
    for _ in references_in(value):
        pass
    return value


@_unless_referring
def _labels(value: tuple[str, ...]) -> tuple[str, ...]:
    for label in value:
        if not label.strip():
            raise ValueError("must be a list of words, without a blank one")
        _text(label)
    return value


def _rules(value: Any) -> Any:
    return tuple({"who": rule.who, "call": rule.call} for rule in read_rules(value))


def _roles(given: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    for subject, roles in given.items():
        if not subject or subject == SILO or subject.startswith((GRAIN, TOKEN)):
            raise ValueError(f"{subject!r:.100} gets no roles; name a certificate or a user")
        for role in roles:
            if not _ROLE.fullmatch(role):
                raise ValueError(f"{role!r:.100} is no role: one word of at most 64 letters, digits, '.', '_' and '-'")
    return given


@_unless_referring
def _token(value: str) -> str:
    return check_token(value) if value else value


Text = Annotated[str, pydantic.AfterValidator(_text)]
Word = Annotated[str, pydantic.AfterValidator(_word)]
Host = Annotated[str, pydantic.AfterValidator(_host)]
Token = Annotated[str, pydantic.AfterValidator(_token)]
Folder = Annotated[Path, pydantic.BeforeValidator(_given_folder), pydantic.AfterValidator(_folder)]
Url = Annotated[str, pydantic.AfterValidator(_checked_url)]
Urls = Annotated[dict[str, str], pydantic.AfterValidator(_urls)]
Names = Annotated[tuple[str, ...], pydantic.AfterValidator(_labels)]
Roles = Annotated[dict[str, tuple[str, ...]], pydantic.AfterValidator(_roles)]
Port = Annotated[int, pydantic.BeforeValidator(_number), pydantic.Field(ge=0, le=65535)]
Revision = Annotated[int, pydantic.BeforeValidator(_number), pydantic.Field(ge=0, le=10**18 - 1)]
HttpPort = Annotated[int | Literal["off"], pydantic.PlainValidator(_http_port)]
Road = Literal["grpc", "tcp"]
Enforcement = Literal["enforce", "audit"]
Rules = Annotated[tuple[dict[str, tuple[str, ...]], ...], pydantic.BeforeValidator(_rules)]
Seconds = Annotated[float, pydantic.BeforeValidator(_number), pydantic.Field(gt=0, le=LONGEST, allow_inf_nan=False)]
