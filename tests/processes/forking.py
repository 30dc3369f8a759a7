"""A program that serves and calls a grain, and forks: `python -m tests.processes.forking WHAT`. Prints a line per fork.

A line is JSON: `said` by the child, `meanwhile` and `after` count the parent's calls [answered, failed]. WHAT may be
`PLACE-END`: an `os.fork` in the program's own task, another task or a grain, whose child ends by an exit or an error,
or goes on. Then `said` is the child's exit code. A second word `uvloop` runs the program in that loop.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import uvloop

from grange import Grain
from grange.client import Client
from grange.silo import Silo

ATTEMPTS = 3


class Cart(Grain):
    async def f(self) -> int:
        return 1

    async def fork(self, end: str) -> int:
        return fork(end)


def fork(end: str) -> int:
    process = os.fork()
    if process == 0 and end == "exit":
        sys.exit(9)
    if process == 0 and end == "error":
        raise ValueError("an error of the child")
    return process


async def fork_in_task(end: str) -> int:
    return fork(end)


async def enter_client(gateway: str) -> int:
    async with Client([gateway]) as client:
        return await client.get_grain(Cart, "a").f()


async def start_silo(_: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        async with Silo(grains=[Cart], port=0, gateway_port=0, data=folder) as silo:
            return await silo.get_grain(Cart, "a").f()


async def use_reference(reference: Cart) -> int:
    return await reference.f()


async def end_client(client: Client) -> None:
    await client.__aexit__(None, None, None)


async def stop_silo(silo: Silo) -> None:
    await silo.stop()


async def live(_: object) -> str:
    """A child that uses nothing of grange, and outlives a few calls of its parent."""
    await asyncio.sleep(0.3)
    return "nothing"


def child(use: Callable[[Any], Any], with_: Any, queue: Any) -> None:
    try:
        queue.put(f"answer {asyncio.run(use(with_))}")
    except BaseException as error:
        queue.put(f"{type(error).__name__}: {error}")


async def calls(cart: Cart, until: Callable[[int], bool]) -> tuple[int, int]:
    answered = failed = 0
    while not until(answered + failed):
        try:
            await asyncio.wait_for(cart.f(), 5)
            answered += 1
        except Exception:
            failed += 1
        await asyncio.sleep(0.01)
    return answered, failed


async def main(what: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with (
            Silo(grains=[Cart], port=0, gateway_port=0, data=folder) as silo,
            Client([silo.gateway]) as client,
        ):
            cart = client.get_grain(Cart, "a")
            await cart.f()
            uses: dict[str, tuple[Callable[[Any], Any], Any]] = {
                "client": (enter_client, silo.gateway),
                "silo": (start_silo, ""),
                "reference": (use_reference, cart),
                "end-client": (end_client, client),
                "stop-silo": (stop_silo, silo),
                "nothing": (live, None),
            }
            for _ in range(ATTEMPTS):
                if what in uses:
                    line = await one_fork(cart, *uses[what])
                else:
                    place, _, end = what.partition("-")
                    if place == "main":
                        process = fork(end)
                    elif place == "task":
                        process = await asyncio.create_task(fork_in_task(end))
                    else:
                        process = await silo.get_grain(Cart, "forks").fork(end)
                    line = await after_fork(cart, process)
                print(json.dumps(line), flush=True)


async def one_fork(cart: Cart, use: Callable[[Any], Any], with_: Any) -> dict[str, Any]:
    fork = multiprocessing.get_context("fork")
    queue = fork.SimpleQueue()
    process = fork.Process(target=child, args=(use, with_, queue))
    began = time.monotonic()
    process.start()
    meanwhile = await calls(cart, lambda _: not process.is_alive() or time.monotonic() - began > 20)
    said = queue.get() if not process.is_alive() else "the child hangs"
    process.kill()
    return {"said": said, "meanwhile": meanwhile, "after": await calls(cart, lambda number: number == 10)}


async def after_fork(cart: Cart, process: int) -> dict[str, Any]:
    if process == 0:  # the child went on
        await asyncio.sleep(3600)
    status = [0, 0]

    def ended() -> bool:
        status[:] = status if status[0] else os.waitpid(process, os.WNOHANG)
        return status[0] != 0

    began = time.monotonic()
    meanwhile = await calls(cart, lambda number: number >= 10 and (ended() or time.monotonic() - began > 20))
    said = f"exit code {os.waitstatus_to_exitcode(status[1])}" if status[0] else "the child lives"
    return {"said": said, "meanwhile": meanwhile, "after": await calls(cart, lambda number: number == 10)}


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if "uvloop" in sys.argv else None) as runner:
        runner.run(main(sys.argv[1]))
