"""How a member is written down: JSON that people can read, and times as text that sorts. Pure; used by the
providers.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from grange.errors import MembershipError
from grange.membership.model.member import Member

_decoder = msgspec.json.Decoder(Member)


def member_to_json(member: Member) -> str:
    """The row's text. Fields unknown to an older grange are ignored by it."""
    return msgspec.json.encode(member).decode()


def member_from_json(text: str | bytes, alive: datetime) -> Member:
    """The member of a row, with the later of its own and the separately kept `alive` time.

    Raises MembershipError for a text that is no member.
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
    """The inverse of `time_to_text`."""
    return datetime.fromisoformat(text)
