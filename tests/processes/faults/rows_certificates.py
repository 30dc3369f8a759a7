"""Certificates and authorities change under load, and then one silo is revoked: F38."""

from __future__ import annotations

import asyncio
import sys
import time

import msgspec

from grange.testing.certificates import CertificateAuthority
from tests.processes.faults.certificates import Certificates
from tests.processes.faults.load import Orders
from tests.processes.faults.network import HUB
from tests.processes.faults.round import Judge, Round, Row
from tests.processes.silo_process import PATIENCE, ROOT

RENEWED, CUT = 60.0, 15.0
"""Targets in seconds: after a change of the files, after a change of the list of revocations."""


async def rotation(one: Round) -> Judge:
    """A new certificate, the three steps of a new authority, a half-written pair, and a certificate that is revoked."""
    ours = one.stage.certificates
    assert ours is not None
    old, new = ours.authority, CertificateAuthority(one.stage.cluster)
    for issuer, trusted in ((old, (old,)), (None, (old, new)), (new, (new, old)), (None, (new,))):
        await changed(one, ours, issuer, *trusted)
    victim = one.pick()
    ours.pairs[victim.name].write_half(new.silo(), new.ca)
    await one.hold(3.0)
    await changed(one, ours, new, new)
    ours.authority = new
    await revoked(one, ours)
    return lambda: one.none_failed("failed calls while certificates changed")


async def changed(
    one: Round, ours: Certificates, issuer: CertificateAuthority | None, *trusted: CertificateAuthority
) -> None:
    """Write the files of all processes, and wait until no connection is older than that."""
    at = time.monotonic()
    ours.write_all(issuer, b"".join(each.ca for each in trusted))
    async with asyncio.timeout(RENEWED + PATIENCE):
        while not await is_renewed(one, ours, at):
            await asyncio.sleep(0.5)
    one.figure("connections renewed", time.monotonic() - at, RENEWED)


async def is_renewed(one: Round, ours: Certificates, at: float) -> bool:
    """Whether each silo has its new pair, and no connection that its peer opened before this moment."""
    valid = {pair.fingerprint for pair in ours.pairs.values()}
    silos = (await one.stage.command("certs", "silos"))["silos"]
    since = time.monotonic() - at
    return len(silos) == one.stage.size and all(
        silo["chain"][0]["fingerprint"] == ours.pairs[silo["silo"]].fingerprint
        and {peer["fingerprint"] for peer in silo["peers"]} <= valid
        and all(peer["oldest"] < since for peer in silo["peers"])
        for silo in silos
    )


async def revoked(one: Round, ours: Certificates) -> None:
    """The certificate of another client, which is connected to every silo, is revoked: it is cut by each."""
    thief = ours.thief()
    orders = Orders(one.stage.gateways, one.stage.cluster, "thief", "", 0, tls=thief.table())
    process = await asyncio.create_subprocess_exec(
        *(*one.stage.network.enter(HUB), sys.executable, "-m", "tests.processes.faults.idle_client"),
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(msgspec.json.encode(orders) + b"\n")
        async with asyncio.timeout(PATIENCE):
            one.expect(await process.stdout.readline() == b"connected\n", "the other client did not connect")
        one.expect(len(await seeing(one, thief.fingerprint)) == one.stage.size, "not every silo saw the other client")
        at = time.monotonic()
        ours.revoke(thief.fingerprint)
        async with asyncio.timeout(CUT + PATIENCE):
            while await seeing(one, thief.fingerprint):
                await asyncio.sleep(0.2)
        one.figure("revoked peer cut", time.monotonic() - at, CUT)
    finally:
        process.stdin.close()
        await process.wait()


async def seeing(one: Round, fingerprint: str) -> list[str]:
    """The silos that have a connection with this certificate."""
    silos = (await one.stage.command("certs", "silos"))["silos"]
    return [silo["silo"] for silo in silos if fingerprint in {peer["fingerprint"] for peer in silo["peers"]}]


ROWS = (Row("F38", "certificates and authority change, one is revoked", rotation, rate=240.0),)
