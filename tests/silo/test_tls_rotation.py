"""Certificates and authorities change under load: no call fails, and every connection is replaced (S8, F38)."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter as Counts
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from grange import Grain, GrainObserver
from grange.client import Client
from grange.errors import CallOutcomeUnknown, ConnectionLost, GrangeError, SiloUnavailable
from grange.runtime.calls.incoming import Incoming
from grange.security.authority import IssuedPair
from grange.silo.silo import Silo
from grange.testing.certificates import CertificateAuthority
from tests.security.linked_pair import LinkedPair
from tests.silo.secured import CLUSTER, Counter, Secured, secured, settled

CALLERS = 12
KEYS = [f"counter-{number}" for number in range(40)]
OTHERS = [f"{key}-b" for key in KEYS]
LOOK = 0.05
PATIENCE = 60.0


class Watcher(GrainObserver):
    async def told(self, number: int) -> int: ...


class Told(Watcher):
    def __init__(self) -> None:
        self.numbers: Counts[int] = Counts()

    async def told(self, number: int) -> int:
        self.numbers[number] += 1
        return number


class Teller(Grain, key=str):
    """Calls an observer, while its own caller waits."""

    async def tell(self, watcher: Watcher, number: int) -> int:
        return await watcher.told(number)

    async def sleep(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "awake"


class Files(LinkedPair):
    """The files of one process, with certificates that `issue` makes."""

    def __init__(self, folder: Path, issue: Callable[[CertificateAuthority], IssuedPair]) -> None:
        super().__init__(folder)
        self.issue = issue
        self._issued: IssuedPair | None = None

    def renew(self, issuer: CertificateAuthority | None, ca: bytes) -> None:
        """A certificate of this issuer (None: the one of before), and the authorities to trust."""
        if issuer is not None:
            self._issued = self.issue(issuer)
        assert self._issued is not None
        self.write(self._issued, ca)

    def options(self, **options: Any) -> dict[str, Any]:
        return {**self.table(), "check_every": LOOK, **options}


class Fleet:
    """Silos and clients, each with files of its own."""

    def __init__(self, shop: Secured, road: str) -> None:
        self.shop = shop
        self.road = road
        self.files: list[Files] = []
        self.silos: list[Silo] = []
        self.done = 0
        self.errors: list[GrangeError] = []

    def new_files(self, issue: Callable[[CertificateAuthority], IssuedPair]) -> Files:
        files = Files(self.shop.folder / f"process-{len(self.files)}", issue)
        files.renew(self.shop.authority, self.shop.authority.ca)
        self.files.append(files)
        return files

    async def add_silo(self, **options: Any) -> None:
        files = self.new_files(lambda authority: authority.silo())
        self.silos.append(await self.shop.start(files.options(**options), road=self.road))

    def client(self, name: str, **options: float) -> Client:
        files = self.new_files(lambda authority: authority.client(name))
        return self.shop.client(*(silo.gateway for silo in self.silos), tls=files.options(), road=self.road, **options)  # type: ignore[arg-type]

    def accepted(self) -> list[Incoming]:
        return [
            incoming
            for silo in self.silos
            for side in (silo._running.hosting.silo_inbound, silo._running.hosting.client_inbound)
            for incoming in side.connected
        ]

    async def change(self, issuer: CertificateAuthority | None, *trusted: CertificateAuthority) -> None:
        """Write the files of all, and wait until no connection of before is left, and all show certificates of now."""
        before = set(self.accepted())
        for files in self.files:
            files.renew(issuer, trusted[0].bundle(*trusted[1:]))
        valid = {files.fingerprint for files in self.files}
        async with asyncio.timeout(PATIENCE):
            while not self._is_renewed(before, valid):
                assert self.errors == []
                await asyncio.sleep(0.02)  # what is waited for has no event: the end of connections of other processes

    def _is_renewed(self, before: set[Incoming], valid: set[str]) -> bool:
        shown = [incoming.connection.certificate for incoming in self.accepted()]
        taken = all(
            silo._running.ports.tls is not None
            and silo._running.ports.tls.material.current.facts.fingerprint == files.fingerprint
            for silo, files in zip(self.silos, self.files, strict=False)
        )
        return taken and before.isdisjoint(self.accepted()) and {each.fingerprint for each in shown if each} <= valid

    @asynccontextmanager
    async def load(self, client: Client) -> AsyncGenerator[Told]:
        ended, told = asyncio.Event(), Told()
        reference = client.create_observer(told)
        callers = [asyncio.create_task(self._call(client, number, ended)) for number in range(CALLERS)]
        callers.append(asyncio.create_task(self._tell(client, reference, ended)))
        try:
            yield told
        finally:
            ended.set()
            await asyncio.gather(*callers)

    async def _call(self, client: Client, number: int, ended: asyncio.Event) -> None:
        turn = number
        while not ended.is_set():
            turn += CALLERS + 1
            try:
                grain = client.get_grain(Counter, KEYS[turn % len(KEYS)])
                await (grain.add() if turn % 4 else grain.add_to(OTHERS[(turn * 7) % len(OTHERS)]))
                self.done += 1
            except GrangeError as error:
                self.errors.append(error)

    async def _tell(self, client: Client, watcher: Watcher, ended: asyncio.Event) -> None:
        for number in itertools.count():
            if ended.is_set():
                return
            try:
                assert await client.get_grain(Teller, str(number % 9)).tell(watcher, number) == number
                self.done += 1
            except GrangeError as error:
                self.errors.append(error)


@asynccontextmanager
async def fleet(folder: Path, road: str, silos: int = 3, **options: Any) -> AsyncGenerator[Fleet]:
    async with secured(folder, Counter, Teller) as shop:
        made = Fleet(shop, road)
        for _ in range(silos):
            await made.add_silo(**options)
        yield made


@pytest.mark.parametrize("road", ["grpc", "tcp"])
async def test_no_call_fails_while_certificates_and_authorities_change(tmp_path: Path, road: str) -> None:
    """S8, F38: 20,000 calls by three silos and two clients, over new certificates and the three steps of a new CA."""
    async with fleet(tmp_path, road) as ours:
        old, new = ours.shop.authority, CertificateAuthority(CLUSTER)
        async with ours.client("web") as web, ours.client("app") as app:
            await settled(web, *ours.silos)
            await settled(app, *ours.silos)
            async with ours.load(web) as first, ours.load(app) as second:
                await ours.change(old, old)
                await ours.change(None, old, new)
                await ours.change(new, new, old)
                await ours.change(None, new)
                async with asyncio.timeout(PATIENCE):
                    while ours.done < 20_000 and not ours.errors:
                        await ours.change(new, new)
            assert ours.errors == []
            for told in (first, second):
                assert set(told.numbers.values()) == {1}
            adds = ours.done - len(first.numbers) - len(second.numbers)
            assert sum([await web.get_grain(Counter, key).add() - 1 for key in (*KEYS, *OTHERS)]) == adds
        assert sum(silo._running.links.peers.renewed for silo in ours.silos) >= 10


async def test_a_revoked_client_is_told_and_cut_and_another_goes_on(tmp_path: Path) -> None:
    """S8: the outcome of its call in flight is unknown; it cannot come back, but with another certificate."""
    revoked = tmp_path / "revoked.txt"
    revoked.write_text("")
    async with fleet(tmp_path / "fleet", "grpc", 2, revoked=str(revoked)) as ours:
        async with ours.client("stolen", response_timeout=8.0) as stolen, ours.client("web") as web:
            files = ours.files[-2]
            async with ours.load(web):
                sleeping = asyncio.create_task(stolen.get_grain(Teller, "a").sleep(600))
                while not any(incoming.in_progress for incoming in ours.accepted() if "stolen" in shown(incoming)):
                    await asyncio.sleep(0.01)  # the request is on its way
                began = asyncio.get_running_loop().time()
                revoked.write_text(files.fingerprint)
                with pytest.raises(ConnectionLost):
                    await sleeping
                assert asyncio.get_running_loop().time() - began > 2.0
                async with asyncio.timeout(PATIENCE):
                    while any("stolen" in shown(incoming) for incoming in ours.accepted()):
                        await asyncio.sleep(0.01)  # the other silo cuts by itself
                with pytest.raises(SiloUnavailable, match="revoked"):
                    await stolen.get_grain(Counter, "a").add()
                files.renew(ours.shop.authority, ours.shop.authority.ca)
                async with asyncio.timeout(PATIENCE):
                    while True:
                        try:
                            await stolen.get_grain(Counter, "a").add()
                            break
                        except SiloUnavailable:
                            await asyncio.sleep(0.05)  # it has not taken its new certificate yet
            assert ours.errors == []
        cut = sum((silo._running.hosting.renewals.cut for silo in ours.silos), Counts[str]())
        assert cut["revoked"] >= 1
        assert set(cut) == {"revoked"}


async def test_a_client_that_takes_its_new_certificate_in_time_survives_the_revocation_of_the_old_one(
    tmp_path: Path,
) -> None:
    """S8: the file of the client changes first; its calls go on."""
    revoked = tmp_path / "revoked.txt"
    revoked.write_text("")
    async with fleet(tmp_path / "fleet", "tcp", 2, revoked=str(revoked)) as ours, ours.client("web") as web:
        async with ours.load(web):
            before = ours.files[-1].fingerprint
            await ours.change(ours.shop.authority, ours.shop.authority)
            revoked.write_text(before)
            async with asyncio.timeout(PATIENCE):
                while not all(is_known(silo, before) for silo in ours.silos):
                    await asyncio.sleep(0.01)  # a look at the files
            await asyncio.sleep(2.5)  # longer than it takes to cut
        assert ours.errors == []


async def test_an_expired_certificate_ends_its_connection(tmp_path: Path) -> None:
    """S8: not later than its end. A process that has not renewed it keeps its connection until then."""
    async with fleet(tmp_path, "grpc", 1) as ours:
        files = ours.new_files(lambda authority: authority.client("late", timedelta(seconds=4)))
        client = ours.shop.client(ours.silos[0].gateway, tls=files.options(), response_timeout=8.0)  # type: ignore[arg-type]
        async with client:
            ends = next(each for each in ours.accepted() if "late" in shown(each)).connection.certificate
            assert ends is not None
            with pytest.raises(CallOutcomeUnknown):
                await client.get_grain(Teller, "a").sleep(600)
            now = ours.silos[0]._running.inspection.figures.snapshot().time
            assert abs(now - ends.not_after) < 1.0
            with pytest.raises(SiloUnavailable, match="expired"):
                await client.get_grain(Teller, "a").sleep(0)


def shown(incoming: Incoming) -> str:
    certificate = incoming.connection.certificate
    return "" if certificate is None else certificate.uri


def is_known(silo: Silo, fingerprint: str) -> bool:
    tls = silo._running.ports.tls
    return tls is not None and tls.material.is_revoked(fingerprint)
