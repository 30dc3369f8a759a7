"""Requests of clients: delivered to this silo's catalog, or relayed to the silo that hosts the grain.

A client sends to the silo that probably hosts the grain, so most requests go to the catalog of this silo. The silo's
caller relays the others, so a client needs to reach only one gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

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
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import Reason
from grange.runtime.activations.catalog import Catalog, Target
from grange.runtime.calls.caller import Caller
from grange.runtime.calls.sender import Sender
from grange.runtime.calls.wire_call import WireCall
from grange.runtime.requests.deadlines import milliseconds_until
from grange.runtime.requests.invocation import Invocation
from grange.runtime.requests.refusal import REPEATED, Refused


class Gateway:
    """The entry of clients' requests in one silo. In order: `deliver`, `drain`, `close`."""

    def __init__(self, here: SiloAddress, caller: Caller, sender: Sender, catalog: Catalog) -> None:
        self._here = here
        self._caller = caller
        self._sender = sender
        self._catalog = catalog
        self._tasks = Tasks()
        self._open = True

    def direct(self) -> Mapping[GrainId, Target]:
        """The grains of this silo, while the gateway is open."""
        return self._catalog.direct() if self._open else {}

    def deliver(self, call: WireCall) -> None:
        """Deliver or relay one request. Called by `Inbound` for each request of a client."""
        if not self._open:
            call.refuse(Refused(Reason.NOT_READY, f"the gateway of {self._here} is closing"))
        elif self._catalog.find(call.grain_id) is not None:
            self._catalog.deliver(call)
        else:
            call.holder = self
            call.carrier = self._tasks.start(self._relay(call))

    async def drain(self) -> None:
        """Refuse further requests, and wait for the outcomes of the relayed ones."""
        self._open = False
        await self._tasks.wait()

    async def close(self) -> None:
        """Refuse further requests, and cancel the relayed ones: their outcome is unknown."""
        self._open = False
        await self._tasks.close()

    def status(self, call: Invocation) -> str:
        """`Holder`: the other silo knows more, but is not asked."""
        return f"relayed to another silo by the gateway of {self._here}"

    def withdraw(self, call: Invocation) -> None:
        """`Holder`: do nothing. `WireCall.abandon` cancels the task that relays the request."""

    async def _relay(self, call: WireCall) -> None:
        """Call in the client's name, and answer with the outcome: result, refusal, or unknown."""

        async def attempt(target: SiloAddress) -> None:
            if target == self._here:
                self._catalog.deliver(call)  # the catalog answers the client, also with a refusal
            else:
                await self._send(call, target)

        try:
            await self._caller.repeat(call.grain_id, call.deadline, attempt)
        except NoSuchGrain as error:
            call.refuse(Refused(Reason.NO_SUCH_GRAIN, str(error)))
        except PayloadTooLarge as error:
            call.refuse(Refused(Reason.PAYLOAD_TOO_LARGE, str(error)))
        except (CallNotExecuted, ConfigurationError) as error:  # ConfigurationError: a placement unknown to this silo
            call.refuse(Refused(Reason.NOT_READY, str(error)))
        except asyncio.CancelledError:  # the client cancelled, or this silo stops
            call.fail_unknown(SiloStopped(f"the gateway of {self._here} stopped while it relayed the call"))
            raise
        except CallOutcomeUnknown as error:
            call.fail_unknown(error)
        except Exception as error:  # the client must get an answer; the outcome is unknown
            call.fail_unknown(ConnectionLost(str(error)))
            raise

    async def _send(self, call: WireCall, target: SiloAddress) -> None:
        request = msgspec.structs.replace(call.request, timeout_ms=milliseconds_until(call.deadline))
        try:
            call.forward(await self._sender.send(target, request, call.deadline))
        except Refused as refused:
            if refused.reason in REPEATED:
                raise
            call.refuse(refused)
