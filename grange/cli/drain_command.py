"""`grange drain SILO`: start the drain, show how far it is, and say how it ended."""

from __future__ import annotations

import asyncio
import enum
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from grange.cli.drain_watch import DrainWatch, member_named
from grange.cli.inspect import Ask
from grange.membership.model.member import SiloStatus, View
from grange.silo.shutdown import DrainState, Phase


class Outcome(enum.StrEnum):
    """How a drain ended, as far as the command saw it."""

    DRAINED = "drained"
    DEAD_BEFORE = "dead before"
    STARTED = "started"
    STILL_DRAINING = "still draining"


class Draining:
    """One run of the command. Raises ConfigurationError when `text` names no silo or several."""

    def __init__(self, ask: Ask, view: View, text: str, for_people: bool) -> None:
        self._member = member_named(view, text)
        self._watch = DrainWatch(ask, view, self._member)
        self._bar = _Bar(self._member.name or str(self._member.address)) if for_people else None
        self._was_leaving = self._member.status is SiloStatus.LEAVING
        self._activations = 0
        self._seconds = 0.0
        self._outcome = Outcome.STARTED

    @property
    def done(self) -> bool:
        """Whether what was asked for has come true."""
        return self._outcome is not Outcome.STILL_DRAINING

    async def run(self, timeout: float | None) -> None:
        """Begin, and watch for at most `timeout` seconds (None: do not watch)."""
        if self._member.status is SiloStatus.DEAD:
            self._outcome = Outcome.DEAD_BEFORE
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._watch.begin()
        if self._watch.state is not None:
            self._see(self._watch.state)
        if timeout is not None:
            await self._follow(timeout)
            self._seconds = loop.time() - began

    async def _follow(self, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._watch.follow(self._see)
            self._outcome = Outcome.DRAINED
        except TimeoutError:
            self._outcome = Outcome.STILL_DRAINING
        finally:
            if self._bar is not None:
                self._bar.close()

    def _see(self, state: DrainState) -> None:
        self._activations = max(self._activations, state.activations)
        if self._bar is not None:
            self._bar.show(state, self._activations)

    def facts(self) -> dict[str, Any]:
        """For programs. `activations` is how many there were, `left` how many of them and of requests are left."""
        state = self._watch.state
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
        """For people."""
        silo, state = f"silo {self._member.name or ''} ({self._member.address})".replace("  ", " "), self._watch.state
        already = ", which was leaving already," if self._was_leaving else ""
        if self._outcome is Outcome.DEAD_BEFORE:
            return f"{silo} is dead already; there is nothing to drain"
        if self._outcome is Outcome.DRAINED:
            return f"{silo}{already} is gone after {self._seconds:.1f} s; {self._activations} activations left it"
        left = "" if state is None else f": {state.phase}, {state.activations} activations, {state.requests} requests"
        if self._outcome is Outcome.STARTED:
            return f"{silo}{already} drains{left}"
        return f"{silo}{already} still drains after {self._seconds:.1f} s{left}; it goes on by itself"


class _Bar:
    """A bar on standard error where that is a terminal; nothing elsewhere, so that scripts get one line."""

    def __init__(self, name: str) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[left]}"),
            TimeElapsedColumn(),
        )
        self._console = Console(stderr=True, highlight=False, markup=False)
        self._progress = Progress(*columns, console=self._console, transient=True)
        self._name = name
        self._task: TaskID | None = None

    def show(self, state: DrainState, activations: int) -> None:
        """What is left of so many."""
        if not self._console.is_terminal:
            return
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task(self._name, total=None, left="")
        left = f"{state.activations} activations, {state.requests} requests left"
        text, total = f"{self._name}: {state.phase}", max(1, activations)
        self._progress.update(self._task, description=text, total=total, completed=total - state.activations, left=left)

    def close(self) -> None:
        """The bar goes; the line that says how it ended stays."""
        if self._task is not None:
            self._progress.stop()
