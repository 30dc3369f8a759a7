"""Decides when a connection that a silo has accepted is replaced by a new one, and when it is cut. Pure.

A new connection proves anew that its peer has a valid certificate, and shows the peer the one that this silo has now.
"""

from __future__ import annotations

import enum
import math
from random import Random

import msgspec

from grange.security.certificate import Certificate
from grange.security.options import DEFAULT_TLS, TlsOptions

CUT_AFTER = 2.0
"""Seconds that a peer with a revoked certificate has to connect by another one; then its connection is cut."""

LEAD = 60.0
"""Seconds before the end of its certificate at which a peer is asked for a new connection; a tenth of its life, if that
is shorter."""

SPREAD = 0.1
"""Part of `reauthenticate_after` by which it is longer or shorter, so that connections of one moment part."""

HANDSHAKE = 5.0
"""Seconds that a handshake takes at most: a connection that is accepted within them may show the pair of before."""

OPENED_WITHIN, ACCEPTED_WITHIN = 0.5, 2.0
"""Looks at the files within which all connections are replaced after a new pair: those that this process has opened,
and those that it has accepted, most of which their peers have replaced by then."""


class RenewalTimes(msgspec.Struct, frozen=True):
    """How long connections live, in seconds.

    `opened_within` and `accepted_within`: after a new pair, the time until all are replaced.
    """

    reauthenticate_after: float = DEFAULT_TLS.reauthenticate_after
    opened_within: float = OPENED_WITHIN * DEFAULT_TLS.check_every
    accepted_within: float = ACCEPTED_WITHIN * DEFAULT_TLS.check_every

    @classmethod
    def of(cls, options: TlsOptions) -> RenewalTimes:
        """The times that these options say."""
        looks = options.check_every
        return cls(options.reauthenticate_after, OPENED_WITHIN * looks, ACCEPTED_WITHIN * looks)

    def age(self, rng: Random) -> float:
        """The age at which one connection is replaced."""
        return self.reauthenticate_after * rng.uniform(1 - SPREAD, 1 + SPREAD)


class Why(enum.StrEnum):
    """Why a connection is replaced or cut. `pair`: this silo has another certificate."""

    AGE = "age"
    PAIR = "pair"
    EXPIRED = "expired"
    REVOKED = "revoked"
    IGNORED = "ignored"


class Standing(msgspec.Struct):
    """What is known of one accepted connection.

    `accepted`, `renew_at` and `cut_at` are loop times, `date` is the date of its acceptance in seconds since 1970.
    `asked` is why its peer was asked for another one; None: it was not.
    """

    certificate: Certificate | None
    accepted: float
    date: float
    renew_at: float
    due: Why = Why.AGE
    asked: Why | None = None
    cut_at: float = math.inf

    def renew_before(self, at: float) -> None:
        """This silo has another pair: replace the connection at this time, unless that was asked already."""
        if self.asked is None and at < self.renew_at:
            self.renew_at, self.due = at, Why.PAIR

    def cut_within(self, now: float, date: float) -> float:
        """Seconds until the connection is cut, as far as that is known; infinite: it is due, or not known."""
        ends = math.inf if self.certificate is None else self.certificate.not_after or math.inf
        return min((left for left in (self.cut_at - now, ends - date) if left > 0), default=math.inf)


class Ask(msgspec.Struct, frozen=True):
    """Ask the peer for another connection. `cut_in`: seconds until this one is cut; 0: not soon."""

    why: Why
    cut_in: float = 0.0


class Cut(msgspec.Struct, frozen=True):
    """Cut the connection. The outcome of its calls is unknown."""

    why: Why


def judge(standing: Standing, now: float, date: float, *, revoked: bool, times: RenewalTimes) -> Ask | Cut | None:
    """What to do with a connection, in loop time and seconds since 1970. Notes in `standing` what it returns."""
    ends = math.inf if standing.certificate is None else standing.certificate.not_after or math.inf
    if ends <= date:
        return Cut(Why.EXPIRED)
    if now >= standing.cut_at:
        return Cut(Why.REVOKED if standing.asked is Why.REVOKED else Why.IGNORED)
    if revoked and standing.asked is not Why.REVOKED:
        return _ask(standing, Why.REVOKED, now, CUT_AFTER)
    if standing.asked is not None:
        return None
    if now >= standing.renew_at:
        return _ask(standing, standing.due, now, times.reauthenticate_after, told=False)
    if date >= ends - _lead(standing.certificate) > standing.date:
        # One that was accepted later has the same certificate again: it would be replaced without end.
        return _ask(standing, Why.EXPIRED, now, ends - date)
    return None


def _ask(standing: Standing, why: Why, now: float, cut_in: float, *, told: bool = True) -> Ask:
    standing.asked, standing.cut_at = why, now + cut_in
    return Ask(why, cut_in if told else 0.0)


def _lead(certificate: Certificate | None) -> float:
    return 0.0 if certificate is None else min(LEAD, (certificate.not_after - certificate.not_before) / 10)
