"""The request of a timer: `activations/timers.py` makes one for each tick."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from grange.errors import CallOutcomeUnknown
from grange.proto.message import Reason
from grange.runtime.requests.invocation import Invocation, log
from grange.runtime.requests.plan import MethodPlan
from grange.runtime.requests.refusal import Refused


class Tick(Invocation):
    """One tick of a timer: a queued request of its own activation, without a caller."""

    callback: Callable[[], Awaitable[None]]
    ended: Callable[[], None]
    postpone: Callable[[], None]

    def arguments(self, plan: MethodPlan) -> tuple[Any, ...]:
        """No arguments."""
        return ()

    def invoke(self, grain: Any, plan: MethodPlan | None) -> Awaitable[Any]:
        """Start the timer's callback."""
        return self.callback()

    def succeed(self, plan: MethodPlan | None, value: Any) -> None:
        """Schedule the next tick."""
        self.ended()

    def fail(self, error: BaseException) -> None:
        """Log the error and schedule the next tick."""
        log.error(
            "timer of %s failed", self.grain_id, exc_info=error,
            extra={"event": "timer_failed", "grain_type": self.grain_id.type},
        )  # fmt: skip
        self.ended()

    def fail_unknown(self, error: CallOutcomeUnknown) -> None:
        """Do nothing: a tick has no caller."""

    def refuse(self, refused: Refused) -> None:
        """Drop this tick. A fenced silo's tick is tried again later, because no other silo runs it.

        After a full mailbox the next tick is scheduled; a gone activation has no timers.
        """
        if refused.reason is Reason.NOT_READY:
            self.postpone()
        elif refused.reason is not Reason.NOT_HERE:
            self.ended()
