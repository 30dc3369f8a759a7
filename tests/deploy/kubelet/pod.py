"""One pod: a silo in a network namespace, with the environment, files and rights of its container, and its probes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from tests.deploy.kubelet.pod_spec import PodSpec
from tests.deploy.kubelet.probe import ProbeSpec, Verdict, answers
from tests.processes.faults.network import HUB, Namespaces
from tests.processes.silo_process import ROOT

BACKOFF = (1.0, 2.0, 4.0, 8.0)
"""Seconds before a restart. A real kubelet waits 10 s, 20 s and so on: this one is in a hurry."""

CONTAINER = """
set -e
folder=$1; user=$2; secrets=$3; scratch=$4; home=$5; kept=$6; shift 6
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p "$secrets" /run/app
cp "$folder"/secrets/* "$secrets"
chgrp "$user" "$secrets"/*
chmod 440 "$secrets"/*
keep() {
    number=0; IFS=:
    for path in $kept; do number=$((number + 1)); "$1" "$path" /run/kept/$number; done
    unset IFS
}
save() { mkdir -p "$2"; mount --bind "$1" "$2"; }
show() { mkdir -p "$1"; mount --bind "$2" "$1"; }
keep save
if [ -n "$kept" ]; then mount -t tmpfs -o mode=755 tmpfs "$home"; fi
mount --bind "$folder"/tmp "$scratch"
keep show
mount -o remount,bind,ro /
cd /run/app
exec setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all -- "$@"
"""
"""The container: secrets in memory, a read-only root, an empty folder, another user, no capability.

The home of the user of the tests is covered, because it may be closed to that user. The interpreter and the checkout
stay visible if they are in it, or in the folder that the container may write.
"""


class Pod:
    """A pod from its start to its deletion. `run` is its life, `delete` its end; both belong to the cluster's tasks."""

    def __init__(self, spec: PodSpec, network: Namespaces, place: str, folder: Path, revision: int) -> None:
        self.spec = spec
        self.revision = revision
        self.restarts = 0
        self.codes: list[int] = []
        """Exit codes of all its processes, in order."""
        self.ready_since: float | None = None
        self.terminating = False
        self.liveness = Verdict(spec.liveness)
        self._network = network
        self._place = place
        self._folder = folder
        self._deleted = asyncio.Event()

    @property
    def ready(self) -> bool:
        return self.ready_since is not None and not self.terminating

    @property
    def log(self) -> str:
        """What it wrote, of all its processes."""
        return (self._folder / "log").read_text(errors="replace")

    async def run(self) -> None:
        """Start the container, start it again when it ends, and return after the deletion."""
        await self._network.add(self._place)
        try:
            self._prepare()
            while not self.terminating:
                await self._run_once()
                if not self.terminating:
                    await self._wait_deleted(BACKOFF[min(self.restarts, len(BACKOFF) - 1)])
                    self.restarts += 1
        finally:
            await self._network.remove(self._place)

    def delete(self) -> None:
        """Begin its end: `run` does the rest."""
        self.terminating = True
        self._deleted.set()

    async def _run_once(self) -> None:
        process = await self._start()
        ended = asyncio.create_task(process.wait())
        watching = asyncio.create_task(self._watch())
        deleted = asyncio.create_task(self._deleted.wait())
        try:
            await asyncio.wait((ended, watching, deleted), return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                await self._stop(process, ended)
            self.codes.append(await ended)
        finally:
            self.ready_since = None
            for task in (watching, deleted):
                task.cancel()
            if process.returncode is None:
                process.kill()
            await asyncio.wait((ended, watching, deleted))
        if not watching.cancelled():
            watching.result()

    async def _stop(self, process: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> None:
        """preStop, SIGTERM, the rest of the grace, SIGKILL. Also for a pod whose liveness failed."""
        loop = asyncio.get_running_loop()
        kill_at = loop.time() + self.spec.grace
        await asyncio.wait((ended,), timeout=self.spec.pre_stop)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        done, _ = await asyncio.wait((ended,), timeout=kill_at - loop.time())
        if not done:
            process.kill()

    async def _watch(self) -> None:
        """Probe until a probe decides that the container must end."""
        startup = Verdict(self.spec.startup)
        while not startup.passes:
            startup.record(await self._ask(self.spec.startup))
            if startup.fails:
                return
            if not startup.passes:
                await asyncio.sleep(self.spec.startup.period)
        self.liveness = Verdict(self.spec.liveness)
        readiness = asyncio.create_task(self._watch_readiness())
        try:
            while not self.liveness.fails:
                self.liveness.record(await self._ask(self.spec.liveness))
                await asyncio.sleep(self.spec.liveness.period)
        finally:
            readiness.cancel()
            await asyncio.wait((readiness,))

    async def _watch_readiness(self) -> None:
        verdict = Verdict(self.spec.readiness)
        while True:
            verdict.record(await self._ask(self.spec.readiness))
            if not verdict.passes:
                self.ready_since = None
            elif self.ready_since is None:
                self.ready_since = asyncio.get_running_loop().time()
            await asyncio.sleep(self.spec.readiness.period)

    async def _ask(self, probe: ProbeSpec) -> bool:
        return await answers(lambda: self._network.socket(HUB), self.spec.ip, probe)

    async def _wait_deleted(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._deleted.wait()

    def _prepare(self) -> None:
        for name in ("secrets", "tmp"):
            (self._folder / name).mkdir(parents=True)
        (self._folder / "tmp").chmod(0o1777)
        for path, text in self.spec.files.items():
            (self._folder / "secrets" / path).write_text(text)

    async def _start(self) -> asyncio.subprocess.Process:
        spec = self.spec
        container = ("sh", "-c", CONTAINER, "sh", str(self._folder), str(spec.user), spec.secrets_at, spec.scratch_at)
        needed = {Path(path).resolve() for path in (sys.base_prefix, sys.prefix, ROOT)}
        home = Path.home().resolve()
        hidden = (home, Path(spec.scratch_at))
        kept = ":".join(sorted(str(path) for path in needed if any(path.is_relative_to(each) for each in hidden)))
        image = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1",
                 "PYTHONDONTWRITEBYTECODE": "1", "PYTHONFAULTHANDLER": "1"}  # fmt: skip
        with (self._folder / "log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(
                    *self._network.enter(self._place),
                    *container,
                    str(home),
                    kept,
                    sys.executable,
                    "-m",
                    "grange",
                    *spec.args,
                ),
                env={**image, **spec.env},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
