"""`caller()` is the origin of the call, through every kind of call, on one silo and across silos (S3, S4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from grange import (
    Call,
    EnumerationAborted,
    Grain,
    GrainObserver,
    Identity,
    Proceed,
    SiloService,
    Unauthorized,
    acting_for,
    allow_reentrancy,
    blocking,
    caller,
    from_thread,
    one_way,
    placement_hint,
)
from grange.client.client import Client
from grange.grains.enumeration import with_batch_size
from grange.grains.tick import Job, Tick
from grange.proto.acts import Act, Action, Asker, Level
from grange.proto.ids import GrainId
from grange.security.certificate import Certificate
from grange.silo.activation_detail import detail_of
from grange.silo.silo import Silo
from grange.testing import TestCluster

WEB, BATCH = "spiffe://default/client/web", "spiffe://default/client/batch"
ANN = Identity("user:ann", ("customer",), "acme")
TOKENS = {"ann-1": ANN, "bob-1": Identity("user:bob")}
TLS = {"speaks_for": [WEB]}
"""The memory network reads no files."""

SEEN: list[str] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    """Each test begins anew."""
    SEEN.clear()


def shown(identity: Identity | None) -> str:
    """An identity in one line."""
    if identity is None:
        return "none"
    roles, tenant = ",".join(identity.roles), f" @{identity.tenant}" if identity.tenant else ""
    return f"{identity.subject} [{roles}]{tenant}" + (f" via {identity.via}" if identity.via else "")


ANN_HERE, ANN_BY_WHO = shown(ANN), shown(ANN) + " via grain:who"


class Clerk(GrainObserver):
    async def ask(self) -> str: ...


class Who(Grain, name="who"):
    """Says for whom it runs."""

    def __init__(self) -> None:
        self.ticks: list[str] = []

    async def me(self) -> str:
        return shown(caller())

    async def pass_on(self, key: str, hops: int = 1) -> str:
        other = self.get_grain(Who, key)
        return await (other.me() if hops == 1 else other.pass_on(f"{key}x", hops - 1))

    async def desk(self, key: str) -> str:
        return await self.get_grain(Desk, key).pass_on("w")

    async def in_task(self) -> list[str]:
        async def later() -> str:
            await asyncio.sleep(0.1)
            return await self.pass_on("t")

        own = asyncio.create_task(self.me())
        return [await own, await asyncio.create_task(later())]

    async def re_enter(self) -> str:
        with allow_reentrancy():
            return await self.get_grain(Desk, "d").back(self.key)

    @blocking
    def in_thread(self) -> list[str]:
        return [shown(caller()), from_thread(self.get_grain(Who, "other").me)]

    @one_way
    async def note(self) -> None:
        SEEN.append(shown(caller()))

    async def note_elsewhere(self, key: str) -> None:
        await self.get_grain(Who, key).note()

    async def items(self, count: int) -> AsyncGenerator[str]:
        try:
            for _ in range(count):
                yield f"{shown(caller())} | {await self.get_grain(Desk, 'd').me()}"
                await asyncio.sleep(0.1)
        finally:
            SEEN.append(shown(caller()))

    async def gather(self, key: str) -> list[str]:
        return [item async for item in with_batch_size(self.get_grain(Who, key).items(2), 1)]

    async def start(self) -> None:
        self.start_timer(self.tick, 1)
        await self.reminders.set("r", 60)
        await self.jobs.schedule(self.reference, 60)

    async def tick(self) -> None:
        SEEN.append(f"timer {shown(caller())} | {await self.get_grain(Desk, 'd').me()}")

    async def on_reminder(self, tick: Tick) -> None:
        SEEN.append(f"reminder {shown(caller())} | {await self.get_grain(Desk, 'd').me()}")

    async def on_job(self, job: Job) -> None:
        SEEN.append(f"job {shown(caller())} | {await self.get_grain(Desk, 'd').me()}")

    async def call_observer(self, clerk: Clerk) -> str:
        return await clerk.ask()

    async def ask_service(self, key: str) -> str:
        return await self.get_service(Shelf, key).ask()

    async def hold(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def act(self) -> None:
        with acting_for(ANN):
            raise AssertionError("not reached")


class Desk(Grain, name="desk"):
    async def me(self) -> str:
        return shown(caller())

    async def pass_on(self, key: str) -> str:
        return await self.get_grain(Who, key).me()

    async def back(self, key: Any) -> str:
        return await self.get_grain(Who, key).me()


class Hooked(Grain, name="hooked"):
    async def on_activate(self) -> None:
        SEEN.append(f"on_activate {shown(caller())} | {await self.get_grain(Desk, 'd').me()}")

    async def on_deactivate(self, reason: object) -> None:
        SEEN.append(f"on_deactivate {shown(caller())}")

    async def me(self) -> str:
        return shown(caller())

    async def end(self) -> None:
        self.deactivate_when_idle()


class Shelf(SiloService, name="shelf"):
    async def ask(self) -> str:
        return f"{shown(caller())} | {await self.get_grain(Desk, 'd').me()}"

    async def on_start(self) -> None:
        SEEN.append(f"on_start {await self.get_grain(Desk, 'd').me()}")


class Asked(Clerk):
    """An observer, which also calls a grain."""

    def __init__(self, home: Any) -> None:
        self.home = home

    async def ask(self) -> str:
        return f"{shown(caller())} | {await self.home.get_grain(Desk, 'd').me()}"


async def _filter(call: Call, proceed: Proceed) -> Any:
    SEEN.append(f"{call.direction} {call.method}: {shown(call.caller)}")
    return await proceed()


@asynccontextmanager
async def cluster_of(silos: int = 2, **options: Any) -> AsyncIterator[TestCluster]:
    given: dict[str, Any] = {
        "authenticate": TOKENS.get, "roles": {WEB: ("shop",)}, "tls": TLS, "actions": ("*",),
        **options,
    }  # fmt: skip
    async with TestCluster([Who, Desk, Hooked], silos=silos, silo_services=[Shelf], **given) as cluster:
        SEEN.clear()
        yield cluster


@asynccontextmanager
async def client_of(cluster: TestCluster, token: str = "", uri: str = "") -> AsyncIterator[Client]:
    """A client with this token and certificate."""
    transport = cluster.new_transport(f"{token}{uri}", Certificate(uri=uri) if uri else None)
    async with Client([silo.gateway for silo in cluster.silos], transport=transport, token=token) as made:
        yield made


async def on(silo: Silo, client: Client, key: str, kind: Any = Who) -> Any:
    """A grain that is active on this silo."""
    with placement_hint(silo.address):
        await client.get_grain(kind, key).me()
    return client.get_grain(kind, key)


async def test_a_client_is_its_certificate_or_its_token() -> None:
    """S3: the certificate authenticates the process, the token its user; the option gives roles to both."""
    async with cluster_of(roles={WEB: ("shop",), "user:bob": ("vip",)}) as cluster:
        for token, uri, expected in (
            ("", WEB, f"{WEB} [shop]"),
            ("", BATCH, f"{BATCH} []"),
            ("", "spiffe://default/admin/root", "spiffe://default/admin/root [admin]"),
            ("ann-1", "", ANN_HERE),
            ("bob-1", "", "user:bob [vip]"),
            ("ann-1", WEB, f"{ANN_HERE} via {WEB}"),
            (cluster.admin_token, "", "token:admin [admin]"),
            (cluster.admin_token, WEB, f"{WEB} [shop,admin]"),
            ("", "", "none"),
        ):
            async with client_of(cluster, token, uri) as client:
                assert await client.get_grain(Who, "a").me() == expected


async def test_the_caller_is_known_on_each_silo_and_through_a_relay() -> None:
    """S3: a gateway relays the identity that it has found, not that of its own silo."""
    async with cluster_of(silos=3) as cluster, client_of(cluster, "ann-1") as client:
        for silo in cluster.silos:
            for number in range(6):  # the client sends each to the owner of its place on the ring
                grain = await on(silo, client, f"{silo.name}-{number}")
                assert cluster.where(grain) is silo
                assert await grain.me() == ANN_HERE
                assert await grain.pass_on(f"next-{number}") == ANN_BY_WHO


async def test_a_call_of_a_grain_is_for_its_caller_by_way_of_the_grain() -> None:
    """S3: subject, roles and tenant stay; `via` is the grain that speaks, the last one of a chain."""
    async with cluster_of(silos=3) as cluster, client_of(cluster, "ann-1") as client:
        who = client.get_grain(Who, "a")
        assert await who.pass_on("b") == ANN_BY_WHO
        assert await who.pass_on("c", 5) == ANN_BY_WHO
        assert await who.desk("d") == f"{ANN_HERE} via grain:desk"
        assert await who.in_task() == [ANN_HERE, ANN_BY_WHO]
        assert await who.in_thread() == [ANN_HERE, ANN_BY_WHO]
        assert await who.re_enter() == f"{ANN_HERE} via grain:desk"


async def test_two_callers_of_one_grain_are_not_mixed() -> None:
    """Turns of one activation, one after the other and interleaved, each have their own caller."""
    async with cluster_of() as cluster, client_of(cluster, "ann-1") as ann, client_of(cluster, "bob-1") as bob:
        calls = [each.get_grain(Who, "a").pass_on(f"k{number}") for number in range(20) for each in (ann, bob)]
        assert await asyncio.gather(*calls) == [ANN_BY_WHO, "user:bob [] via grain:who"] * 20
        who = cluster.silos[0].get_grain(Who, "a")
        assert await who.me() == "silo []"


async def test_one_way_and_json_calls_have_a_caller() -> None:
    """S4: near and far, by a client and by a grain."""
    async with cluster_of(silos=3) as cluster, client_of(cluster, "ann-1") as client:
        for silo in cluster.silos:
            grain = await on(silo, client, f"k-{silo.name}")
            await grain.note()
            await client.get_grain(Who, "a").note_elsewhere(f"k-{silo.name}")
            answer = await client.call_json(GrainId("who", f"k-{silo.name}"), "me", b"[]")
            assert answer == f'"{ANN_HERE}"'.encode()
        await cluster.advance(1)
        assert sorted(SEEN) == sorted([ANN_HERE, ANN_BY_WHO] * 3)


async def test_a_streamed_method_has_the_caller_that_began_it() -> None:
    """S4: also for later items, in its clean-up, and for a grain that takes the items."""
    async with cluster_of(silos=3) as cluster, client_of(cluster, "ann-1") as client:
        for silo in cluster.silos:
            grain = await on(silo, client, f"k-{silo.name}")
            items = [item async for item in with_batch_size(grain.items(3), 1)]
            assert items == [f"{ANN_HERE} | {ANN_BY_WHO}"] * 3
            assert await client.get_grain(Who, "a").gather(f"k-{silo.name}") == [f"{ANN_BY_WHO} | {ANN_BY_WHO}"] * 2
        assert SEEN == [ANN_HERE, ANN_BY_WHO] * 3


async def test_items_go_only_to_the_caller_that_began_their_stream() -> None:
    """S3: another user who asks for the next one is refused."""
    async with cluster_of() as cluster, client_of(cluster, "", WEB) as client:
        with acting_for(ANN):
            items = with_batch_size(client.get_grain(Who, "a").items(5), 1)
            assert await anext(items) == f"{ANN_HERE} via {WEB} | {ANN_BY_WHO}"
        with acting_for(Identity("user:bob")), pytest.raises(EnumerationAborted, match="was begun for another caller"):
            await anext(items)


async def test_timers_reminders_jobs_and_hooks_run_as_the_grain() -> None:
    """S4: not as their last caller, and not as one without an identity."""
    async with cluster_of() as cluster, client_of(cluster, "ann-1") as client:
        await client.get_grain(Who, "a").start()
        await cluster.advance(90)
        own = "grain:who [] | grain:who []"
        assert sorted(SEEN) == [f"job {own}", f"reminder {own}", f"timer {own}"]
        SEEN.clear()
        hooked = client.get_grain(Hooked, "h")
        assert await hooked.me() == ANN_HERE
        await hooked.end()
        await cluster.advance(1)
        assert SEEN == ["on_activate grain:hooked [] | grain:hooked []", "on_deactivate grain:hooked []"]


async def test_an_observer_knows_for_whom_it_is_called_and_calls_as_its_client() -> None:
    """S4: in a client, and in the process of a silo."""
    async with cluster_of() as cluster, client_of(cluster, "ann-1") as ann, client_of(cluster, "bob-1") as bob:
        clerk = bob.create_observer(Asked(bob))
        for silo in cluster.silos:
            grain = await on(silo, ann, f"k-{silo.name}")
            assert await grain.call_observer(clerk) == f"{ANN_BY_WHO} | user:bob []"
        own = cluster.silos[0].client
        hosted = own.create_observer(Asked(own))
        assert await ann.get_grain(Who, "a").call_observer(hosted) == f"{ANN_BY_WHO} | silo []"


async def test_code_of_a_silo_beside_its_grains_is_the_silo() -> None:
    """Start-up tasks, background services, silo services, the hosted client, and the silo itself."""

    async def look(silo: Silo) -> None:
        SEEN.append(await silo.get_grain(Who, "own").me())

    async with TestCluster(
        [Who, Desk], silos=2, silo_services=[Shelf], startup=[look], background=[look], authenticate=TOKENS.get
    ) as cluster:
        await cluster.advance(1)
        assert sorted(SEEN) == ["on_start silo []"] * 2 + ["silo []"] * 4
        for silo in cluster.silos:
            assert await silo.client.get_grain(Who, "a").me() == "silo []"
            assert await silo.get_service(Shelf, "k").ask() == "silo [] | silo []"
            with acting_for(ANN):
                assert await silo.client.get_grain(Who, "a").me() == f"{ANN_HERE} via silo"
                assert await silo.client.get_grain(Who, "a").pass_on("b") == ANN_BY_WHO


async def test_a_silo_service_is_called_for_the_caller_of_its_caller() -> None:
    """A service speaks as its silo, on whichever silo it runs."""
    async with cluster_of(silos=3) as cluster, client_of(cluster, "ann-1") as client:
        for number in range(6):
            asked = await client.get_grain(Who, "a").ask_service(f"k{number}")
            assert asked == f"{ANN_BY_WHO} | {ANN_HERE} via silo"


async def test_a_filter_sees_the_caller() -> None:
    """S4: of a method, a timer and the turn that makes a call."""
    filters: dict[str, Any] = {"incoming_filters": [_filter], "outgoing_filters": [_filter]}
    async with cluster_of(**filters) as cluster, client_of(cluster, "ann-1") as client:
        await client.get_grain(Who, "a").pass_on("b")
        assert [
                f"incoming pass_on: {ANN_HERE}", f"outgoing me: {ANN_HERE}", f"incoming me: {ANN_BY_WHO}"
            ] == SEEN  # fmt: skip


async def test_a_client_with_the_right_speaks_for_its_users() -> None:
    """S3: only if its certificate may; else the call certainly did not run."""
    async with cluster_of(silos=3) as cluster, client_of(cluster, "", WEB) as web:
        for silo in cluster.silos:
            who = await on(silo, web, f"k-{silo.name}")
            with acting_for(Identity("user:ann", ("customer",), "acme", via="grain:bank")):
                assert await who.me() == f"{ANN_HERE} via {WEB}"
                assert await who.pass_on(f"b-{silo.name}") == ANN_BY_WHO
            assert await who.me() == f"{WEB} [shop]"
        for token, uri in (("", BATCH), ("ann-1", ""), (cluster.admin_token, ""), ("", "")):
            async with client_of(cluster, token, uri) as client:
                with acting_for(ANN):
                    await client.get_grain(Who, "a").note()  # its error is logged, as that of each one-way call
                    with pytest.raises(Unauthorized, match="may not name the identity of its calls"):
                        await client.get_grain(Who, "a").me()
        await cluster.advance(1)
        assert not SEEN


async def test_only_code_outside_of_grains_acts_for_users() -> None:
    """A grain cannot change its caller, and no name of the runtime can be taken."""
    async with cluster_of() as cluster, client_of(cluster, "", WEB) as web:
        with pytest.raises(RuntimeError, match="the calls of who/a are for its caller"):
            await web.get_grain(Who, "a").act()
    for subject in ("", "silo", "grain:who", "token:admin", WEB):
        with pytest.raises(ValueError, match="is no name for a user"):
            acting_for(Identity(subject))
    with pytest.raises(TypeError, match="takes an Identity"):
        acting_for("user:ann")  # type: ignore[arg-type]


async def test_an_operator_calls_as_itself() -> None:
    """An act that calls a method has the identity of its actor, and not that of the silo."""
    act = Act(Action.CALL, "who/a", '{"method": "me", "arguments": []}', reason="a look")
    named = Act(Action.CALL, "who/a", '{"method": "me", "arguments": []}', reason="a look", actor="user:eve")
    root = Identity("spiffe://default/admin/root", ("admin",))
    async with cluster_of(silos=1) as cluster:
        acts = cluster.silos[0].control.acts
        admin, silo = Asker("cli", Level.ADMIN, identity=root), Asker("silo-2", Level.ADMIN, is_silo=True)
        for asker, asked, expected in (
            (admin, act, f"{root.subject} [admin]"),
            (admin, named, f"user:eve [admin] via {root.subject}"),
            (silo, named, "user:eve [admin] via silo"),
            (silo, act, "silo []"),
        ):
            done = await acts.act(asked, asker)
            assert done.result == f'"{expected}"', done.text
    assert await _result_without_identities(act, admin) == '"none"'


async def _result_without_identities(act: Act, asker: Asker) -> str:
    async with TestCluster([Who, Desk], silos=1, actions=("*",)) as cluster:
        return (await cluster.silos[0].control.acts.act(act, asker)).result


async def test_without_a_source_of_identities_calls_carry_none() -> None:
    """A management token alone is no source: each silo has one, and calls would pay for what no code reads."""
    async with TestCluster([Who, Desk, Hooked], silos=2, silo_services=[Shelf]) as cluster:
        who = cluster.get_grain(Who, "a")
        assert await who.pass_on("b", 3) == "none"
        assert await who.ask_service("k") == "none | none"
        assert await cluster.silos[0].get_grain(Who, "a").me() == "none"
        await who.start()
        await cluster.advance(90)
        assert sorted(set(SEEN)) == [
            "job none | none", "on_start none", "reminder none | none", "timer none | none"
        ]  # fmt: skip


async def test_operators_see_for_whom_calls_run_and_no_token() -> None:
    """S10: the identities of connections and of the requests of an activation."""
    async with cluster_of(silos=1) as cluster, client_of(cluster, "ann-1", WEB) as client:
        silo, grain = cluster.silos[0], client.get_grain(Who, "a")
        holding = asyncio.create_task(grain.hold(5))
        await cluster.advance(1)
        setup = silo.control.setup.setup()
        assert {each.identity for each in setup.connections} == {"token:admin", f"user:ann via {WEB}"}
        activation = cluster.activation(grain)
        assert activation is not None
        detail = detail_of(silo.address, activation, "", lambda _: ())
        assert [each.identity for each in detail.running] == [f"user:ann via {WEB}"]
        for shown_text in (repr(setup), repr(detail)):
            assert "ann-1" not in shown_text
            assert cluster.admin_token not in shown_text
        await holding
