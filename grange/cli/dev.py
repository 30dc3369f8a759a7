"""A cluster of several silo processes on this machine, for development: `grange dev`.

Each silo is a process of its own, `grange run`, in a session of its own. So Ctrl-C reaches only this process, which
stops the silos one after another. Each silo also stops when this process ends, in any way: its standard input closes.
When a file of the application changes, the silos are reloaded one after another (`local_silo.py`).
"""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
from collections.abc import Iterator
from contextlib import aclosing, suppress
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from grange.admin_token import FILE
from grange.cli.changed_files import Version, can_watch, changes, version_of
from grange.cli.configured_here import configured_here
from grange.cli.dev_folder import dev_folder
from grange.cli.exit_codes import ExitCode
from grange.cli.here import plain_here
from grange.cli.local_silo import KILL_SIGNAL, STOP_SIGNAL, LocalSilo, Write, meaning_of
from grange.cli.process import StopSignals
from grange.cli.token import find_token
from grange.databases.urls import sqlite_url
from grange.errors import ConfigurationError

FIRST_PORT = 11111
FIRST_GATEWAY = 30000
FIRST_HTTP = 8080

STOP_SPREAD = 1.5
"""Seconds within which all silos are asked to stop; with `REACTION_TIMEOUT` below the 5 s that Ctrl-C may take."""

COMMAND_GRACE = 0.8
"""Seconds for the commands beside the silos to end; those that ignore the signal are killed then."""

_HOST = "127.0.0.1"


class DevOptions(msgspec.Struct, frozen=True):
    """`app` as module:silo, the names of the silos, the folder for their state, and their log level.

    `reload`: whether a changed file reloads the silos. `commands` run beside them once all are active; in a command,
    `{gateways}` stands for the gateways, separated by commas.
    """

    app: str
    names: list[str]
    data: Path
    log_level: str
    reload: bool = True
    commands: tuple[str, ...] = ()


class LocalCluster:
    """The silos of one `grange dev`, on free ports of this machine."""

    def __init__(self, options: DevOptions, write: Write) -> None:
        self._options = options
        self._write = write
        ports = free_ports(len(options.names))
        self._silos = [LocalSilo(name, *own, write) for name, own in zip(options.names, ports, strict=True)]
        self._running: dict[asyncio.Task[int], LocalSilo] = {}
        self._commands: set[asyncio.subprocess.Process] = set()
        self._has_failed = False  # the last reload

    async def run(self, signals: StopSignals) -> int:
        """Run all silos until a signal asks for a stop; returns the exit code of the first silo that failed."""
        stop = asyncio.create_task(signals.attach().wait())
        with dev_folder() as folder:
            arguments = self._arguments(sqlite_url(folder / "cluster.db"))
            for silo in self._silos:
                self._running[asyncio.create_task(silo.run(arguments))] = silo
            beside = asyncio.create_task(self._once_active(arguments))
            try:
                return await self._watch(stop)
            finally:
                stop.cancel()
                beside.cancel()
                await asyncio.wait((beside,))
                await self._stop()

    async def _watch(self, stop: asyncio.Task[Any]) -> int:
        """Wait for the stop, or until no silo is left; returns 0 or the first exit code."""
        failed: list[tuple[LocalSilo, int]] = []
        while self._running and not stop.done():
            await asyncio.wait((stop, *self._running), return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in self._running if task.done()]:
                silo = self._running.pop(task)
                self._write(silo.name, f"ended: {meaning_of(task.result())}")
                failed.append((silo, task.result() or ExitCode.FAILED))
        if stop.done():
            return 0
        self._show_failures(failed)
        return failed[0][1]

    def _show_failures(self, failed: list[tuple[LocalSilo, int]]) -> None:
        """Repeat the last lines of the silos that failed, because the output of the others came after them."""
        for silo, code in failed:
            self._write("", f"{silo.name} failed: {meaning_of(code)}. Its last lines:")
            for line in silo.process.last if silo.process is not None else ():
                self._write("", f"  {line}")

    async def _once_active(self, arguments: list[str]) -> None:
        """Tell how to use the cluster, run the commands beside it, and reload it when a file changes."""
        for silo in self._silos:
            await silo.active.wait()
        self._show_instructions()
        async with asyncio.TaskGroup() as group:
            for command in self._options.commands:
                group.create_task(self._run_beside(command))
            if self._options.reload:
                group.create_task(self._reload_on_change(arguments))

    async def _reload_on_change(self, arguments: list[str]) -> None:
        if not can_watch():
            self._write("", "a changed file reloads nothing: pip install 'grange[dev]' brings what watches files")
            return
        try:
            async with aclosing(changes(self._files)) as batches:
                async for batch in batches:
                    await self._reload(_names(batch), arguments)
        except Exception as error:  # such as a limit of the system; the silos serve on
            self._write("", f"a changed file reloads nothing from now on, because watching failed: {error!r}")

    def _files(self) -> dict[Path, Version]:
        """The files of the application that some silo has imported.

        After a reload that failed, also those beside them: the new code may have failed in a module that is new.
        """
        running = [silo.process.files for silo in self._silos if silo.process is not None]
        files: dict[Path, Version] = {}
        for path, version in (item for imported in running for item in imported.items()):
            files[path] = min(version, files.get(path, version), key=lambda each: each or (0, 0))  # a silo may have it
        if self._has_failed:
            beside = [path for folder in {path.parent for path in files} for path in folder.glob("*.py")]
            files = {path: version_of(path) for path in beside} | files
        return files

    async def _reload(self, changed: str, arguments: list[str]) -> None:
        """Reload the silos one after another, so that the others serve; stop at the first that fails."""
        self._write("", f"{changed} changed: reloading")
        began = asyncio.get_running_loop().time()
        for silo in self._silos:
            if silo not in self._running.values():
                continue  # it has ended, perhaps while another was reloaded
            self._has_failed = not await silo.reload(arguments)
            if self._has_failed:
                self._write("", f"{silo.name} was not reloaded: its lines above say why; correct the file and save it")
                return
        self._write("", f"reloaded after {asyncio.get_running_loop().time() - began:.1f} s")

    async def _run_beside(self, command: str) -> None:
        """Run a command of the user until it ends, or until this is cancelled."""
        gateways = ",".join(silo.gateway for silo in self._silos)
        process = await asyncio.create_subprocess_shell(command.replace("{gateways}", gateways), start_new_session=True)
        self._commands.add(process)
        try:
            code = await process.wait()
            self._write("", f"{command!r} ended: {meaning_of(code)}")
        finally:
            _send(process, STOP_SIGNAL)
            try:
                async with asyncio.timeout(COMMAND_GRACE):
                    await process.wait()
            except TimeoutError:
                _send(process, KILL_SIGNAL)
                await process.wait()
            self._commands.discard(process)

    async def _stop(self) -> None:
        """Stop the silos one after another, so that each hands its grains over to the rest.

        The next one is asked to stop after `STOP_SPREAD` in all at the latest: one whose event loop is dead must not
        hold up the others. When such a silo was ended by force, there is no cluster to hand over to: kill the rest.
        """
        for task, silo in reversed(self._running.items()):
            silo.stop()
            await asyncio.wait((task,), timeout=STOP_SPREAD / len(self._running))
        while left := [task for task in self._running if not task.done()]:
            await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            if any(task.done() and task.result() == ExitCode.LOOP_DEAD for task in self._running):
                self.kill()
        for task, silo in reversed(self._running.items()):
            self._write(silo.name, "stopped" if task.result() == 0 else f"ended: {meaning_of(task.result())}")

    def kill(self) -> None:
        """End all silos and commands at once."""
        for silo in self._silos:
            silo.kill()
        for command in self._commands:
            _send(command, KILL_SIGNAL)

    def _show_instructions(self) -> None:
        names = ", ".join(silo.name for silo in self._silos)
        self._write("", f"{names}: one cluster. State is kept in {self._options.data}.")
        self._write("", f"The dashboard: {_dashboard(self._silos[0].http, self._options.data)}")
        self._write("", "Try, from another shell:")
        # Also for the usual port: without the option, a command asks the cluster that is configured in that shell.
        for command in ("status", "grains", "call TYPE/KEY METHOD '[ARGUMENTS]'"):
            self._write("", f"  grange {command} --gateway {self._silos[0].gateway}{self._token_file()}")
        self._write("", "Ctrl-C stops all.")

    def _token_file(self) -> str:
        """The option that names the token of the folder, unless a command finds it by itself."""
        path = self._options.data / FILE
        return "" if self._options.data == Path(".grange") else f" --token-file {shlex.quote(str(path))}"

    def _arguments(self, table: str) -> list[str]:
        options = self._options
        return [
            options.app,
            *("--membership", table, "--data", str(options.data)),
            *("--log-level", options.log_level),
        ]


def _send(command: asyncio.subprocess.Process, number: int) -> None:
    """Send a signal to a command and the processes that it started, if it runs."""
    if command.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(command.pid, number) if os.name == "posix" else command.send_signal(number)


def _dashboard(place: str, data: Path) -> str:
    """The URL of the dashboard, with the token that opens it."""
    given = {"data": str(data)}
    here = plain_here(given) or configured_here(given)
    url = f"{here.scheme}://{place}/"
    token = find_token(here, "", [place], is_own_table=True)
    return f"{url}#token={token}" if token else url


def _names(files: set[Path]) -> str:
    return ", ".join(sorted(os.path.relpath(path) for path in files))


def free_ports(silos: int) -> list[tuple[int, int, int]]:
    """A silo, a gateway and an admin port for each silo: the default ports and those above, without ports in use."""
    ports, gateways, https = map(_free_from, (FIRST_PORT, FIRST_GATEWAY, FIRST_HTTP))
    return [(next(ports), next(gateways), next(https)) for _ in range(silos)]


def _free_from(first: int) -> Iterator[int]:
    for port in count(first):
        if port > 65535:
            raise ConfigurationError(f"no free port from {first} upwards")
        with socket.socket() as probe:
            # On POSIX, a port whose connections were just closed counts as free. On Windows the option would take the
            # port from its owner.
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, port))
            except OSError:
                continue
        yield port
