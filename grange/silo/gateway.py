"""Requests of clients: delivered to this silo's catalog, or relayed to the silo that hosts the grain.

A client sends to the silo that probably hosts the grain, so most requests go to the catalog of this silo. The silo's
caller relays the others, so a client needs to reach only one gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from grange.aio.tasks import Tasks
from grange.errors import (
    ActivationFailed,
    CallNotExecuted,
    CallOutcomeUnknown,
    ConnectionLost,
    NoSuchGrain,
    Overloaded,
    PayloadTooLarge,
    SiloStopped,
    SiloUnavailable,
)
from grange.grains.tick import HOOK
from grange.proto.clients import CLIENT_TYPE
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import Reason, Response
from grange.runtime.activations.catalog import Catalog, Target
from grange.runtime.calls.caller import Caller, Refusal
from grange.runtime.calls.link import Link, Pending
from grange.runtime.calls.sender import Sender
from grange.runtime.calls.wire_call import WireCall
from grange.runtime.requests.invocation import Invocation, cancelled
from grange.runtime.requests.refusal import REPEATED, Refused


class Gateway:
    """The entry of clients' requests in one silo. In order: `deliver`, `drain`, `close`."""

    def __init__(self, here: SiloAddress, caller: Caller, sender: Sender, catalog: Catalog) -> None:
        self._here = here
        self._caller = caller
        self._sender = sender
        self._catalog = catalog
        self._tasks = Tasks()
        self._posted: dict[asyncio.Future[Response], None] = {}  # an ordered set, because `close` cancels in order
        self._open = True

    def direct(self) -> Mapping[GrainId, Target]:
        """The grains of this silo, while the gateway is open."""
        return self._catalog.direct() if self._open else {}

    def deliver(self, call: WireCall) -> None:
        """Deliver or relay one request. Called by `Inbound` for each request of a client."""
        grain_id, wanted = call.grain_id, call.interface_version
        if not self._open:
            call.refuse(Refused(Reason.NOT_READY, f"the gateway of {self._here} is closing"))
        elif grain_id.type == CLIENT_TYPE:
            text = "only grains call observers; have a grain pass the call on"
            call.refuse(Refused(Reason.UNAUTHORIZED, text))
        elif call.method.startswith(HOOK):
            call.refuse(Refused(Reason.UNAUTHORIZED, "only silos deliver reminders and jobs"))
        elif self._catalog.find(grain_id) is not None or self._caller.target(grain_id, wanted) == self._here:
            self._catalog.deliver(call)  # it answers the client, also with a refusal
        elif (rules := self._catalog.authorization) is not None and (refused := rules.refusal(call)) is not None:
            call.refuse(refused)  # before it is sent on; the silo that it would reach decides again
        else:
            call.holder = self
            link = self._caller.link(grain_id, call)
            if link is None or not link.has_room():
                self._start_relay(call)
            else:
                self._post(call, link)

    async def drain(self) -> None:
        """Refuse further requests, and wait for the outcomes of the relayed ones."""
        self._open = False
        await self._wait_for_posted()
        await self._tasks.wait()

    async def close(self) -> None:
        """Refuse further requests, and cancel the relayed ones: their outcome is unknown."""
        self._open = False
        for answer in self._posted:
            answer.cancel()
        await self._wait_for_posted()
        await self._tasks.close()

    def status(self, call: Invocation) -> str:
        """`Holder`: the other silo knows more, but is not asked."""
        return f"relayed to another silo by the gateway of {self._here}"

    def withdraw(self, call: Invocation, interrupt: bool) -> None:
        """`Holder`: cancel the request at the silo that has it, and pass on its answer; or before it is sent."""
        assert isinstance(call, WireCall)
        if isinstance(call.carrier, Pending):
            call.carrier.link.cancel(call.carrier, interrupt)
        elif call.carrier is not None:
            call.carrier.cancel()

    def _post(self, call: WireCall, link: Link) -> None:
        """Relay a request in the usual case: its link is open and has room, so it needs no task."""
        try:
            pending = link.post(call.as_request(), call.deadline)
        except (SiloUnavailable, PayloadTooLarge) as error:
            self._fail(call, link, error)
            return
        call.carrier, answer = pending, pending.answer
        self._posted[answer] = None
        answer.add_done_callback(lambda _: self._on_answer(call, pending))

    def _on_answer(self, call: WireCall, pending: Pending) -> None:
        answer = pending.answer
        del self._posted[answer]
        if answer.cancelled():  # this silo stops
            pending.link.withdraw(pending, interrupt=False)
            call.fail_unknown(self._stopped())
        elif (error := answer.exception()) is not None:
            self._fail(call, pending.link, error)
        else:
            call.forward(answer.result())

    def _fail(self, call: WireCall, link: Link, error: BaseException) -> None:
        """Answer with the outcome of an attempt that failed, or leave its repetition to the retry loop."""
        if isinstance(error, Refused) and error.reason not in REPEATED:
            call.pass_on(error)
        elif isinstance(error, Refused | SiloUnavailable) and call.caller_gone:
            call.refuse(cancelled())  # its client went in the moment of the refusal, and waits for no other silo
        elif isinstance(error, Refused | SiloUnavailable):
            self._start_relay(call, (link.silo, error))
        else:
            self._answer(call, error)

    async def _wait_for_posted(self) -> None:
        while self._posted:
            await asyncio.wait(self._posted)
            await asyncio.sleep(0)  # until their callbacks have run

    def _start_relay(self, call: WireCall, refusal: Refusal | None = None) -> None:
        task = call.carrier = self._tasks.start(self._relay(call, refusal))
        # Here, not in the task: one that is cancelled before its first step runs nothing.
        task.add_done_callback(lambda _: self._on_relayed(call, task))

    def _on_relayed(self, call: WireCall, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            return
        if call.caller_gone and call.carrier is task:
            call.refuse(cancelled())  # no silo has it
        else:
            call.fail_unknown(self._stopped())

    async def _relay(self, call: WireCall, refusal: Refusal | None) -> None:
        """Call in the client's name, and answer with the outcome: result, refusal, or unknown."""

        async def attempt(target: SiloAddress) -> None:
            if call.caller_gone:
                call.refuse(cancelled())
            elif target == self._here:
                self._catalog.deliver(call)
            else:
                await self._send(call, target)

        try:
            await self._caller.repeat(call.grain_id, call.deadline, attempt, refusal, call=call)
        except Exception as error:
            if not self._answer(call, error):
                raise

    def _answer(self, call: WireCall, error: BaseException) -> bool:
        """Answer with an error: the client must get an answer. Returns whether the error was to be expected."""
        if isinstance(error, NoSuchGrain):
            call.refuse(Refused(Reason.NO_SUCH_GRAIN, str(error)))
        elif isinstance(error, PayloadTooLarge):
            call.refuse(Refused(Reason.PAYLOAD_TOO_LARGE, str(error)))
        elif isinstance(error, ActivationFailed):
            call.refuse(Refused(Reason.ACTIVATION_FAILED, str(error)))
        elif isinstance(error, Overloaded):  # the grain's placement found all silos full
            call.refuse(Refused(Reason.OVERLOADED, str(error), retry_after=error.retry_after))
        elif isinstance(error, CallNotExecuted):
            call.refuse(Refused(Reason.NOT_READY, str(error)))
        elif isinstance(error, CallOutcomeUnknown):
            call.fail_unknown(error)
        else:
            call.fail_unknown(ConnectionLost(str(error)))
            return False
        return True

    async def _send(self, call: WireCall, target: SiloAddress) -> None:
        task = call.carrier

        def posted(pending: Pending) -> None:
            call.carrier = pending

        try:
            call.forward(await self._sender.send(target, call.as_request(), call.deadline, posted))
        except (Refused, SiloUnavailable) as error:
            if isinstance(error, Refused) and error.reason not in REPEATED:
                call.pass_on(error)
                return
            call.carrier = task
            raise

    def _stopped(self) -> SiloStopped:
        return SiloStopped(f"the gateway of {self._here} stopped while it relayed the call")
