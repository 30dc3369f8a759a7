"""Helpers of the database providers: a member as JSON, a time as text that sorts, and the table's errors. Pure."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec

from grange.databases.errors import DatabaseDamaged, DatabaseError, setting_at_fault
from grange.errors import ConfigurationError, MembershipError, MembershipUnavailable
from grange.membership.model.member import Member

_decoder = msgspec.json.Decoder(Member)


def member_to_json(member: Member) -> str:
    """The row's text. An older version of grange ignores fields that it does not know."""
    return msgspec.json.encode(member).decode()


def member_from_json(text: str | bytes, alive: datetime) -> Member:
    """The member of a row, with the later of its own and the separately kept `alive` time.

    Raises MembershipError for a text that is not a member.
    """
    try:
        member = _decoder.decode(text)
    except msgspec.MsgspecError as error:
        raise MembershipError(f"a row of the membership table cannot be read: {error}; row: {text!r:.200}") from error
    return msgspec.structs.replace(member, alive=max(member.alive, alive))


def time_to_text(time: datetime) -> str:
    """ISO 8601 in UTC, always with six decimals: such texts sort as the times do."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def time_from_text(text: str) -> datetime:
    """The inverse of `time_to_text`. Raises MembershipError for a text that is not a time with an offset from UTC."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise MembershipError(f"a time in the membership table cannot be read: {error}") from error
    if time.tzinfo is None:
        raise MembershipError(f"a time in the membership table has no offset from UTC: {text!r:.200}")
    return time


@contextmanager
def table_errors() -> Generator[None]:
    """Turn a DatabaseError into MembershipUnavailable; a damaged file into MembershipError."""
    try:
        yield
    except DatabaseDamaged as error:
        raise MembershipError(f"the membership table cannot be read: {error}") from error
    except DatabaseError as error:
        raise MembershipUnavailable(f"the membership table cannot be used now: {error}") from error


@contextmanager
def settings_at_start() -> Generator[None]:
    """Turn an error that a wrong setting causes into a ConfigurationError: nothing has worked yet."""
    try:
        yield
    except MembershipError as error:
        fault = setting_at_fault(error)
        if fault is not None:
            raise ConfigurationError(str(error)) from error
        raise
