"""A client, a silo and their references work in their event loop until they end, and nowhere else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from grange import CallerClosed, CallNotExecuted, ConnectionLost, Grain, PersistentState, Timer, WrongLoop
from grange.client import Client
from grange.silo import Silo
from grange.testing.cluster import TestCluster

PATIENCE = 5.0
"""Real seconds after which code of another loop waits for ever."""


class Cart(Grain):
    def __init__(self, state: PersistentState[int]) -> None:
        self.state = state
        self.timer: Timer | None = None
        self.release = asyncio.Event()

    async def add(self) -> int:
        self.state.value += 1
        return self.state.value

    async def hang(self) -> None:
        await self.release.wait()

    async def from_a_thread(self, what: str) -> str:
        """The context of the turn goes along to the thread, and so does the right to use the state."""
        self.timer = self.timer or self.start_timer(self._tick, 100)
        timer = self.timer
        actions: dict[str, Callable[[], Any]] = {
            "write": self.state.write,
            "read": self.state.read,
            "clear": self.state.clear,
            "start_timer": lambda: self.start_timer(self._tick, 1),
            "change": lambda: timer.change(1),
            "deactivate_when_idle": self.deactivate_when_idle,
            "delay_deactivation": lambda: self.delay_deactivation(5),
            "call": lambda: self.get_grain(Cart, "other").add(),
        }
        return await asyncio.to_thread(_in_a_loop_of_its_own, actions[what])

    async def _tick(self) -> None:
        raise AssertionError("a timer of a thread ticked")


def _in_a_loop_of_its_own(action: Callable[[], Any]) -> str:
    async def act() -> str:
        try:
            result = action()
            if isinstance(result, Awaitable):
                async with asyncio.timeout(PATIENCE):
                    await result
        except (RuntimeError, TimeoutError) as error:
            return f"{type(error).__name__}: {error}"
        return "no error"

    return asyncio.run(act())


async def elsewhere(action: Callable[[], Any]) -> str:
    """The error of this action in the event loop of a thread, which has a context of its own."""
    said: list[str] = []
    ended, loop = asyncio.Event(), asyncio.get_running_loop()

    def run() -> None:
        said.append(_in_a_loop_of_its_own(action))
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=run, daemon=True).start()
    await ended.wait()
    return said[0]


async def test_a_call_from_another_loop_is_refused_with_the_remedy() -> None:
    async with TestCluster([Cart], silos=1, virtual_time=False) as cluster:
        for name, cart in (
            ("client", cluster.get_grain(Cart, "a")),
            ("silo", cluster.silos[0].get_grain(Cart, "a")),
        ):
            assert await cart.add() > 0  # the activation is there, and the connection is open
            said = await elsewhere(cart.add)
            assert said.startswith("WrongLoop: call to cart/a.add was not executed: ")
            assert f"this {name} belongs to another event loop" in said
            assert "asyncio.run_coroutine_threadsafe" in said
        assert await cluster.get_grain(Cart, "a").add() == 3  # neither of the foreign calls was executed


async def test_the_remedy_works() -> None:
    async with TestCluster([Cart], silos=1, virtual_time=False) as cluster:
        cart, loop = cluster.get_grain(Cart, "a"), asyncio.get_running_loop()
        assert await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(cart.add(), loop).result(30)) == 1


async def test_clients_and_silos_are_not_ended_or_awaited_from_another_loop() -> None:
    async with TestCluster([Cart], silos=1, virtual_time=False) as cluster:
        client, silo = cluster.client, cluster.silos[0]
        gateway = client.gateways[0]
        actions: list[Callable[[], Any]] = [
            lambda: client.__aexit__(None, None, None),
            lambda: client.wait_for([]),
            lambda: client.ask(gateway, "management.view"),
            lambda: client.call_json(cluster.get_grain(Cart, "a").id, "add", b"[]"),  # type: ignore[attr-defined]
            silo.stop,
            silo.kill,
            silo.declared_dead,
            silo.asked_to_stop,
            lambda: silo.wait_for([]),
        ]
        for action in actions:
            assert (await elsewhere(action)).startswith("WrongLoop: ")
        assert await cluster.get_grain(Cart, "a").add() == 1


async def test_references_are_made_anywhere() -> None:
    async with TestCluster([Cart], silos=1, virtual_time=False) as cluster:
        made = await asyncio.to_thread(lambda: (cluster.get_grain(Cart, "a"), cluster.silos[0].get_grain(Cart, "a")))
        assert [await cart.add() for cart in made] == [1, 2]


@pytest.mark.parametrize(
    "what",
    ["write", "read", "clear", "start_timer", "change", "deactivate_when_idle", "delay_deactivation", "call"],
)
async def test_a_grain_uses_its_state_and_timers_in_its_own_loop(what: str) -> None:
    async with TestCluster([Cart], silos=1, virtual_time=False) as cluster:
        cart = cluster.get_grain(Cart, "a")
        said = await cart.from_a_thread(what)
        assert said.startswith("WrongLoop: ")
        assert "this silo belongs to another event loop" in said
        assert await cart.add() == 1  # the same activation, undisturbed
        assert await cluster.get_grain(Cart, "other").add() == 1


def test_the_loop_of_an_earlier_run_is_named() -> None:
    kept: list[Cart] = []

    async def leave_a_reference() -> None:
        cluster = TestCluster([Cart], silos=1)
        async with cluster:
            kept.append(cluster.silos[0].get_grain(Cart, "a"))

    asyncio.run(leave_a_reference())
    with pytest.raises(WrongLoop, match=r"belongs to an event loop that is closed .* in the loop that uses it"):
        asyncio.run(kept[0].add())


async def test_a_call_after_the_client_ended_is_refused_at_once() -> None:
    async with TestCluster([Cart], silos=1) as cluster:
        client = Client([cluster.silos[0].gateway], transport=cluster.new_transport("other"))
        async with client:
            cart = client.get_grain(Cart, "a")
            assert await cart.add() == 1
        began = asyncio.get_running_loop().time()
        for call in (
            cart.add,
            lambda: client.get_grain(Cart, "a"),
            lambda: client.call_json(cart.id, "add", b"[]"),  # type: ignore[attr-defined]
            lambda: client.wait_for([]),
        ):
            with pytest.raises(CallerClosed, match="this client is closed") as raised:
                await call()
            assert isinstance(raised.value, CallNotExecuted)
            assert isinstance(raised.value, RuntimeError)
        assert asyncio.get_running_loop().time() == began
        assert await cluster.get_grain(Cart, "a").add() == 2


async def test_a_call_while_the_client_closes_is_refused_at_once() -> None:
    async with TestCluster([Cart], silos=1) as cluster:
        client = Client([cluster.silos[0].gateway], transport=cluster.new_transport("other"))
        await client.__aenter__()
        cart = client.get_grain(Cart, "a")
        assert await cart.add() == 1
        closing = asyncio.create_task(client.__aexit__(None, None, None))
        await asyncio.sleep(0)
        assert not closing.done()
        with pytest.raises(CallerClosed):
            await cart.add()
        await closing
        assert await cluster.get_grain(Cart, "a").add() == 2


async def test_calls_in_flight_end_when_their_client_ends() -> None:
    """One runs: its outcome is unknown. One waits for a silo: it has certainly not run."""
    async with TestCluster([Cart], silos=1) as cluster:
        client = Client([cluster.silos[0].gateway], transport=cluster.new_transport("other"))
        async with client:
            running = asyncio.create_task(client.get_grain(Cart, "a").hang())
            while (activation := cluster.activation(client.get_grain(Cart, "a"))) is None:
                await asyncio.sleep(0.01)
            assert activation.built is not None
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < 1
        with pytest.raises(ConnectionLost, match=r"call to cart/a\.hang: this client was closed before the answer"):
            await running


async def test_a_call_that_searches_for_a_silo_ends_when_its_client_ends() -> None:
    async with TestCluster([Cart], silos=1) as cluster:
        client = Client([cluster.silos[0].gateway], transport=cluster.new_transport("other"))
        async with client:
            await cluster.kill(cluster.silos[0])
            waiting = asyncio.create_task(client.get_grain(Cart, "a").add())
            await asyncio.sleep(2)
            assert not waiting.done()
            began = asyncio.get_running_loop().time()
        with pytest.raises(CallerClosed):
            await waiting
        assert asyncio.get_running_loop().time() - began < 1


@pytest.mark.parametrize("end", [Silo.stop, Silo.kill])
async def test_a_call_after_the_silo_ended_is_refused_at_once(end: Callable[[Silo], Awaitable[None]]) -> None:
    """By references of the silo and of its grains."""
    async with TestCluster([Cart], silos=2) as cluster:
        silo = cluster.silos.pop()
        own, of_a_grain = silo.get_grain(Cart, "a"), silo.get_grain(Cart, "b")
        await own.add()
        activation = cluster.activation(own) or next(silo.catalog.activations())
        assert activation.built is not None
        of_a_grain = (
            activation.built.grain.get_grain(Cart, "b") if activation.owner.deps.address == silo.address else own
        )
        await end(silo)
        began = asyncio.get_running_loop().time()
        for cart in (own, of_a_grain, silo.get_grain(Cart, "c")):
            with pytest.raises(CallerClosed, match="this silo is closed"):
                await cart.add()
        assert asyncio.get_running_loop().time() == began


async def test_a_client_connects_once() -> None:
    async with TestCluster([Cart], silos=1) as cluster:
        client = Client([cluster.silos[0].gateway], transport=cluster.new_transport("other"))
        async with client:
            with pytest.raises(RuntimeError, match="make a new Client"):
                await client.__aenter__()
            assert await client.get_grain(Cart, "a").add() == 1  # the second attempt did no harm
        with pytest.raises(RuntimeError, match="make a new Client"):
            await client.__aenter__()


async def test_a_client_that_was_not_entered_says_so() -> None:
    client = Client(["127.0.0.1:1"])
    for use in (
        lambda: client.get_grain(Cart, "a"),
        lambda: client.view,
        lambda: client.gateways,
    ):
        with pytest.raises(RuntimeError, match="not connected; use it inside `async with client:`"):
            use()
    with pytest.raises(RuntimeError, match="not connected"):
        await client.wait_for([])
