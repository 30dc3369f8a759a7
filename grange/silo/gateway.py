"""Calls on behalf of outsiders: a client's request enters here and is called like any other.

A client sends to the silo that probably hosts the grain, so most requests go straight to this silo's catalog; the
others are carried on by the silo's caller, and a client never needs to reach more than one gateway.
"""

from __future__ import annotations

import asyncio

import msgspec

from grange.aio.tasks import Tasks
from grange.errors import (
    CallNotExecuted,
    CallOutcomeUnknown,
    ConfigurationError,
    ConnectionLost,
    NoSuchGrain,
    PayloadTooLarge,
    SiloStopped,
)
from grange.proto.ids import SiloAddress
from grange.proto.message import Reason
from grange.runtime.activations.catalog import Catalog
from grange.runtime.calls.caller import Caller
from grange.runtime.calls.inbound import WireCall
from grange.runtime.calls.sender import Sender
from grange.runtime.requests.deadlines import milliseconds_until
from grange.runtime.requests.invocation import Invocation
from grange.runtime.requests.refusal import REPEATED, Refused


class Gateway:
    """The clients' door of one silo."""

    def __init__(self, here: SiloAddress, caller: Caller, sender: Sender, catalog: Catalog) -> None:
        self._here = here
        self._caller = caller
        self._sender = sender
        self._catalog = catalog
        self._tasks = Tasks()
        self._open = True

    def deliver(self, call: WireCall) -> None:
        """Where Inbound brings clients' requests."""
        if not self._open:
            call.refuse(Refused(Reason.NOT_READY, f"the gateway of {self._here} is closing"))
        elif self._catalog.find(call.grain_id) is not None:
            self._catalog.deliver(call)
        else:
            call.status = self._status
            call.carrier = self._tasks.start(self._carry_on(call))

    async def drain(self) -> None:
        """Take no more requests, and wait until those that were carried on have their outcome."""
        self._open = False
        await self._tasks.wait()

    async def close(self) -> None:
        """Drop what is still in progress."""
        self._open = False
        await self._tasks.close()

    def _status(self, _: Invocation) -> str:
        return f"carried on to another silo by the gateway of {self._here}"

    async def _carry_on(self, call: WireCall) -> None:
        """Call in the client's name, and tell it exactly what is known of the outcome."""

        async def attempt(target: SiloAddress) -> None:
            if target == self._here:
                self._catalog.deliver(call)  # its outcome is the client's answer, a refusal included
            else:
                await self._forward(call, target)

        try:
            await self._caller.repeat(call.grain_id, call.deadline, attempt)
        except NoSuchGrain as error:
            call.refuse(Refused(Reason.NO_SUCH_GRAIN, str(error)))
        except PayloadTooLarge as error:
            call.refuse(Refused(Reason.PAYLOAD_TOO_LARGE, str(error)))
        except (CallNotExecuted, ConfigurationError) as error:  # the latter: a placement unknown to this silo
            call.refuse(Refused(Reason.NOT_READY, str(error)))
        except asyncio.CancelledError:  # its caller gave up, or this silo ends
            call.fail_unknown(SiloStopped(f"the gateway of {self._here}, which stops, carries it on no more"))
            raise
        except CallOutcomeUnknown as error:
            call.fail_unknown(error)
        except Exception as error:  # an answer must come; of any other end nothing is known
            call.fail_unknown(ConnectionLost(str(error)))
            raise

    async def _forward(self, call: WireCall, target: SiloAddress) -> None:
        request = msgspec.structs.replace(call.request, timeout_ms=milliseconds_until(call.deadline))
        try:
            call.forward(await self._sender.send(target, request, call.deadline))
        except Refused as refused:
            if refused.reason in REPEATED:
                raise
            call.refuse(refused)
