"""Decides what a content of the files means, and when the end of a certificate is told. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable

from grange.security.pair import Described

DAY = 86_400.0

WARN_BEFORE = 14 * DAY
"""Seconds before its end from which a certificate is told to expire."""

WARN_SHARE = 0.25
"""Part of its life that is left at most when a certificate is told to expire: one for a day is renewed every day, and
those who renew do so at two thirds of its life."""


class Content(enum.Enum):
    """What a look at files has found."""

    USED = "used"
    UNSETTLED = "unsettled"
    NEW = "new"


class ContentWatch:
    """Tells which content of files is to be judged: one that two looks in a row have found, and that is not in use.

    A content that is found once may be half written, or come from two folders between which a link was changed.
    """

    def __init__(self, used: str) -> None:
        self._used = self._last = used
        self._reported = ""

    def seen(self, digest: str) -> Content:
        """What to do with the content of this digest: nothing, look again soon, or judge it."""
        is_settled, self._last = digest == self._last, digest
        if digest == self._used:
            self._reported = ""
            return Content.USED
        return Content.NEW if is_settled else Content.UNSETTLED

    def use(self, digest: str) -> None:
        """This content is used from now on."""
        self._used = self._last = digest
        self._reported = ""

    def refuse(self, digest: str) -> bool:
        """This content is refused. Whether that is to be reported: once, until another content was used or refused."""
        is_first, self._reported = digest != self._reported, digest
        return is_first


class ExpiryWatch:
    """Tells when the ends of certificates are to be reported: once they are near, and then every day.

    A certificate with a short life is reported when a quarter of it is left, and then four times in that quarter.
    """

    def __init__(self) -> None:
        self._next: dict[str, float] = {}

    def due(self, chain: Iterable[Described], now: float) -> list[Described]:
        """The certificates whose end is to be reported now, in seconds since 1970. Others than these are forgotten."""
        ending = [each for each in chain if each.not_after - now <= warning_time(each)]
        due = [each for each in ending if self._next.get(each.fingerprint, now) <= now]
        self._next = {each.fingerprint: self._next.get(each.fingerprint, now) for each in ending}
        for each in due:
            left = each.not_after - now
            pause = min(DAY, warning_time(each) / 4)
            self._next[each.fingerprint] = now + (min(pause, left) if left > 0 else pause)
        return due


def warning_time(certificate: Described) -> float:
    """Seconds before the end of a certificate from which it is reported."""
    return min(WARN_BEFORE, (certificate.not_after - certificate.not_before) * WARN_SHARE)
