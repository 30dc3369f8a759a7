"""Grains call the observers of clients: in order, with values and errors, wherever the client is connected (OBS)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from grange import (
    Call,
    CallTimeout,
    ConfigurationError,
    Grain,
    GrainId,
    GrainObserver,
    InvalidCall,
    InvalidResult,
    Proceed,
    RemoteError,
    Unauthorized,
    always_interleave,
    one_way,
    read_only,
    request_context,
    response_timeout,
)
from grange.client.client import Client
from grange.proto.handshake import Hello, Role
from grange.proto.message import renewal
from grange.runtime.observers import host
from grange.silo.silo import Silo
from grange.testing.cluster import TestCluster


class Rejected(Exception):
    """An error of the application, known on both sides."""


class Watcher(GrainObserver, errors=[Rejected]):
    async def changed(self, a: int, b: int) -> None: ...

    async def ask(self, text: str) -> str: ...

    @one_way
    async def tell(self, text: str) -> None: ...

    @response_timeout(2)
    async def hurry(self, seconds: float) -> str: ...


class Notes(Watcher):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.changes: list[tuple[int, int]] = []
        self.asked: list[str] = []
        self.running = self.most = 0

    async def changed(self, a: int, b: int) -> None:
        self.changes.append((a, b))

    async def ask(self, text: str) -> str:
        self.running += 1
        self.most = max(self.most, self.running)
        if text.startswith("slow"):
            await asyncio.sleep(1)
        self.running -= 1
        self.asked.append(text)
        if text == "fail":
            raise Rejected("no", 7)
        return f"{text}!"

    async def tell(self, text: str) -> None:
        self.asked.append(text)

    async def hurry(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        self.asked.append("hurried")
        return "done"

    def helper(self) -> str:
        """Not callable by a reference."""
        return "help"


class Duplicate(Exception):
    """This observer has subscribed already."""


class Pair(Grain, errors=[Duplicate]):
    """Two numbers, whose changes it tells."""

    def __init__(self) -> None:
        self.a = self.b = 0
        self.watchers: list[Watcher] = []

    async def subscribe(self, watcher: Watcher) -> None:
        if watcher in self.watchers:
            raise Duplicate(str(watcher.id))  # type: ignore[attr-defined]
        self.watchers.append(watcher)

    async def unsubscribe(self, watcher: Watcher) -> None:
        self.watchers.remove(watcher)

    async def set_a(self, a: int) -> None:
        self.a = a
        await self._tell()

    async def set_b(self, b: int) -> None:
        self.b = b
        await self._tell()

    async def _tell(self) -> None:
        for watcher in self.watchers:
            await watcher.changed(self.a, self.b)


class Asks(Grain):
    """Calls an observer that it is given, and says what came of it."""

    async def ask(self, watcher: Watcher, text: str) -> str:
        return await watcher.ask(text)

    async def ask_all(self, watcher: Watcher, texts: list[str]) -> list[str]:
        return list(await asyncio.gather(*(watcher.ask(text) for text in texts)))

    async def ask_each(self, watcher: Watcher, texts: list[str]) -> list[str]:
        return [await watcher.ask(text) for text in texts]

    async def tell(self, watcher: Watcher, text: str) -> None:
        await watcher.tell(text)

    async def hurry(self, watcher: Watcher, seconds: float) -> str:
        return await watcher.hurry(seconds)

    async def outcome(self, watcher: Watcher, text: str) -> str:
        try:
            return await watcher.ask(text)
        except Exception as error:
            return type(error).__name__

    async def self_as_argument(self, other: Asks) -> str:
        return await other.outcome(Notes(), "x")

    async def context(self, watcher: Watcher) -> str:
        request_context["word"] = "down"
        return await watcher.ask("context")

    async def return_it(self, watcher: Watcher) -> Watcher:
        return watcher


def other_client(cluster: TestCluster, name: str, gateways: list[str] | None = None, **options: Any) -> Client:
    """Another client, which knows these gateways; by default all."""
    gateways = gateways or [silo.gateway for silo in cluster.silos]
    return Client(gateways, name=name, transport=cluster.new_transport(name), rng=cluster.random, **options)


async def test_each_change_is_one_call() -> None:
    """OBS-01: two changes, two callbacks, each with the values at its moment."""
    async with TestCluster([Pair]) as cluster:
        notes = Notes()
        pair = cluster.get_grain(Pair, "p")
        await pair.subscribe(cluster.client.create_observer(notes))
        await pair.set_a(3)
        await pair.set_b(2)
        assert notes.changes == [(3, 0), (3, 2)]


async def test_references_are_compared_by_observer() -> None:
    """OBS-02: one reference twice is the same observer; two references to two objects are two."""
    async with TestCluster([Pair]) as cluster:
        one, two = Notes(), Notes()
        pair = cluster.get_grain(Pair, "p")
        reference = cluster.client.create_observer(one)
        await pair.subscribe(reference)
        with pytest.raises(Duplicate, match=r"^\$client/"):
            await pair.subscribe(reference)
        await pair.subscribe(cluster.client.create_observer(two))
        await pair.set_a(3)
        assert one.changes == two.changes == [(3, 0)]


async def test_an_observer_that_is_gone_is_not_called() -> None:
    """OBS-03: after `unsubscribe` no call comes; after `delete_observer` the call certainly did not run."""
    async with TestCluster([Pair, Asks]) as cluster:
        notes = Notes()
        pair = cluster.get_grain(Pair, "p")
        reference = cluster.client.create_observer(notes)
        await pair.subscribe(reference)
        await pair.unsubscribe(reference)
        await pair.set_a(3)
        assert await cluster.get_grain(Asks, "a").ask(reference, "x") == "x!"
        assert cluster.client.observers == 1
        assert cluster.client.delete_observer(reference)
        assert not cluster.client.delete_observer(reference)
        assert cluster.client.observers == 0
        began = asyncio.get_running_loop().time()
        assert await cluster.get_grain(Asks, "a").outcome(reference, "y") == "ObserverGone"
        assert asyncio.get_running_loop().time() - began < 0.1
        assert (notes.changes, notes.asked) == ([], ["x"])


async def test_the_object_itself_cannot_be_passed() -> None:
    """OBS-04: neither an observer nor a grain nor another object takes the place of a reference, near and far."""
    async with TestCluster([Asks], silos=1) as cluster:
        for caller in (cluster, cluster.silos[0]):
            asks = caller.get_grain(Asks, "a")
            with pytest.raises(InvalidCall, match="pass the reference that create_observer returned"):
                await asks.ask(Notes(), "x")
            with pytest.raises(InvalidCall, match="Expected a reference to `Watcher`, got one to `Asks`"):
                await asks.ask(asks, "x")  # type: ignore[arg-type]
            with pytest.raises(InvalidCall, match="Expected a reference to `Watcher`, got `object`"):
                await asks.ask(object(), "x")  # type: ignore[arg-type]
        with pytest.raises(RemoteError, match="pass the reference that create_observer returned"):
            await cluster.get_grain(Asks, "a").self_as_argument(cluster.get_grain(Asks, "b"))


async def test_only_an_observer_gets_a_reference() -> None:
    """OBS-05: a grain, a reference, a class and any other object are refused with the remedy."""
    async with TestCluster([Asks], silos=1) as cluster:
        create: Any = cluster.client.create_observer
        reference = cluster.client.create_observer(Notes())
        for wrong, says in (
            (Asks(), "is a grain; grains call it by self.reference"),
            (reference, "is a reference already"),
            (cluster.get_grain(Asks, "a"), "is a reference already"),
            (Notes, "an object of a class that derives from GrainObserver"),
            (7, "an object of a class that derives from GrainObserver"),
        ):
            with pytest.raises(TypeError, match=says):
                create(wrong)
        get_grain: Any = cluster.get_grain
        with pytest.raises(TypeError, match="Watcher is an observer; create_observer makes its references"):
            get_grain(Watcher, "x")
        delete: Any = cluster.client.delete_observer
        with pytest.raises(TypeError, match="takes the reference"):
            delete(Notes())


async def test_values_and_errors_return_to_the_grain() -> None:
    """OBS-06: and one-way calls, the request context, and the types of the observer's methods."""

    class Other(Notes):
        async def ask(self, text: str) -> str:
            if text == "context":
                return str(request_context["word"])
            return 7 if text == "wrong" else await super().ask(text)  # type: ignore[return-value]

    async with TestCluster([Asks], silos=3) as cluster:
        notes = Other()
        reference = cluster.client.create_observer(notes)
        for number in range(6):
            asks = cluster.get_grain(Asks, f"a{number}")
            assert await asks.ask(reference, "x") == "x!"
            with pytest.raises(Rejected) as raised:
                await asks.ask(reference, "fail")
            assert raised.value.args == ("no", 7)
            assert await asks.outcome(reference, "wrong") == InvalidResult.__name__
            assert await asks.context(reference) == "down"
            notes.asked.clear()
            await asks.tell(reference, "told")
            await cluster.advance(0.1)
            assert notes.asked == ["told"]
            assert await asks.return_it(reference) == reference


@pytest.mark.parametrize("hosted", [False, True])
async def test_calls_arrive_once_and_in_order(hosted: bool) -> None:
    """OBS-07: a thousand calls one after the other in order, a thousand at once each exactly once, one at a time."""
    async with TestCluster([Asks]) as cluster:
        notes = Notes()
        reference = (cluster.silos[0].client if hosted else cluster.client).create_observer(notes)
        asks = cluster.get_grain(Asks, "a")
        texts = [str(number) for number in range(1000)]
        assert await asks.ask_each(reference, texts) == [f"{text}!" for text in texts]
        assert notes.asked == texts
        notes.asked.clear()
        assert await asks.ask_all(reference, texts) == [f"{text}!" for text in texts]
        assert sorted(notes.asked) == sorted(texts)
        assert await asks.ask_all(reference, ["slow 1", "slow 2", "x"]) == ["slow 1!", "slow 2!", "x!"]
        assert notes.most == 1


async def test_a_client_is_found_wherever_it_is_connected() -> None:
    """DIR-13: it reaches one gateway only; grains of every silo find it, also while one silo does not answer."""
    async with TestCluster([Asks], silos=4) as cluster:
        gateway = cluster.silos[3].gateway
        for number in range(8):
            client = other_client(cluster, f"one-gateway-{number}", [gateway])
            async with client:
                for silo in cluster.silos[:3]:
                    cluster.network.partition(f"one-gateway-{number}", silo.address.endpoint)
                notes = Notes()
                reference = client.create_observer(notes)
                for silo in cluster.silos:
                    assert await silo.get_grain(Asks, f"{silo.name}-{number}").ask(reference, "x") == "x!"
        async with other_client(cluster, "last", [gateway]) as client:
            notes = Notes()
            reference = client.create_observer(notes)
            cluster.partition(cluster.silos[0], cluster.silos[1])
            assert await asyncio.wait_for(cluster.silos[0].get_grain(Asks, "near").outcome(reference, "x"), 30) in (
                "x!",
                "SiloUnavailable",
            )


async def test_calls_follow_a_client_to_another_gateway() -> None:
    """Its gateway dies or stops: the client connects elsewhere, and calls find it there; none fails in a stop."""
    async with TestCluster([Asks], silos=3) as cluster:
        notes = Notes()
        reference = cluster.client.create_observer(notes)
        assert await cluster.get_grain(Asks, "a").ask(reference, "0") == "0!"
        await cluster.advance(10)
        await cluster.kill(cluster.silos[0])
        await cluster.stable()
        for number in range(5):
            assert await cluster.silos[0].get_grain(Asks, f"b{number}").ask(reference, "1") == "1!"
        busy = [
            asyncio.create_task(cluster.silos[0].get_grain(Asks, f"c{number}").ask(reference, f"slow {number}"))
            for number in range(3)
        ]
        await cluster.advance(0.5)
        await cluster.stop(cluster.silos[1])
        assert sorted(await asyncio.gather(*busy)) == ["slow 0!", "slow 1!", "slow 2!"]
        for number in range(5):
            assert await cluster.silos[0].get_grain(Asks, f"d{number}").ask(reference, "2") == "2!"


async def test_a_client_answers_before_it_leaves_a_silo_that_stops() -> None:
    """A call of another silo that came by the stopping one is answered on that connection."""
    async with TestCluster([Asks], silos=2) as cluster:
        first, second = cluster.silos
        cluster.network.partition("one-gateway", second.address.endpoint)
        async with other_client(cluster, "one-gateway", [first.gateway]) as client:
            reference = client.create_observer(Notes())
            call = asyncio.create_task(await_on(second, reference))
            await cluster.advance(0.5)
            cluster.silos.remove(first)
            await first.stop()
            assert await call == "slow!"


async def await_on(silo: Silo, reference: Watcher) -> str:
    """Have a grain of this silo ask the observer slowly."""
    for number in range(100):
        grain_id = GrainId("asks", f"k{number}")
        if silo.directory.locator.known(grain_id) == silo.address:
            return await silo.get_grain(Asks, f"k{number}").ask(reference, "slow")
    raise AssertionError("no key of this silo")


async def test_a_client_that_died_is_gone_soon() -> None:
    """Calls wait for its return for 3 s, and fail as certainly not executed; then at once."""
    async with TestCluster([Asks], silos=2) as cluster:
        client = other_client(cluster, "dies")
        await client.__aenter__()
        reference = client.create_observer(Notes())
        asks = cluster.get_grain(Asks, "a")
        assert await asks.ask(reference, "x") == "x!"
        cluster.network.kill("dies")
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await asks.outcome(reference, "y") == "ObserverGone"
        assert 2.5 <= loop.time() - began <= 4
        began = loop.time()
        assert await asks.outcome(reference, "z") == "ObserverGone"
        assert loop.time() - began < 0.5
        with pytest.raises(RemoteError, match=r"ObserverGone.*not executed"):
            await asks.ask(reference, "z")
        await client.__aexit__(None, None, None)


async def test_a_client_that_closes_is_gone_at_once() -> None:
    """Its waiting calls are refused, and the outcome of the one that runs is unknown."""
    async with TestCluster([Asks], silos=2) as cluster:
        notes = Notes()
        async with other_client(cluster, "closes") as client:
            reference = client.create_observer(notes)
            calls = [
                asyncio.create_task(cluster.get_grain(Asks, f"a{number}").outcome(reference, f"slow {number}"))
                for number in range(3)
            ]
            await cluster.advance(0.5)
        assert sorted(await asyncio.gather(*calls)) == ["ObserverGone", "ObserverGone", "SiloStopped"]
        assert notes.asked == []
        began = asyncio.get_running_loop().time()
        assert await cluster.get_grain(Asks, "a1").outcome(reference, "x") == "ObserverGone"
        assert asyncio.get_running_loop().time() - began < 0.5


async def test_a_call_to_an_observer_times_out_with_its_status() -> None:
    """A call that waits is dropped at the client; one that runs there completes."""
    async with TestCluster([Asks], silos=1) as cluster:
        notes = Notes()
        reference = cluster.client.create_observer(notes)
        asks = [cluster.get_grain(Asks, f"a{number}") for number in range(2)]
        outcomes = await asyncio.gather(*(each.hurry(reference, 3) for each in asks), return_exceptions=True)
        assert [type(each) for each in outcomes] == [RemoteError, RemoteError]
        assert all(each.type_name.endswith(CallTimeout.__name__) for each in outcomes if isinstance(each, RemoteError))
        await cluster.advance(10)
        assert notes.asked == ["hurried"]


async def test_too_many_calls_to_one_client_are_refused() -> None:
    """A client that does not answer fills no memory of the silo: further calls are Overloaded."""
    async with TestCluster([Asks], silos=1, runtime={"client_requests": 3}) as cluster:
        reference = cluster.client.create_observer(Notes())
        asks = [cluster.get_grain(Asks, f"a{number}") for number in range(5)]
        outcomes = await asyncio.gather(*(each.outcome(reference, "slow") for each in asks))
        assert sorted(outcomes) == ["Overloaded", "Overloaded", "slow!", "slow!", "slow!"]


async def test_clients_do_not_call_observers() -> None:
    """Only silos call a client; another client that holds the reference is refused."""
    async with TestCluster([Asks], silos=2) as cluster, other_client(cluster, "other") as client:
        notes = Notes()
        reference = cluster.client.create_observer(notes)
        received = await client.get_grain(Asks, "a").return_it(reference)
        with pytest.raises(Unauthorized, match="only grains call observers"):
            await received.ask("x")
        with pytest.raises(Unauthorized):
            await client.call_json(reference.id, "ask", b'["x"]')  # type: ignore[attr-defined]
        assert notes.asked == []


async def test_a_reference_does_not_let_another_client_take_over() -> None:
    """The id of a client is a hash of its key, so a process with a reference cannot connect as its client."""
    async with TestCluster([Asks], silos=1) as cluster:
        notes, false = Notes(), Notes()
        reference = cluster.client.create_observer(notes)
        assert await cluster.get_grain(Asks, "a").ask(reference, "first") == "first!"
        client = other_client(cluster, "mallory")
        stolen = str(reference.id).split("/")[1]  # type: ignore[attr-defined]
        hello = Hello("default", Role.CLIENT, "mallory", client_key=bytes.fromhex(stolen))
        client._hello = hello  # pyright: ignore[reportPrivateUsage]
        async with client:
            own = client.create_observer(false)
            assert await client.get_grain(Asks, "a").ask(own, "own") == "own!"
            assert await cluster.get_grain(Asks, "a").ask(reference, "secret") == "secret!"
        assert (notes.asked, false.asked) == (["first", "secret"], ["own"])


async def test_filters_of_a_client_wrap_the_calls_to_its_observers() -> None:
    """FLT-11: in order, the observer's own last; retry, errors, wrong results, and a filter that does nothing."""

    class Own(Notes):
        async def on_call(self, call: Call, proceed: Proceed) -> Any:
            return f"({await proceed()})" if call.method == "ask" else await proceed()

    async def one(call: Call, proceed: Proceed) -> Any:
        match call.args:
            case ("retry",):
                await proceed()
            case ("deny",):
                raise PermissionError("denied")
            case ("wrong",):
                return 7
            case ("drop",):
                return None
            case ("change",):
                call.replace(text="changed")
            case _:
                pass
        return f"1{await proceed()}"

    async def two(call: Call, proceed: Proceed) -> Any:
        return f"2{await proceed()}"

    async with (
        TestCluster([Asks], silos=2) as cluster,
        other_client(cluster, "filtered", incoming_filters=[one, two]) as client,
    ):
        notes = Own()
        reference = client.create_observer(notes)
        asks = cluster.get_grain(Asks, "a")
        assert await asks.ask(reference, "x") == "12(x!)"
        assert await asks.ask(reference, "change") == "12(changed!)"
        assert await asks.ask(reference, "retry") == "12(retry!)"
        assert notes.asked == ["x", "changed", "retry", "retry"]
        with pytest.raises(PermissionError) as raised:
            await asks.ask(reference, "deny")
        assert raised.value.args == ("denied",)
        with pytest.raises(RuntimeError, match=r"neither awaited proceed\(\) nor returned a result"):
            await asks.ask(reference, "drop")
        assert await asks.outcome(reference, "wrong") == InvalidResult.__name__


async def test_code_in_a_silo_has_observers_too() -> None:
    """`silo.client` calls grains in its process, and grains of all silos call its observers."""
    async with TestCluster([Asks], silos=3) as cluster:
        notes = Notes()
        client = cluster.silos[1].client
        reference = client.create_observer(notes)
        for number in range(6):
            assert await cluster.get_grain(Asks, f"a{number}").ask(reference, str(number)) == f"{number}!"
        assert await client.get_grain(Asks, "b").ask(reference, "own") == "own!"
        assert await client.get_grain(Asks, "b").outcome(reference, "fail") == "Rejected"
        assert cluster.silos[1].client.observers == 1
        assert client.delete_observer(reference)
        assert await client.get_grain(Asks, "b").outcome(reference, "x") == "ObserverGone"
        assert await client.get_grain(Asks, "c").outcome(reference, "x") == "ObserverGone"


async def test_a_hosted_client_makes_no_connection() -> None:
    """Its calls to grains of its silo leave no message on the network."""
    async with TestCluster([Asks], silos=1) as cluster:
        silo = cluster.silos[0]
        sent: list[object] = []
        cluster.network.fate = lambda here, there, message: sent.append(message) or [0.0]  # type: ignore[func-returns-value]
        reference = silo.client.create_observer(Notes())
        assert await silo.client.get_grain(Asks, "a").ask(reference, "x") == "x!"
        assert sent == []


async def test_a_client_has_a_bounded_number_of_observers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that never deletes them is told."""
    monkeypatch.setattr(host, "MOST_OBSERVERS", 2)
    async with TestCluster([Asks], silos=1) as cluster:
        for _ in range(2):
            cluster.client.create_observer(Notes())
        with pytest.raises(OverflowError, match="2 observers already; delete those that have ended"):
            cluster.client.create_observer(Notes())


def test_an_observer_class_is_checked_when_it_is_defined() -> None:
    """Options and hooks that have no effect on an observer are refused, with the remedy."""
    with pytest.raises(ConfigurationError, match="idle_timeout= has no effect on an observer"):

        class Keyword(GrainObserver, idle_timeout=3): ...  # type: ignore[call-arg]

    with pytest.raises(ConfigurationError, match="@read_only has no effect, because an observer takes one call"):

        class Reads(GrainObserver):
            @read_only
            async def look(self) -> None: ...

    with pytest.raises(ConfigurationError, match="@always_interleave has no effect"):

        class Interleaves(GrainObserver):
            @always_interleave
            async def look(self) -> None: ...

    with pytest.raises(ConfigurationError, match="on_activate is a hook of grains"):

        class Hooks(GrainObserver):
            async def on_activate(self) -> None: ...

    with pytest.raises(ConfigurationError, match="key is a name of references"):

        class Names(GrainObserver):
            async def key(self) -> str: ...

    with pytest.raises(ConfigurationError, match="needs a type annotation"):

        class Untyped(GrainObserver):
            async def look(self, at) -> None: ...  # type: ignore[no-untyped-def]


async def test_calls_to_observers_are_counted() -> None:
    """Those sent, those that failed, and those refused at the limit; the clients that can be called now."""
    async with TestCluster([Asks], silos=1, runtime={"client_requests": 2}) as cluster:
        silo, notes = cluster.silos[0], Notes()
        reference = cluster.client.create_observer(notes)
        silo.client.create_observer(Notes())
        asks = [cluster.get_grain(Asks, f"a{number}") for number in range(3)]
        await asyncio.gather(*(each.outcome(reference, "slow") for each in asks))
        await asks[0].outcome(reference, "fail")
        figures = silo.inspection.figures.snapshot().observers
        assert (figures.calls, figures.failed, figures.overloaded) == (3, 1, 1)
        assert (figures.clients, figures.in_flight, figures.local) == (1, 0, 1)


async def test_no_call_to_an_observer_is_lost_when_its_connection_is_replaced() -> None:
    """S8: the calls on their way on the first connection when the client moves to the second one arrive, once each."""
    async with TestCluster([Asks], silos=1) as cluster:
        cluster.network.latency = 0.05
        notes = Notes()
        reference = cluster.client.create_observer(notes)
        asks = cluster.get_grain(Asks, "a")
        texts = [str(number) for number in range(200)]
        asked = asyncio.ensure_future(asks.ask_each(reference, texts))
        for _ in range(60):
            await asyncio.sleep(0.31)
            for incoming in cluster.silos[0]._running.hosting.client_inbound.connected:
                incoming.tell(renewal("another one"))
        assert await asked == [f"{text}!" for text in texts]
        assert notes.asked == texts
