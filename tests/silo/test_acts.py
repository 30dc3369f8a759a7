"""Acts of operators on a silo: roles, preview, expectation, reason, outcome and audit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from grange import Grain, PersistentState, Unauthorized
from grange.client.client import Client
from grange.observability.log_context import AUDIT as AUDIT_LOGGER
from grange.proto.acts import ACT, AUDIT, Act, Acted, Action, Asker, Audit, Level, Outcome
from grange.proto.journal import After
from grange.proto.management import VIEW
from grange.proto.queries import FIND_GRAINS, LIST_GRAINS
from grange.runtime.system_target import BARRIER
from grange.silo.silo import Silo
from grange.testing.cluster import TestCluster
from tests.silo.test_tokens import OPERATOR, VIEWER

OPERATORS = Asker("ann", Level.OPERATOR)
ADMINS = Asker("root", Level.ADMIN)


class Cart(Grain):
    def __init__(self, state: PersistentState[dict[str, int]]) -> None:
        self.state = state

    async def add(self, sku: str, quantity: int = 1) -> int:
        self.state.value[sku] = self.state.value.get(sku, 0) + quantity
        await self.state.write()
        return self.state.value[sku]

    async def hold(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "held"

    async def fail(self) -> None:
        raise ValueError("no such thing")


@pytest.fixture(autouse=True)
def _no_level_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The audit has its level from the loggers above, as in a program that embeds a silo: `grange run` sets its own."""
    monkeypatch.setattr(logging.getLogger(AUDIT_LOGGER), "level", logging.NOTSET)


@asynccontextmanager
async def one_silo(**options: Any) -> AsyncIterator[tuple[TestCluster, Silo]]:
    async with TestCluster([Cart], silos=1, **options) as cluster:
        yield cluster, cluster.silos[0]


def rows(silo: Silo) -> list[tuple[str, str, str]]:
    """The audit: action, outcome, actor."""
    return [(row.action, row.outcome, row.actor) for row in silo.control.audit.after(After()).rows]


async def done(silo: Silo, act: Act, asker: Asker = ADMINS) -> Acted:
    return await silo.control.acts.act(act, asker)


DEACTIVATE = Act(Action.DEACTIVATE, "cart/ann", reason="it is stuck")


async def test_a_preview_changes_nothing_and_an_act_does_what_it_said() -> None:
    async with one_silo() as (cluster, silo):
        await cluster.get_grain(Cart, "ann").add("apple")
        seen = await done(silo, msgspec.structs.replace(DEACTIVATE, preview=True, reason=""))
        assert (seen.outcome, seen.count) == (Outcome.PREVIEWED, 1)
        assert "deactivates after its 0 requests" in seen.text
        assert cluster.count() == 1
        assert rows(silo) == []
        acted = await done(silo, msgspec.structs.replace(DEACTIVATE, expect=seen.expect))
        assert acted.outcome is Outcome.DONE
        await cluster.advance(1)
        assert cluster.count() == 0


async def test_the_outcome_of_each_act_is_one_event_and_a_preview_is_none() -> None:
    async with one_silo() as (cluster, silo):
        await cluster.get_grain(Cart, "ann").add("apple")
        await done(silo, msgspec.structs.replace(DEACTIVATE, preview=True))
        await done(silo, DEACTIVATE)
        await done(silo, DEACTIVATE, Asker("eve", Level.VIEWER))
        found, _ = silo._running.ports.events.after(0, 1000)
        assert [tuple(event.facts.values()) for event in found if event.name == "action_taken"] == [
            ("deactivate", "cart/ann", "root", "it is stuck", "done"),
            ("deactivate", "cart/ann", "eve", "it is stuck", "refused"),
        ]


async def test_the_level_of_a_parent_of_loggers_can_be_set() -> None:
    logging.getLogger("parent_of_act.child")
    async with one_silo() as (_, silo):
        act = Act(Action.LOG_LEVEL, "parent_of_act", '{"level": "DEBUG", "seconds": 5}', reason="a defect")
        assert (await done(silo, act)).outcome is Outcome.DONE
        assert logging.getLogger("parent_of_act.child").getEffectiveLevel() == logging.DEBUG


async def test_an_act_is_refused_when_what_it_expects_no_longer_holds() -> None:
    """The activation that was seen has ended, and another one of the same grain is here."""
    async with one_silo() as (cluster, silo):
        await cluster.get_grain(Cart, "ann").add("apple")
        seen = await done(silo, msgspec.structs.replace(DEACTIVATE, preview=True))
        await done(silo, DEACTIVATE)
        await cluster.advance(1)
        await cluster.get_grain(Cart, "ann").add("apple")
        late = await done(silo, msgspec.structs.replace(DEACTIVATE, expect=seen.expect))
        assert late.outcome is Outcome.REFUSED
        assert "no longer holds" in late.text
        await cluster.advance(1)
        assert cluster.count() == 1


async def test_more_activations_than_were_shown_are_not_ended() -> None:
    async with one_silo() as (cluster, silo):
        for key in "abc":
            await cluster.get_grain(Cart, key).add("apple")
        of_type = Act(Action.DEACTIVATE, "cart", reason="a test")
        seen = await done(silo, msgspec.structs.replace(of_type, preview=True))
        assert (seen.count, seen.expect) == (3, "3")
        await cluster.get_grain(Cart, "d").add("apple")
        assert (await done(silo, msgspec.structs.replace(of_type, expect="3"))).outcome is Outcome.REFUSED
        assert (await done(silo, msgspec.structs.replace(of_type, expect="nonsense"))).outcome is Outcome.REFUSED
        assert (await done(silo, msgspec.structs.replace(of_type, expect="5"))).count == 4
        await cluster.advance(1)
        assert cluster.count() == 0


async def test_each_act_has_a_row_before_it_and_one_after_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "grange.audit")
    async with one_silo(actions=["*"]) as (cluster, silo):
        await cluster.get_grain(Cart, "ann").add("apple")
        canary = "a-secret-of-a-customer"
        call = Act(Action.CALL, "cart/ann", f'{{"method": "add", "arguments": ["{canary}"]}}', actor="bob")
        acted = await done(silo, call)
        assert (acted.outcome, acted.result) == (Outcome.DONE, "1")
        await done(silo, DEACTIVATE, OPERATORS)
        assert rows(silo) == [
            ("call", "begun", "bob"),
            ("call", "done", "bob"),
            ("deactivate", "begun", "ann"),
            ("deactivate", "done", "ann"),
        ]
        assert [record.event for record in caplog.records if record.name == "grange.audit"] == ["act_audited"] * 4
        assert canary not in caplog.text
        assert canary not in str(silo.control.audit.after(After()))


async def test_the_row_after_an_act_is_written_when_its_asker_goes() -> None:
    async with one_silo(actions=["*"]) as (cluster, silo):
        call = Act(Action.CALL, "cart/ann", '{"method": "hold", "arguments": [5]}')
        task = asyncio.create_task(done(silo, call))
        await cluster.advance(1)
        assert [outcome for _, outcome, _ in rows(silo)] == ["begun"]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [outcome for _, outcome, _ in rows(silo)] == ["begun", "unknown"]


@pytest.mark.parametrize(
    ("values", "outcome", "text"),
    [
        ('{"method": "fail"}', Outcome.FAILED, "ValueError: no such thing"),
        ('{"method": "hold", "arguments": [60], "seconds": 1}', Outcome.UNKNOWN, "CallTimeout"),
        ('{"method": "add", "arguments": [1, 2, 3]}', Outcome.REFUSED, "not executed"),
        ('{"method": "nothing"}', Outcome.REFUSED, "has no method 'nothing'; it has: add, fail, hold"),
        ('{"methods": "add"}', Outcome.REFUSED, "do not fit"),
        ("", Outcome.REFUSED, "do not fit"),
        ("[[[", Outcome.REFUSED, "do not fit"),
        ('{"method": "add", "arguments": ' + "[" * 30_000 + "]" * 30_000 + "}", Outcome.REFUSED, "nested too deeply"),
    ],
)
async def test_the_outcomes_of_a_call_are_told_apart(values: str, outcome: Outcome, text: str) -> None:
    async with one_silo(actions=["*"]) as (_, silo):
        acted = await done(silo, Act(Action.CALL, "cart/ann", values))
        assert acted.outcome is outcome
        assert text in acted.text


@pytest.mark.parametrize(
    ("act", "asker", "text"),
    [
        (Act(Action.CALL, "cart/ann", '{"method": "add"}'), OPERATORS, "needs the role admin, not operator"),
        (msgspec.structs.replace(DEACTIVATE, level=Level.VIEWER), ADMINS, "needs the role operator, not viewer"),
        (Act(Action.CALL, "cart/ann", '{"method": "add"}'), ADMINS, "is switched off by the option actions"),
        (Act(Action.DECLARE_DEAD, "silo-1", reason="a"), ADMINS, "is switched off by the option actions"),
        (Act(Action.DEACTIVATE, "cart/ann", reason=" "), ADMINS, "needs a reason"),
        (Act(Action.DEACTIVATE, "cart/eve", reason="a"), ADMINS, "there is no activation of 'cart/eve'"),
        (Act(Action.DEACTIVATE, "nothing/eve", reason="a"), ADMINS, "hosts no grain type 'nothing'"),
        (Act(Action.DRAIN, "silo-9", reason="a"), ADMINS, "not 'silo-9'"),
        (Act(Action.LOG_LEVEL, "grange.nothing", '{"level": "DEBUG"}'), ADMINS, "there is no logger"),
        (Act(Action.LOG_LEVEL, "grange.audit", '{"level": "ERROR"}'), ADMINS, "the audit is not silenced"),
        (Act(Action.LOG_LEVEL, "grange", '{"level": "ERROR"}'), ADMINS, "the audit is not silenced"),
        (Act(Action.LOG_LEVEL, "root", '{"level": "WARNING"}'), ADMINS, "the audit is not silenced"),
        (Act(Action.LOG_LEVEL, "grange.silo", '{"level": "LOUD"}'), ADMINS, "a level is one of"),
        (Act(Action.LOG_LEVEL, "grange.silo", '{"level": "DEBUG", "seconds": 0}'), ADMINS, "must be above 0"),
        (Act(Action.COLLECT, "", "{}", reason="a"), ADMINS, "do not fit"),
        (Act(Action.COLLECT, "", '{"idle": -1}', reason="a"), ADMINS, "idle for 0 or more seconds, not -1"),
        (Act(Action.DEACTIVATE, "cart/ann", "x" * 70_000, reason="a"), ADMINS, "too long"),
    ],
)
async def test_a_refused_act_is_in_the_audit_and_did_nothing(act: Act, asker: Asker, text: str) -> None:
    async with one_silo() as (cluster, silo):
        await cluster.get_grain(Cart, "ann").add("apple")
        acted = await done(silo, act, asker)
        assert acted.outcome is Outcome.REFUSED
        assert text in acted.text
        assert rows(silo)[-1][:2] == (str(act.action), "refused")
        await cluster.advance(1)
        assert cluster.count() == 1
        assert silo.management.state().ready


@pytest.mark.parametrize("field", ["target", "reason", "expect"])
async def test_each_text_of_an_act_is_bounded(field: str) -> None:
    async with one_silo() as (_, silo):
        for length, is_too_long in ((3_000, False), (3_001, True)):
            act = msgspec.structs.replace(DEACTIVATE, **{field: "a" * length})
            acted = await done(silo, act)
            assert acted.outcome is Outcome.REFUSED or field == "reason"
            assert (acted.text == "the act is too long") is is_too_long


async def test_the_values_of_an_act_are_bounded() -> None:
    async with one_silo() as (_, silo):
        for length, is_too_long in ((65_536, False), (65_537, True)):
            acted = await done(silo, msgspec.structs.replace(DEACTIVATE, values="x" * length))
            assert (acted.text == "the act is too long") is is_too_long


async def test_texts_are_cut_in_the_audit() -> None:
    async with one_silo() as (_, silo):
        for length, shown in ((300, "a" * 300), (301, "a" * 299 + "…")):
            await done(silo, Act(Action.DUMP_TASKS, reason="a" * length))
            assert silo.control.audit.after(After(-1, 1)).rows[0].reason == shown


async def test_the_preview_of_a_level_refuses_what_the_act_refuses() -> None:
    async with one_silo() as (_, silo):
        for target, values in (
            ("grange.audit", '{"level": "ERROR"}'), ("root", '{"level": "ERROR"}'),
            ("grange.silo", '{"level": "DEBUG", "seconds": 0}'), ("grange.silo", '{"level": "LOUD"}'),
        ):  # fmt: skip
            act = Act(Action.LOG_LEVEL, target, values)
            preview = await done(silo, msgspec.structs.replace(act, preview=True))
            acted = await done(silo, act)
            assert (preview.outcome, preview.text) == (acted.outcome, acted.text)
            assert preview.outcome is Outcome.REFUSED


@pytest.mark.parametrize(
    ("asker", "actor"),
    [
        (OPERATORS, "ann (claims to act for bob)"),
        (ADMINS, "bob"),
        (Asker("silo-2", Level.ADMIN, is_silo=True), "bob"),
    ],
)
async def test_the_actor_is_believed_from_silos_and_admins_only(asker: Asker, actor: str) -> None:
    async with one_silo() as (_, silo):
        await done(silo, Act(Action.DUMP_TASKS, actor="bob"), asker)
        assert {who for _, _, who in rows(silo)} == {actor}


async def test_a_level_of_a_logger_returns_by_itself_and_with_the_end_of_the_silo() -> None:
    logger = logging.getLogger("grange.silo")
    before = logger.level
    act = Act(Action.LOG_LEVEL, "grange.silo", '{"level": "DEBUG", "seconds": 60}')
    async with one_silo() as (cluster, silo):
        assert (await done(silo, act)).outcome is Outcome.DONE
        assert logger.level == logging.DEBUG
        await cluster.advance(59)
        assert (await done(silo, act)).outcome is Outcome.DONE  # again: it keeps the level before the first
        await cluster.advance(59)
        assert logger.level == logging.DEBUG
        await cluster.advance(2)
        assert logger.level == before
        await done(silo, act)
    assert logger.level == before


async def test_the_audit_is_not_silenced_by_a_detour() -> None:
    """The level of its own would end before that of the root."""
    async with one_silo() as (_, silo):
        own = Act(Action.LOG_LEVEL, "grange.audit", '{"level": "DEBUG", "seconds": 1}')
        assert (await done(silo, own)).outcome is Outcome.DONE
        acted = await done(silo, Act(Action.LOG_LEVEL, "root", '{"level": "ERROR", "seconds": 60}'))
        assert acted.outcome is Outcome.REFUSED
        below = Act(Action.LOG_LEVEL, "grange.runtime", '{"level": "ERROR", "seconds": 60}')
        assert (await done(silo, below)).outcome is Outcome.DONE


async def test_a_dump_lists_the_tasks_with_their_stacks() -> None:
    async with one_silo() as (cluster, silo):
        call = asyncio.create_task(cluster.get_grain(Cart, "ann").hold(5))
        await cluster.advance(1)
        acted = await done(silo, Act(Action.DUMP_TASKS), OPERATORS)
        assert "await asyncio.sleep(seconds)" in acted.result
        assert acted.count == len(msgspec.json.decode(acted.result))
        await call


async def test_the_audit_is_a_bounded_ring_that_tells_what_it_lost() -> None:
    async with one_silo() as (cluster, silo):
        for _ in range(505):
            await done(silo, Act(Action.DUMP_TASKS))
        answer = await cluster.client.ask(cluster.client.gateways[0], AUDIT, msgspec.msgpack.encode(After(0, 5)))
        audit = msgspec.msgpack.decode(answer, type=Audit)
        assert ([row.number for row in audit.rows], audit.lost) == ([11, 12, 13, 14, 15], 10)
        assert len(silo.control.audit.after(After(500, 10_000)).rows) == 200


async def test_no_management_target_answers_a_lower_level_near_or_far() -> None:
    """The list of the targets is the silo's own, so a new target is in the matrix."""
    async with one_silo(operator_token=OPERATOR, viewer_token=VIEWER) as (cluster, silo):
        needed = dict(silo._running.hosting.client_targets._levels)
        assert {name for name, level in needed.items() if level is Level.NONE} == {
            VIEW, LIST_GRAINS, FIND_GRAINS, BARRIER,
        }  # fmt: skip
        assert needed[ACT] is Level.OPERATOR
        for token, level in (("", Level.NONE), (VIEWER, Level.VIEWER), (OPERATOR, Level.OPERATOR)):
            transport = cluster.new_transport(f"client {level}")
            async with Client([silo.gateway], transport=transport, token=token) as client:
                for name in (name for name, least in needed.items() if level < least):
                    with pytest.raises(Unauthorized, match=f"{name} needs the role {needed[name].name.lower()}"):
                        await client.ask(client.gateways[0], name, b"")


async def test_another_silo_may_ask_every_management_target() -> None:
    async with TestCluster([Cart], silos=2) as cluster:
        first, second = cluster.silos
        answer = await first._running.links.sender.ask(second.address, AUDIT, b"", 1)
        assert msgspec.msgpack.decode(answer, type=Audit).address == second.address
