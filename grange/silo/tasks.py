"""The tasks of the event loop of one silo, with the stacks of those that wait: names and places in code, no values."""

from __future__ import annotations

import asyncio
from itertools import islice

import msgspec

from grange.aio.stacks import waiting_stack
from grange.proto.acts import Level
from grange.proto.ids import SiloAddress
from grange.proto.inspection import TASKS, TaskRow, Tasks
from grange.runtime.system_target import SystemTargets

MOST_TASKS = 200
"""Most tasks in one answer; `Tasks.total` tells how many there are."""

MOST_FRAMES = 12
"""Most lines of a stack, the innermost ones."""


def serve_tasks(targets: SystemTargets, address: SiloAddress) -> None:
    """Offer the system target."""

    async def answer(_: bytes) -> bytes:
        return msgspec.msgpack.encode(tasks_of_loop(address))

    targets.serve(TASKS, answer, Level.VIEWER)


def tasks_of_loop(address: SiloAddress) -> Tasks:
    """The tasks of the running loop; at most `MOST_TASKS` of them with their stacks."""
    tasks = asyncio.all_tasks()
    return Tasks(address, len(tasks), tuple(_row(task) for task in islice(tasks, MOST_TASKS)))


def _row(task: asyncio.Task[object]) -> TaskRow:
    code = getattr(task.get_coro(), "__qualname__", "")
    lines = waiting_stack(task).splitlines()
    return TaskRow(f"{task.get_name():.200}", f"{code:.200}", tuple(line[:300] for line in lines[-2 * MOST_FRAMES :]))
