"""The items of a streamed method as lines of JSON, printed as they come."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from grange.cli.streams import json_text, write
from grange.client.client import Client
from grange.errors import CallNotExecuted, CallOutcomeUnknown, EnumerationAborted
from grange.grains.items import FETCH_TIMEOUT, HIDDEN, MOST_ITEMS, State
from grange.proto.ids import GrainId

CLOSE_TIMEOUT = 5.0
"""Seconds to end an enumeration that is left early; the silo ends it later in any case."""


class JsonBatch(msgspec.Struct):
    """A batch of a streamed method in JSON (docs/wire.md)."""

    number: int = msgspec.field(name="$enumeration")
    state: int
    items: list[msgspec.Raw]
    note: str = ""


def is_batch(answer: bytes) -> bool:
    """Whether the answer of a call is the first batch of a streamed method."""
    return answer.startswith(b'{"$enumeration":')


async def print_items(client: Client, grain_id: GrainId, method: str, answer: bytes) -> None:
    """Print the items of this first batch, and of all that follow, each on a line. Ends the enumeration if it is left.

    Raises the error of the generator, EnumerationAborted, and OutputLost.
    """
    batch = msgspec.json.decode(answer, type=JsonBatch)
    try:
        while True:
            for item in batch.items:
                write(json_text(bytes(item)))
            if batch.state != State.MORE:
                break
            arguments = msgspec.json.encode([batch.number, MOST_ITEMS])
            answer = await client.call_json(grain_id, f"{HIDDEN}next.{method}", arguments, FETCH_TIMEOUT)
            batch = msgspec.json.decode(answer, type=JsonBatch)
    finally:
        if batch.state == State.MORE:
            with suppress(CallNotExecuted, CallOutcomeUnknown):
                end = msgspec.json.encode([batch.number])
                await client.call_json(grain_id, f"{HIDDEN}close.{method}", end, CLOSE_TIMEOUT)
    if batch.state == State.ABORTED:
        raise EnumerationAborted(f"the enumeration of {grain_id}.{method} ended early: {batch.note}")
