"""`grange drain SILO`: start the stop of one silo through a client, show its progress, and report the outcome.

The silo to drain is asked at its own gateway port; any gateway of the cluster is enough to find it. It is gone when
another gateway shows it dead. The last silo of a cluster is gone when nothing answers at its port.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from grange.cli.asked_act import Ask, asked_act, refuse
from grange.client.questions import gateway_address
from grange.counted import counted
from grange.errors import CallError, ConfigurationError, ConnectionLost, GrangeError, HandshakeRefused, SiloUnavailable
from grange.membership.model.member import Member, SiloStatus, View
from grange.printable import printable
from grange.proto.acts import Act, Action
from grange.proto.management import DRAIN, VIEW, DrainState, Phase

ASK_TIMEOUT = 2.0
"""Seconds for one question. A draining silo is busy, but its event loop runs."""

POLL_INTERVAL = 0.2
"""Seconds between two questions about the progress."""


class Outcome(enum.StrEnum):
    """How a drain ended, as far as the command observed it. The values are part of the JSON output."""

    DRAINED = "drained"
    DEAD_BEFORE = "dead before"
    STARTED = "started"
    STILL_DRAINING = "still draining"


def member_named(view: View, text: str) -> Member:
    """The silo with this name, host:port (of either port) or address; of several generations, the newest.

    Raises ConfigurationError, with a list of the silos, for a text that names none or several.
    """
    fitting = [member for member in view.members if text in _names(member)]
    living = [member for member in fitting if member.status is not SiloStatus.DEAD]
    chosen = living or sorted(fitting, key=lambda member: member.address.generation)[-1:]
    if len(chosen) == 1:
        return chosen[0]
    known = [member for member in view.members if member.status is not SiloStatus.DEAD]
    listed = "; ".join(f"{member.name or member.address.endpoint} ({member.address})" for member in living or known)
    problem = f"{text!r} names {len(living)} silos" if living else f"no silo is named {text!r}"
    raise ConfigurationError(f"{problem}: {listed}. Name it by its name, host:port or address")


class RemoteDrain:
    """The drain of one silo, driven from a client. `state` is its last answer, `at_start` its activations at first."""

    def __init__(self, ask: Ask, view: View, member: Member, reason: str) -> None:
        self._ask = ask
        self._reason = reason
        self._view = view
        self._member = member
        self._gateway = gateway_address(member)
        self.state: DrainState | None = None
        self.at_start = 0

    async def begin(self) -> None:
        """Start the drain, or find that it has started.

        Raises CallError or HandshakeRefused when the silo cannot be asked, or refuses. A silo that already refuses
        connections because it drains needs no question.
        """
        try:
            acted = await asked_act(self._ask, self._gateway, Act(Action.DRAIN, reason=self._reason), ASK_TIMEOUT)
            self.at_start = acted.count
            self.state = await self._question()
            if self.state.phase is Phase.SERVING:
                refuse(acted)
        except SiloUnavailable as error:
            if not _is_leaving(error) and not await self.gone():
                raise

    async def follow(self, report: Callable[[DrainState], None]) -> None:
        """Ask for the progress until the silo is gone; `report` gets each answer."""
        while True:
            try:
                self.state = await self._question()
                report(self.state)
            except (CallError, HandshakeRefused):
                if await self.gone():
                    return
            await asyncio.sleep(POLL_INTERVAL)

    async def gone(self) -> bool:
        """Whether the silo has ended: by the view of another gateway, else by its closed port."""
        others = [gateway_address(each) for each in self._view.gateways if each.address != self._member.address]
        for gateway in others:
            try:
                view = msgspec.msgpack.decode(await self._ask(gateway, VIEW, b"", ASK_TIMEOUT), type=View)
            except (CallError, HandshakeRefused):
                continue
            return view.get(self._member.address) is None or view.is_dead(self._member.address)
        try:
            await self._question()
        except ConnectionLost:
            return False  # undecided; the caller asks again
        except SiloUnavailable as error:
            return not isinstance(error.__cause__, HandshakeRefused)
        except GrangeError:
            return False
        return False

    async def _question(self) -> DrainState:
        return msgspec.msgpack.decode(await self._ask(self._gateway, DRAIN, b"", ASK_TIMEOUT), type=DrainState)


class DrainCommand:
    """One run of the command. Raises ConfigurationError when `text` names no silo or several."""

    def __init__(self, ask: Ask, view: View, text: str, reason: str, show_progress: bool) -> None:
        self._member = member_named(view, text)
        self._drain = RemoteDrain(ask, view, self._member, reason)
        self._bar = _ProgressBar(self._member.name or str(self._member.address)) if show_progress else None
        self._was_leaving = self._member.status is SiloStatus.LEAVING
        self._activations = 0
        self._seconds = 0.0
        self._outcome = Outcome.STARTED

    @property
    def done(self) -> bool:
        """Whether the command did what was asked: started the drain, or watched it to its end."""
        return self._outcome is not Outcome.STILL_DRAINING

    async def run(self, timeout: float | None) -> None:
        """Start the drain, and watch it for at most `timeout` seconds; None: do not watch."""
        if self._member.status is SiloStatus.DEAD:
            self._outcome = Outcome.DEAD_BEFORE
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._drain.begin()
        self._activations = self._drain.at_start
        if self._drain.state is not None:
            self._on_progress(self._drain.state)
        if timeout is not None:
            await self._follow(timeout)
            self._seconds = loop.time() - began

    async def _follow(self, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._drain.follow(self._on_progress)
            self._outcome = Outcome.DRAINED
        except TimeoutError:
            self._outcome = Outcome.STILL_DRAINING
        finally:
            if self._bar is not None:
                self._bar.close()

    def _on_progress(self, state: DrainState) -> None:
        self._activations = max(self._activations, state.activations)
        if self._bar is not None:
            self._bar.show(state, self._activations)

    def facts(self) -> dict[str, Any]:
        """The outcome for programs. `activations`: how many there were; `left`: activations and requests left now."""
        state = self._drain.state
        over = state is None or self._outcome in (Outcome.DRAINED, Outcome.DEAD_BEFORE)
        return {
            "address": str(self._member.address),
            "name": self._member.name,
            "outcome": str(self._outcome),
            "was_leaving": self._was_leaving,
            "phase": str(Phase.STOPPED if over or state is None else state.phase),
            "seconds": round(self._seconds, 2),
            "activations": self._activations,
            "left": {"activations": 0, "requests": 0}
            if over or state is None
            else {"activations": state.activations, "requests": state.requests},
        }

    def text(self) -> str:
        """The outcome for people."""
        silo, state = f"silo {self._member.name or ''} ({self._member.address})".replace("  ", " "), self._drain.state
        already = ", which was leaving already," if self._was_leaving else ""
        if self._outcome is Outcome.DEAD_BEFORE:
            return f"{silo} is dead already; there is nothing to drain"
        if self._outcome is Outcome.DRAINED:
            moved = counted(self._activations, "activation")
            return f"{silo}{already} is gone after {self._seconds:.1f} s; {moved} left it"
        left = "" if state is None else f": {state.phase}, {_rest(state)}"
        if self._outcome is Outcome.STARTED:
            return f"{silo}{already} drains{left}"
        return f"{silo}{already} still drains after {self._seconds:.1f} s{left}; the drain continues"


class _ProgressBar:
    """A bar on standard error if that is a terminal; nothing elsewhere, so that scripts get one line."""

    def __init__(self, name: str) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[left]}"),
            TimeElapsedColumn(),
        )
        self._console = Console(stderr=True, highlight=False, markup=False)
        self._progress = Progress(*columns, console=self._console, transient=True)
        self._name = printable(name)
        self._task: TaskID | None = None

    def show(self, state: DrainState, activations: int) -> None:
        """Show the remaining activations and requests; `activations` is the number at the start."""
        if not self._console.is_terminal:
            return
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task(self._name, total=None, left="")
        left = f"{_rest(state)} left"
        text, total = f"{self._name}: {state.phase}", max(1, activations)
        self._progress.update(self._task, description=text, total=total, completed=total - state.activations, left=left)

    def close(self) -> None:
        """Remove the bar; the line with the outcome stays."""
        if self._task is not None:
            self._progress.stop()


def _rest(state: DrainState) -> str:
    return f"{counted(state.activations, 'activation')}, {counted(state.requests, 'request')}"


def _names(member: Member) -> tuple[str, ...]:
    address = member.address
    return member.name, address.endpoint, str(address), gateway_address(member).endpoint, str(gateway_address(member))


def _is_leaving(error: SiloUnavailable) -> bool:
    return isinstance(error.__cause__, HandshakeRefused) and error.__cause__.code == "leaving"
