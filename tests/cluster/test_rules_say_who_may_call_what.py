"""Rules, @requires and authorize= decide about every call, at the gateway and at the silo of its grain (S4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from grange import (
    CallFacts,
    CallNotExecuted,
    ConfigurationError,
    Grain,
    GrainInterface,
    GrangeError,
    Identity,
    NoSuchGrain,
    SiloService,
    Unauthorized,
    acting_for,
    caller,
    one_way,
    requires,
)
from grange.client.client import Client
from grange.client.gateways import parse_gateway
from grange.grains.enumeration import with_batch_size
from grange.proto.acts import Level
from grange.proto.clients import CLIENT_TYPE
from grange.proto.ids import GrainId
from grange.silo.silo import Silo
from grange.testing import TestCluster

ROLES = ("customer", "clerk", "admin", "auditor")
TOKENS = {f"token-of-{role}": Identity(f"user:{role}", (role,)) for role in ROLES}
RULES = [
    {"who": ["role:customer"], "call": ["safe/look", "safe/items"]},
    {"who": ["role:clerk", "user:admin"], "call": ["safe/*", "porter/*"]},
    {"who": ["role:auditor"], "call": ["porter/fetch"]},
    {"who": ["grain:porter"], "call": ["safe/look"]},
    {"who": ["silo"], "call": ["safe/look"]},
]
RAN: list[tuple[str, str]] = []


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    """Each test begins anew."""
    RAN.clear()


def note(method: str) -> str:
    """Note that a method runs, and for whom."""
    identity = caller()
    shown = "none" if identity is None else identity.subject + (f" by {identity.via}" if identity.via else "")
    RAN.append((method, shown))
    return shown


class SafeApi(GrainInterface, name="safe_api"):
    @requires("role:admin", "role:clerk")
    async def take(self) -> str: ...


class Safe(Grain, SafeApi, name="safe"):
    async def look(self) -> str:
        return note("look")

    async def take(self) -> str:
        return note("take")

    @requires("role:admin")
    async def close(self) -> str:
        return note("close")

    @one_way
    async def knock(self) -> None:
        note("knock")

    async def items(self, count: int = 3) -> AsyncIterator[int]:
        note("items")
        for number in range(count):
            yield number

    async def tick_later(self, seconds: float) -> None:
        self.start_timer(self.tick, seconds)

    async def tick(self) -> None:
        """A public method, which is the callback of a timer, too."""
        try:
            await self.get_grain(Porter, "timer").fetch("x")
        except Unauthorized as error:
            RAN.append(("tick", str(error)))


class Porter(Grain, name="porter"):
    async def fetch(self, key: str) -> str:
        return await self.get_grain(Safe, key).look()

    async def break_open(self, key: str) -> str:
        try:
            return await self.get_grain(Safe, key).take()
        except Unauthorized as error:
            return f"refused: {error}"

    async def ask_service(self) -> str:
        return await self.get_service(Guard, "g").ask()


class Guard(SiloService, name="guard"):
    async def ask(self) -> str:
        return note("ask")


@asynccontextmanager
async def cluster_of(silos: int = 2, **options: Any) -> AsyncIterator[TestCluster]:
    given: dict[str, Any] = {"authenticate": TOKENS.get, "allow": RULES, **options}
    async with TestCluster([Safe, Porter], silos=silos, silo_services=[Guard], **given) as cluster:
        yield cluster


@asynccontextmanager
async def client_of(cluster: TestCluster, role: str, silo: Silo | None = None) -> AsyncIterator[Client]:
    """A client that reaches one gateway only, which relays its requests for grains of other silos."""
    silo = silo or cluster.silos[0]
    name = f"{role} of {silo.name.replace(':', '-')}"
    transport = cluster.new_transport(name)
    for other in cluster.silos:
        if other is not silo:
            cluster.network.partition(name, other.gateway)
    async with Client([silo.gateway], token=f"token-of-{role}", transport=transport) as client:
        yield client


def key_on(cluster: TestCluster, silo: Silo, grain_type: str = "safe") -> str:
    """A key whose place is on this silo."""
    return next(
        key
        for key in map(str, range(1000))
        if cluster.silos[0].directory.locator.known(GrainId(grain_type, key)) == silo.address
    )


# -- the matrix --

METHODS = ("look", "take", "close", "knock", "items", "tick_later")


def may(role: str, method: str) -> bool:
    """What the rules above say, in other words."""
    by_rule = role in ("clerk", "admin") or (role == "customer" and method in ("look", "items"))
    needs = {"take": ("admin", "clerk"), "close": ("admin",)}.get(method, ROLES)
    return by_rule and role in needs


async def attempt(client: Client, method: str, key: str) -> bool:
    """Whether the call was allowed. Any other error than a refusal fails the test."""
    safe = client.get_grain(Safe, key)
    try:
        if method == "items":
            assert [item async for item in with_batch_size(safe.items(), 1)] == [0, 1, 2]
        elif method == "tick_later":
            await safe.tick_later(1e6)
        elif method == "knock":  # its caller waits until it is sent, no longer
            before = len(RAN)
            await safe.knock()
            await asyncio.sleep(0.1)
            return len(RAN) > before
        else:
            await getattr(safe, method)()
    except Unauthorized:
        return False
    return True


def test_a_refusal_is_certain() -> None:
    assert issubclass(Unauthorized, CallNotExecuted)


@pytest.mark.parametrize("role", ROLES)
async def test_each_role_may_call_what_the_rules_say(role: str) -> None:
    """S4: role x method, for grains of the gateway's silo and of another one, absent and active."""
    async with cluster_of() as cluster, client_of(cluster, role) as client:
        for silo in cluster.silos:
            key = key_on(cluster, silo)
            for _ in range(3):
                assert [await attempt(client, method, key) for method in METHODS] == [may(role, m) for m in METHODS]
        await cluster.advance(1)
        subjects = {shown for method, shown in RAN if method in METHODS}
        assert subjects <= {f"user:{role}"}
        assert {method for method, _ in RAN if method in METHODS} == {
            method for method in METHODS if may(role, method) and method != "tick_later"
        }


async def test_a_caller_without_an_identity_may_nothing() -> None:
    """S4: nothing but the word `anonymous` means it."""
    async with cluster_of(allow=[{"who": ["*"], "call": ["*/*"]}]) as cluster:
        transport = cluster.new_transport("bare")
        async with Client([cluster.silos[0].gateway], transport=transport) as client:
            for silo in cluster.silos:
                with pytest.raises(Unauthorized, match="a caller without an identity may not call safe/look"):
                    await client.get_grain(Safe, key_on(cluster, silo)).look()
    async with cluster_of(allow=[{"who": ["anonymous"], "call": ["safe/look"]}]) as cluster:
        transport = cluster.new_transport("bare")
        async with (
            Client([cluster.silos[0].gateway], transport=transport) as client,
            client_of(cluster, "admin") as other,
        ):
            assert await client.get_grain(Safe, "a").look() == "none"
            with pytest.raises(Unauthorized):
                await other.get_grain(Safe, "a").look()


# -- both places --


async def test_the_gateway_refuses_before_it_sends_a_request_on() -> None:
    """S4: the silo of the grain has no rule, so only the gateway can refuse."""
    async with cluster_of(1) as cluster:
        free = await cluster.add_silo(allow=())
        key = key_on(cluster, free)
        async with client_of(cluster, "customer") as client:
            assert await client.get_grain(Safe, key).look() == "user:customer"
            with pytest.raises(Unauthorized, match=r"user:customer may not call safe/take: .*role:clerk or user:admin"):
                await client.get_grain(Safe, key).take()
        assert [method for method, _ in RAN] == ["look"]


async def test_the_silo_of_the_grain_refuses_what_a_gateway_lets_pass() -> None:
    """S4: the gateway has no rule, so only the silo of the grain can refuse."""
    async with cluster_of(1, allow=()) as cluster:
        strict = await cluster.add_silo(allow=RULES)
        key = key_on(cluster, strict)
        async with client_of(cluster, "customer") as client:
            for _ in range(3):
                with pytest.raises(Unauthorized, match="user:customer may not call safe/take"):
                    await client.get_grain(Safe, key).take()
                assert await client.get_grain(Safe, key).look() == "user:customer"
        assert {method for method, _ in RAN} == {"look"}


async def test_what_a_class_requires_is_known_where_it_runs() -> None:
    """S4: the gateway does not host the class."""
    async with TestCluster([Porter], silos=1, authenticate=TOKENS.get, allow=[
        {"who": ["*"], "call": ["*/*"]}
    ]) as cluster:  # fmt: skip
        await cluster.add_silo(grains=[Safe])
        async with client_of(cluster, "clerk") as clerk, client_of(cluster, "admin") as admin:
            with pytest.raises(Unauthorized, match="it needs role:admin"):
                await clerk.get_grain(Safe, "a").close()
            assert await admin.get_grain(Safe, "a").close() == "user:admin"


# -- calls of grains and silos --


async def test_a_grain_calls_for_its_caller() -> None:
    """S4: in the name of the user, and as the grain: a rule may be about either."""
    async with cluster_of() as cluster, client_of(cluster, "auditor") as auditor, client_of(cluster, "clerk") as clerk:
        for silo in cluster.silos:
            key = key_on(cluster, silo)
            assert await auditor.get_grain(Porter, "p").fetch(key) == "user:auditor by grain:porter"
            with pytest.raises(Unauthorized):
                await auditor.get_grain(Safe, key).look()
            with pytest.raises(Unauthorized):
                await auditor.get_grain(Porter, "p").break_open(key)
            assert await clerk.get_grain(Porter, "p").break_open(key) == "user:clerk by grain:porter"


async def test_a_refused_call_of_a_grain_raises_there() -> None:
    rules = [{"who": ["*"], "call": ["porter/*"]}]
    async with cluster_of(allow=rules) as cluster, client_of(cluster, "clerk") as clerk:
        text = await clerk.get_grain(Porter, "p").break_open("a")
        assert "user:clerk by grain:porter may not call safe/take: no rule in [[allow]] names this call" in text


async def test_a_timer_calls_as_its_grain() -> None:
    """S4: `grain:safe`, not the user who set the timer; and no rule lets safes call porters."""
    async with cluster_of() as cluster, client_of(cluster, "admin") as admin:
        await admin.get_grain(Safe, "a").tick_later(5)
        await cluster.advance(6)
        ((_, text),) = [each for each in RAN if each[0] == "tick"]
        assert "grain:safe may not call porter/fetch" in text


async def test_code_of_a_silo_is_silo() -> None:
    async with cluster_of() as cluster:
        for silo in cluster.silos:
            key = key_on(cluster, silo)
            for caller_silo in cluster.silos:
                assert await caller_silo.get_grain(Safe, key).look() == "silo"
                with pytest.raises(Unauthorized, match="silo may not call safe/take"):
                    await caller_silo.get_grain(Safe, key).take()


async def test_silo_services_have_no_rules() -> None:
    """Only silos call them."""
    async with cluster_of() as cluster, client_of(cluster, "clerk") as clerk:
        assert await clerk.get_grain(Porter, "p").ask_service() == "user:clerk by grain:porter"


# -- what clients cannot reach --


async def test_no_client_reaches_what_is_inside() -> None:
    """S4: every system target of the silo port that is not a client's, hidden methods and clients' observers."""
    async with cluster_of(1, allow=[{"who": ["*"], "call": ["*/*"]}]) as cluster, client_of(cluster, "admin") as client:
        hosting, gateway = cluster.silos[0]._running.hosting, parse_gateway(cluster.silos[0].gateway)
        inside = hosting.silo_targets._levels.keys() - hosting.client_targets._levels.keys()
        assert len(inside) > 5
        for service in sorted(inside):
            with pytest.raises(NoSuchGrain, match="there is no system target"):
                await client.ask(gateway, service, b"", 5)
        for grain_id, method in ((GrainId("safe", "a"), "@on_reminder"), (GrainId(CLIENT_TYPE, "x"), "ask")):
            with pytest.raises(Unauthorized):
                await client.call_json(grain_id, method, b"[]", 5)


@pytest.mark.parametrize("level", [Level.NONE, Level.VIEWER, Level.OPERATOR, Level.ADMIN])
async def test_each_system_target_needs_its_role(level: Level) -> None:
    """S4: level x system target. The rules for grains let all pass."""
    options = {f"{each.name.lower()}_token": f"a-token-of-{each.name.lower()}" for each in Level if each}
    async with cluster_of(1, allow=[{"who": ["*"], "call": ["*/*"]}], authenticate=None, **options) as cluster:
        token = options.get(f"{level.name.lower()}_token", "")
        transport, gateway = cluster.new_transport("asks"), parse_gateway(cluster.silos[0].gateway)
        async with Client([cluster.silos[0].gateway], token=token, transport=transport) as client:
            for service, needed in cluster.silos[0]._running.hosting.client_targets._levels.items():
                refused = False
                try:
                    await client.ask(gateway, service, b"\xc1", 5)
                except Unauthorized:
                    refused = True
                except (GrangeError, ValueError):
                    refused = False  # it came in, and is no question of this target
                assert refused is (level < needed), service


# -- streams --


async def test_the_next_items_are_for_the_caller_that_began() -> None:
    """S4: also if the other caller may call the method."""
    async with cluster_of() as cluster, client_of(cluster, "customer") as one, client_of(cluster, "clerk") as other:
        items = with_batch_size(one.get_grain(Safe, "a").items(), 1)
        assert await anext(items) == 0
        (activation,) = [
            each for silo in cluster.silos for each in silo.catalog.activations() if each.grain_id.type == "safe"
        ]
        (enumeration,) = activation.deps.enumerations.of(activation)
        for method, args in (("$next.items", b"[%d, 1]"), ("$close.items", b"[%d, false]")):
            with pytest.raises(Unauthorized):
                await other.call_json(GrainId("safe", "a"), method, args % enumeration.number, 5)
        assert [item async for item in items] == [1, 2]


# -- @requires, authorize=, audit --


class Ledger(Grain, name="ledger", requires="role:clerk"):
    async def read(self) -> int:
        return 1

    @requires("user:clerk", "user:admin")
    async def freeze(self) -> int:
        return 2


class Journal(Ledger, name="journal", requires=["role:auditor", "role:clerk"]):
    async def open_(self) -> int:
        return 3

    @requires("role:admin")
    async def freeze(self) -> int:
        return 4


class Free(Grain, name="free"):
    async def read(self) -> int:
        return 5


async def test_requires_of_classes_and_methods_add_up() -> None:
    """S4: a derived class needs no less than its base, and without rules other classes stay free."""
    people = {
        "both": Identity("user:admin", ("admin", "clerk")),
        "clerk": Identity("user:clerk", ("clerk",)),
        "auditor": Identity("user:auditor", ("auditor",)),
    }
    expected = {"both": [1, 2, 1, 3, 4, 5], "clerk": [1, 2, 1, 3, None, 5], "auditor": [None] * 5 + [5]}
    async with TestCluster([Ledger, Journal, Free], authenticate=people.get) as cluster, AsyncExitStack() as stack:
        for name, results in expected.items():
            client = await stack.enter_async_context(
                Client([cluster.silos[0].gateway], token=name, transport=cluster.new_transport(name))
            )
            ledger, journal = client.get_grain(Ledger, "a"), client.get_grain(Journal, "a")
            calls = [
                ledger.read, ledger.freeze, journal.read, journal.open_, journal.freeze,
                client.get_grain(Free, "a").read,
            ]  # fmt: skip
            found: list[int | None] = []
            for call in calls:
                try:
                    found.append(await call())
                except Unauthorized:
                    found.append(None)
            assert found == results, name


async def test_a_policy_function_sees_the_key() -> None:
    asked: list[CallFacts] = []

    def own_safe(identity: Identity | None, call: CallFacts) -> bool | str:
        asked.append(call)
        if not call.via_gateway:
            return True
        return identity is not None and (identity.subject == f"user:{call.key}" or "it is not your safe")

    async with cluster_of(allow=(), authorize=own_safe) as cluster, client_of(cluster, "clerk") as clerk:
        assert await clerk.get_grain(Safe, "clerk").look() == "user:clerk"
        with pytest.raises(Unauthorized, match="user:clerk may not call safe/look: it is not your safe"):
            await clerk.get_grain(Safe, "other").look()
        assert await clerk.get_grain(Porter, "clerk").fetch("other") == "user:clerk by grain:porter"
    assert CallFacts("safe", "other", "look", via_gateway=True) in asked
    assert CallFacts("safe", "other", "look", via_gateway=False) in asked


async def test_audit_reports_what_enforce_would_refuse() -> None:
    async with cluster_of(authorization="audit") as cluster, client_of(cluster, "customer") as client:
        for silo in cluster.silos:
            for _ in range(20):
                await client.get_grain(Safe, key_on(cluster, silo)).knock()
        await cluster.advance(1)
        assert len(RAN) == 40
        found = [silo.inspection.figures.snapshot() for silo in cluster.silos]
        assert sum(each.would_refuse.get("safe", 0) for each in found) == 60  # the gateway reports its 20, too
        events, _ = cluster.silos[0]._running.ports.events.after(-100, 100)
        told = [row for row in events if row.name == "authorization_would_refuse"]
        assert 0 < len(told) <= 10
        assert told[0].facts["caller"] == "user:customer"


# -- what is wrong --


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"allow": [{"who": ["customer"], "call": ["safe/*"]}]},
            r"option 'allow': rule 1: 'customer': names no caller",
        ),
        ({"allow": [{"who": [], "call": ["safe/*"]}]}, "rule 1: who must be a list"),
        ({"allow": "x"}, "list of tables"),
        ({"allow": (), "authorization": "audit"}, "audit has no effect without"),
        ({"authorization": "on"}, "enforce or audit"),
        ({"authorize": "x"}, "authorize= is a plain function"),
        ({"authorize": lambda identity: True}, "authorize= is a plain function"),
    ],
)
async def test_a_wrong_option_is_named(options: dict[str, Any], reason: str) -> None:
    free = {"grains": [Free]} if options.get("allow") == () else {}
    with pytest.raises(ConfigurationError, match=reason):
        async with TestCluster(**{"grains": [Safe], "silos": 1, "authenticate": TOKENS.get, **options, **free}):
            pass


async def test_an_async_policy_function_is_refused() -> None:
    async def policy(_identity: Identity | None, _call: CallFacts) -> bool:
        return True

    with pytest.raises(ConfigurationError, match="not async"):
        TestCluster([Safe], authorize=policy)  # type: ignore[arg-type]


def test_requires_is_refused_where_it_has_no_effect() -> None:
    def wrong_words(*words: Any) -> None:
        with pytest.raises(ConfigurationError, match="requires: "):
            requires(*words)

    wrong_words()
    wrong_words("admin")
    with pytest.raises(ConfigurationError, match="silo service"):

        class Vault(SiloService):
            @requires("role:admin")
            async def ask(self) -> None: ...

    with pytest.raises(ConfigurationError, match="no effect on a hook or a private method"):

        class Hook(Grain):
            @requires("role:admin")
            async def on_activate(self) -> None: ...

    with pytest.raises(ConfigurationError, match="requires=: "):

        class Words(Grain, requires=["admin"]): ...

    with pytest.raises(ConfigurationError, match="requires= has no effect on an interface"):

        class Api(GrainInterface, requires=["role:admin"]): ...  # type: ignore[call-arg]


async def test_what_is_in_force_is_said_once() -> None:
    async with cluster_of(1) as cluster:
        events, _ = cluster.silos[0]._running.ports.events.after(-100, 100)
        (row,) = [each for each in events if each.name == "authorization_in_force"]
        assert "5 rules and @requires of 2 methods decide who may call what" in row.text
    async with TestCluster([Free], silos=1, authenticate=TOKENS.get) as cluster:
        events, _ = cluster.silos[0]._running.ports.events.after(-100, 100)
        (row,) = [each for each in events if each.name == "authorization_in_force"]
        assert "nothing restricts callers: each that is connected may call every grain" in row.text


async def test_code_of_a_silo_for_a_user_has_the_rights_of_the_user() -> None:
    async with cluster_of() as cluster:
        with acting_for(Identity("user:x", ("customer",))):
            safe = cluster.silos[0].get_grain(Safe, "a")
            assert await safe.look() == "user:x by silo"
            with pytest.raises(Unauthorized, match="user:x by silo may not call safe/take"):
                await safe.take()
