"""Calls of @audited methods and refused callers are in the audit of their silo; no argument is (S10)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

import pytest

from grange import (
    ConfigurationError,
    Grain,
    GrainInterface,
    GrainObserver,
    Identity,
    Overloaded,
    PersistentState,
    SiloService,
    acting_for,
    allow_reentrancy,
    audited,
    blocking,
    one_way,
    response_timeout,
    transactional,
)
from grange.audit.memory import MemoryAuditTable
from grange.client.client import Client
from grange.errors import CallTimeout, HandshakeRefused, Unauthorized
from grange.grains.filters import Call, Proceed
from grange.proto.acts import ACT, CALL_ROW, DENIAL_ROW, Act, Action, Asker, AuditRow, Level, Outcome
from grange.proto.journal import After
from grange.proto.management import encode
from grange.security.certificate import Certificate
from grange.silo.silo import Silo
from grange.testing import TestCluster

CANARY = "a-secret-of-a-customer"
ROOT = Asker("root", Level.ADMIN)


class AccountApi(GrainInterface, name="account_api"):
    @audited
    async def close(self, reason: str) -> str: ...


class Account(Grain, AccountApi, name="account"):
    def __init__(self, state: PersistentState[dict[str, int]]) -> None:
        self.state = state
        self.rows: list[str] = []

    @audited
    async def pay(self, iban: str, amount: int = 1) -> str:
        return f"{iban} {amount}"

    async def balance(self) -> int:
        return 1

    async def close(self, reason: str) -> str:
        return reason

    @audited
    async def fail(self, text: str) -> None:
        raise ValueError(text)

    @audited
    async def hold(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "held"

    @audited
    @transactional
    async def book(self, amount: int) -> None:
        self.state.value["sum"] = amount
        if amount < 0:
            raise ValueError(amount)

    @audited
    @one_way
    async def notify(self) -> None: ...

    @audited
    @blocking
    def report(self) -> str:
        return "report"

    @audited
    async def reenter(self) -> str:
        with allow_reentrancy():
            return await self.reference.pay("here")


class Clerk(Grain, name="clerk"):
    async def pay(self, account: str) -> str:
        return await self.get_grain(Account, account).pay("DE1")


def rows(silo: Silo, kind: str = CALL_ROW) -> list[AuditRow]:
    return [row for row in silo.control.audit.after(After(0, 200)).rows if row.kind == kind]


def outcomes(silo: Silo) -> list[tuple[str, str, str]]:
    return [(row.action, row.outcome, row.text) for row in rows(silo)]


async def test_a_call_has_a_row_before_it_and_one_after_it() -> None:
    """S10."""
    async with TestCluster(grains=[Account], silos=1) as cluster:
        (silo,) = cluster.silos
        account = cluster.get_grain(Account, "ann")
        assert await account.pay("DE1") == "DE1 1"
        assert await account.balance() == 1
        before, after = rows(silo)
        assert (before.action, before.target, before.outcome, before.begun) == (
            "account/pay", "account/ann", "begun", 0,
        )  # fmt: skip
        assert (after.action, after.target, after.outcome, after.begun) == (
            "account/pay", "account/ann", "done", before.number,
        )  # fmt: skip


async def test_the_row_before_a_call_is_there_while_it_runs() -> None:
    async with TestCluster(grains=[Account], silos=1) as cluster:
        (silo,) = cluster.silos
        call = asyncio.create_task(cluster.get_grain(Account, "ann").hold(5))
        await cluster.advance(1)
        assert outcomes(silo) == [("account/hold", "begun", "")]
        await cluster.advance(5)
        await call
        assert outcomes(silo)[-1] == ("account/hold", "done", "")


async def test_the_outcomes_of_calls() -> None:
    async with TestCluster(grains=[Account], silos=1) as cluster:
        (silo,) = cluster.silos
        account = cluster.get_grain(Account, "ann")
        with pytest.raises(ValueError, match=CANARY):
            await account.fail(CANARY)
        with pytest.raises(ValueError, match="-5"):
            await account.book(-5)
        await account.book(5)
        await account.notify()
        assert await account.report() == "report"
        assert await account.reenter() == "here 1"
        await cluster.advance(1)
        found = [each for each in outcomes(silo) if each[1] != "begun"]
        assert found == [
            ("account/fail", "failed", "ValueError"),
            ("account/book", "failed", "ValueError"),
            ("account/book", "done", ""),
            ("account/notify", "done", ""),
            ("account/report", "done", ""),
            ("account/pay", "done", ""),
            ("account/reenter", "done", ""),
        ]


async def test_a_method_of_an_interface_is_audited_in_its_class() -> None:
    async with TestCluster(grains=[Account], silos=1) as cluster:
        assert await cluster.get_grain(AccountApi, "ann").close("why") == "why"
        assert [each[:2] for each in outcomes(cluster.silos[0])] == [
            ("account/close", "begun"),
            ("account/close", "done"),
        ]


async def test_a_killed_silo_leaves_the_row_before_and_that_it_was_interrupted() -> None:
    async with TestCluster(grains=[Account], silos=1) as cluster:
        (silo,) = cluster.silos
        call = asyncio.create_task(cluster.get_grain(Account, "ann").hold(60))
        await cluster.advance(1)
        await cluster.kill(silo)
        assert outcomes(silo) == [("account/hold", "begun", ""), ("account/hold", "unknown", "it was interrupted")]
        call.cancel()
        await asyncio.wait({call})


async def test_no_argument_result_or_error_text_is_in_a_row(caplog: pytest.LogCaptureFixture) -> None:
    """S10: the canary is in no row, no log line of the audit, and not in the table."""
    caplog.set_level(logging.INFO, "grange.audit")
    async with TestCluster(grains=[Account], silos=1, audit="memory://", actions=["*"]) as cluster:
        (silo,) = cluster.silos
        account = cluster.get_grain(Account, "ann")
        await account.pay(CANARY)
        with pytest.raises(ValueError, match=CANARY):
            await account.fail(CANARY)
        for method in ("pay", "fail"):
            values = f'{{"method": "{method}", "arguments": ["{CANARY}"]}}'
            await silo.control.acts.act(Act(Action.CALL, "account/ann", values), ROOT)
        await cluster_asks(cluster, Act(Action.CALL, "account/ann", f'{{"method": "{CANARY}"}}'))
        await cluster.advance(1)
        assert len(cluster.audit.rows) == 13
        assert CANARY not in repr(cluster.audit.rows)
        assert CANARY not in repr(silo.control.audit.after(After(0, 200)))
        assert CANARY not in "".join(record.getMessage() for record in caplog.records if record.name == "grange.audit")


async def cluster_asks(cluster: TestCluster, act: Act, times: int = 1) -> None:
    """Ask as a client without a role."""
    async with Client([cluster.silos[0].gateway], transport=cluster.new_transport("other")) as client:
        for _ in range(times):
            with pytest.raises(Unauthorized):
                await client.ask(client.gateways[0], ACT, encode(act))


async def test_only_the_plans_of_audited_methods_are_changed() -> None:
    """Other methods cost nothing more: their plan runs the method itself."""
    async with TestCluster(grains=[Account], silos=1) as cluster:
        plans = cluster.silos[0]._running.hosting.catalog.hosted["account"].plans
        changed = {name for name, plan in plans.items() if plan.invoke != plan.run}
        assert changed == {"pay", "close", "fail", "hold", "book", "notify", "report", "reenter"}


async def test_the_rows_are_around_the_filters() -> None:
    async def refuse(call: Call, proceed: Proceed) -> Any:
        raise PermissionError("no")

    async with TestCluster(grains=[Account], silos=1, incoming_filters=[refuse]) as cluster:
        with pytest.raises(PermissionError):
            await cluster.get_grain(Account, "ann").pay("DE1")
        assert [each[1:] for each in outcomes(cluster.silos[0])] == [("begun", ""), ("failed", "PermissionError")]


# --- the table ----------------------------------------------------------------------------------------------------


async def test_all_silos_write_to_the_table() -> None:
    async with TestCluster(grains=[Account], silos=3, audit="memory://") as cluster:
        for key in range(12):
            await cluster.get_grain(Account, str(key)).pay("DE1")
        await cluster.advance(1)
        assert len({each.silo for each in cluster.audit.rows}) == 3
        assert len(cluster.audit.rows) == 24


async def test_calls_go_on_while_the_table_is_away() -> None:
    async with TestCluster(grains=[Account], silos=1, audit="memory://") as cluster:
        cluster.audit.down = True
        assert await cluster.get_grain(Account, "ann").pay("DE1") == "DE1 1"
        await cluster.advance(60)
        assert cluster.audit.rows == []
        cluster.audit.down = False
        await cluster.advance(20)
        assert [each.row.outcome for each in cluster.audit.rows] == ["begun", "done"]


async def test_a_call_whose_row_must_be_stored_is_refused_without_it() -> None:
    """The method certainly does not run; other methods do."""
    async with TestCluster(grains=[Account], silos=1, audit="memory://", audit_required=True) as cluster:
        (silo,) = cluster.silos
        account = cluster.get_grain(Account, "ann")
        assert await account.pay("DE1") == "DE1 1"
        cluster.audit.down = True
        for _ in range(2):
            with pytest.raises(Overloaded, match="audit_required demands"):
                await account.book(7)
        assert await account.balance() == 1
        refused = await silo.control.acts.act(Act(Action.COLLECT, values='{"idle": 0}', reason="a test"), ROOT)
        assert (refused.outcome, "audit_required" in refused.text) == (Outcome.REFUSED, True)
        cluster.audit.down = False
        await cluster.advance(20)
        await account.book(8)
        await cluster.advance(1)
        found = [(each.row.action, each.row.outcome) for each in cluster.audit.rows]
        assert found == [
            ("account/pay", "begun"), ("account/pay", "done"),
            ("account/book", "begun"), ("account/book", "refused"),
            ("account/book", "begun"), ("account/book", "refused"),
            ("collect", "begun"), ("collect", "refused"),
            ("account/book", "begun"), ("account/book", "done"),
        ]  # fmt: skip
        ended = {each.row.begun for each in cluster.audit.rows if each.row.outcome != "begun"}
        assert {each.row.number for each in cluster.audit.rows if each.row.outcome == "begun"} == ended


class Hasty(Grain, name="hasty"):
    """Its callers wait for less time than its row may take."""

    ran: ClassVar[list[str]] = []

    @audited
    @response_timeout(1.0)
    async def pay(self) -> None:
        self.ran.append(self.key)


async def test_a_call_whose_row_was_stored_too_late_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its caller waits no longer, and may have been told that it did not run."""
    append, stored = MemoryAuditTable.append, asyncio.Event()

    async def append_late(table: MemoryAuditTable, rows: Sequence[AuditRow]) -> None:
        await stored.wait()
        await append(table, rows)

    monkeypatch.setattr(MemoryAuditTable, "append", append_late)
    async with TestCluster(grains=[Hasty], silos=1, audit="memory://", audit_required=True) as cluster:
        with pytest.raises(CallTimeout):
            await cluster.get_grain(Hasty, "ann").pay()
        await cluster.advance(1)
        stored.set()
        await cluster.advance(1)
        assert [each.row.outcome for each in cluster.audit.rows] == ["begun", "refused"]
        assert Hasty.ran == []
        await cluster.get_grain(Hasty, "bob").pay()
        assert Hasty.ran == ["bob"]


async def test_the_stop_of_a_silo_writes_what_waits() -> None:
    async with TestCluster(grains=[Account], silos=2, audit="memory://") as cluster:
        first = cluster.silos[0]
        cluster.audit.down = True
        first.control.audit.write(Act(Action.DRAIN, reason="a roll"), "ops", Level.OPERATOR, "begun", "")
        stop = asyncio.create_task(cluster.stop(first))
        await cluster.advance(2)
        cluster.audit.down = False
        await stop
        assert [each.row.action for each in cluster.audit.rows] == ["drain"]


# --- who ----------------------------------------------------------------------------------------------------------


async def test_rows_say_who_calls_and_what_acts_for_them() -> None:
    """The user at the beginning of the chain, and the grain that calls in its name; also for those that are refused."""
    rules = [{"who": ["user:ann"], "call": ["account/*", "clerk/*"]}]
    async with TestCluster(
        grains=[Account, Clerk], silos=1, authenticate=lambda token: Identity(f"user:{token}"), allow=rules
    ) as cluster:
        (silo,) = cluster.silos
        for name in ("ann", "bob"):
            async with Client([silo.gateway], token=name, transport=cluster.new_transport(name)) as client:
                if name == "ann":
                    assert await client.get_grain(Clerk, "c").pay("a") == "DE1 1"
                    continue
                with pytest.raises(Unauthorized):
                    await client.get_grain(Account, "a").pay(CANARY)
        assert {(row.actor, row.via) for row in rows(silo)} == {("user:ann", "grain:clerk")}
        (row,) = rows(silo, DENIAL_ROW)
        assert (row.actor, row.action, row.target, row.outcome) == ("user:bob", "account/pay", "account/a", "refused")
        assert "no rule" in row.reason or "is allowed to" in row.reason


async def test_a_call_that_only_the_mode_audit_lets_run_is_noted() -> None:
    rules = [{"who": ["user:ann"], "call": ["account/*"]}]
    async with TestCluster(grains=[Account], silos=1, allow=rules, authorization="audit") as cluster:
        assert await cluster.get_grain(Account, "a").balance() == 1
        (row,) = rows(cluster.silos[0], DENIAL_ROW)
        assert (row.action, row.outcome) == ("account/balance", "would refuse")


async def test_a_token_that_is_refused_is_in_the_audit_without_it() -> None:
    async with TestCluster(grains=[Account], silos=1, authenticate=lambda token: None) as cluster:
        (silo,) = cluster.silos
        stranger = Client([silo.gateway], name="mallory", token=CANARY, transport=cluster.new_transport("mallory"))
        with pytest.raises(HandshakeRefused):
            await stranger.__aenter__()
        row = rows(silo, DENIAL_ROW)[0]
        assert (row.actor, row.action, row.target) == ("mallory", "connect", "gateway port")
        assert CANARY not in repr(silo.control.audit.after(After()))


# --- refused callers ------------------------------------------------------------------------------------------------


async def test_a_question_that_needs_a_higher_role_is_a_denial() -> None:
    """An act that its asker may not even ask for is in the audit, too."""
    async with TestCluster(grains=[Account], silos=1) as cluster:
        (silo,) = cluster.silos
        await cluster_asks(cluster, Act(Action.DRAIN, reason="malice"), 30)
        found = rows(silo, DENIAL_ROW)
        assert len(found) == 10
        assert (found[0].action, found[0].outcome) == (ACT, "refused")
        assert found[0].reason == "it needs the role operator, and the caller has no role"
        assert silo.control.audit.counts[DENIAL_ROW] == 10


async def test_a_call_in_the_name_of_another_is_a_denial_of_the_client_that_makes_it() -> None:
    """S3, S10: who tries to act as a user is found, and the user is not blamed."""
    batch = "spiffe://default/client/batch"
    async with TestCluster(grains=[Account], silos=1, tls={"speaks_for": ["spiffe://default/client/web"]}) as cluster:
        (silo,) = cluster.silos
        transport = cluster.new_transport("batch", Certificate(uri=batch))
        async with Client([silo.gateway], transport=transport) as client:
            with acting_for(Identity("user:ann")), pytest.raises(Unauthorized, match="may not name the identity"):
                await client.get_grain(Account, "ann").balance()
        (row,) = rows(silo, DENIAL_ROW)
        assert (row.actor, row.action, row.target) == (batch, "account/balance", "account/ann")
        assert (row.outcome, row.via) == ("refused", "")
        assert "may not name the identity of its calls" in row.reason


async def test_a_refused_handshake_is_a_denial() -> None:
    async with TestCluster(grains=[Account], silos=1) as cluster:
        (silo,) = cluster.silos
        stranger = Client([silo.gateway], cluster="other", name="mallory", transport=cluster.new_transport("other"))
        with pytest.raises(HandshakeRefused):
            async with stranger as client:
                await client.get_grain(Account, "ann").balance()
        row = rows(silo, DENIAL_ROW)[0]
        assert (row.actor, row.action, row.target) == ("mallory", "connect", "gateway port")
        assert "cluster" in row.reason


# --- bad use --------------------------------------------------------------------------------------------------------


def test_a_place_where_it_has_no_effect_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"@audited has no effect on a streamed method"):

        class Streams(Grain, name="streams"):
            @audited
            async def items(self) -> AsyncIterator[int]:
                yield 1

    with pytest.raises(ConfigurationError, match=r"@audited has no effect on an observer"):

        class Watcher(GrainObserver):
            @audited
            async def told(self) -> None: ...

    with pytest.raises(ConfigurationError, match=r"@audited has no effect on a silo service"):

        class Clock(SiloService):
            @audited
            async def now(self) -> int:
                return 1

    with pytest.raises(ConfigurationError, match="decorate an async def"):
        audited(lambda: None)
    with pytest.raises(ConfigurationError, match="write @audited without parentheses"):
        audited()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def test_audit_required_needs_a_table() -> None:
    with pytest.raises(ConfigurationError, match="it has no effect without the option audit"):
        async with TestCluster(grains=[Account], silos=1, audit_required=True):
            pass
    with pytest.raises(ConfigurationError, match="Redis is not offered"):
        async with TestCluster(grains=[Account], silos=1, audit="redis://host"):
            pass
