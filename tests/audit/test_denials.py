"""Refused callers: ten rows a minute and identity, all counted, and a bounded memory (S10)."""

from __future__ import annotations

import logging

import pytest

from grange.audit.denials import Denials
from grange.audit.trail import KEPT
from grange.proto.acts import DENIAL_ROW, Act, Action, AuditRow, Denial, Level
from grange.proto.identity import Identity
from grange.proto.journal import After
from tests.audit.bench import NOW, trail_of

ANN = Identity("user:ann", ("customer",), via="spiffe://shop/client/web")
REFUSED = Denial("call", "cart/close", "cart/a", "user:ann may not call cart/close: it needs role:admin")


class Bench:
    """Denials with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.trail = trail_of()
        self.denials = Denials(self.trail, lambda: self.now)

    def rows(self) -> list[AuditRow]:
        return [row for row in self.trail.after(After(0, 200)).rows if row.kind == DENIAL_ROW]


async def test_a_row_says_who_what_target_reason_and_trace() -> None:
    bench = Bench()
    bench.denials.note(ANN, Denial("call", "cart/close", "cart/a", "it needs role:admin", trace="ab" * 16))
    (row,) = bench.rows()
    assert (row.actor, row.via, row.action, row.target) == ("user:ann", ANN.via, "cart/close", "cart/a")
    assert (row.reason, row.outcome, row.trace, row.time) == ("it needs role:admin", "refused", "ab" * 16, NOW)


async def test_the_mode_audit_is_told_apart() -> None:
    bench = Bench()
    bench.denials.note(None, Denial("call", "cart/close", "cart/a", "no rule", refused=False, name="web"))
    assert [(row.actor, row.outcome) for row in bench.rows()] == [("web", "would refuse")]


async def test_ten_rows_a_minute_and_identity_the_rest_is_counted() -> None:
    """S10."""
    bench = Bench()
    for _ in range(500):
        bench.denials.note(ANN, REFUSED)
    bench.denials.note(Identity("user:bob"), REFUSED)
    assert [row.actor for row in bench.rows()] == ["user:ann"] * 10 + ["user:bob"]
    assert (bench.denials.counts["call"], bench.denials.suppressed) == (501, 490)
    assert bench.rows()[9].text == "(further ones are suppressed for 60 s)"
    bench.now = 61
    bench.denials.note(ANN, REFUSED)
    assert bench.rows()[-1].text == "(490 suppressed)"


async def test_other_calls_of_one_identity_share_its_limit() -> None:
    """A caller that tries each method and key in turn does not fill the audit."""
    bench = Bench()
    for number in range(50):
        bench.denials.note(ANN, Denial("call", f"cart/m{number}", f"cart/{number}", "no rule"))
    assert len(bench.rows()) == 10


async def test_ever_new_names_are_bounded() -> None:
    bench = Bench()
    for number in range(5_000):
        bench.denials.note(None, Denial("handshake", "connect", "gateway port", "no", name=f"name-{number}"))
    assert bench.trail.counts[DENIAL_ROW] == 1_000 + 10
    assert bench.denials.counts["handshake"] == 5_000


async def test_an_unproven_name_does_not_use_up_the_limit_of_an_identity() -> None:
    bench = Bench()
    for _ in range(20):
        bench.denials.note(None, Denial("handshake", "connect", "gateway port", "no", name="user:ann"))
    bench.denials.note(ANN, REFUSED)
    assert bench.rows()[-1].via == ANN.via


async def test_denials_do_not_push_out_acts() -> None:
    bench = Bench()
    bench.trail.write(Act(Action.DRAIN, reason="a roll"), "ops", Level.OPERATOR, "done", "it drains")
    for number in range(3 * KEPT):
        bench.now += 7
        bench.denials.note(Identity(f"user:{number}"), REFUSED)
    rows = bench.trail.after(After(0, 1)).rows
    assert [row.action for row in rows] == ["drain"]
    answer = bench.trail.after(After(1, 200))
    assert (len(answer.rows), answer.lost) == (200, 2 * KEPT)


async def test_rows_are_logged_with_their_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "grange.audit")
    Bench().denials.note(ANN, REFUSED)
    (record,) = caplog.records
    fields = vars(record)
    assert (fields["event"], fields["actor"], fields["via"]) == ("denial_audited", "user:ann", ANN.via)
    assert "refused: cart/close cart/a by user:ann by spiffe://shop/client/web" in record.getMessage()


async def test_names_of_callers_are_cut_and_printable() -> None:
    bench = Bench()
    bench.denials.note(None, Denial("handshake", "connect", "gateway port", "no", name="x\x00\n\ud800" + "y" * 900))
    (row,) = bench.rows()
    assert len(row.actor) == 300
    assert row.actor.startswith("x\\x00\\n\\ud800yyy")
