"""Certificates and authorities change under load, and then one silo is revoked: F38."""

from __future__ import annotations

import asyncio
import time

import msgspec

from grange.client import Client
from grange.proto.ids import SiloAddress
from grange.proto.trust import TRUST, Trust
from grange.testing.certificates import CertificateAuthority
from tests.processes.faults.certificates import CLIENT, Certificates
from tests.processes.faults.round import Judge, Round, Row
from tests.processes.silo_process import PATIENCE

RENEWED, CUT = 60.0, 15.0
"""Targets in seconds: after a change of the files, after a change of the list of revocations."""


async def rotation(one: Round) -> Judge:
    """A new certificate, the three steps of a new authority, a half-written pair; then the certificate of a silo is
    revoked, which has taken another one before: the old one is refused, and no call fails.
    """
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
    trusts = await trust_of_all(one, ours)
    return all(
        trust.chain[0].fingerprint == ours.pairs[name].fingerprint
        and {peer.fingerprint for peer in trust.peers} <= valid
        and all(peer.oldest < time.monotonic() - at for peer in trust.peers)
        for name, trust in trusts.items()
    )


async def revoked(one: Round, ours: Certificates) -> None:
    """A certificate that only a client of this process shows is revoked: its connections are cut."""
    thief = ours.thief()
    gateways = [silo.gateway for silo in one.stage.silos.running]
    async with Client(gateways, cluster=one.stage.cluster, name="thief", tls=thief.table()) as client:
        for gateway in client.gateways:
            await client.ask(gateway, "management.view")
        at = time.monotonic()
        ours.revoke(thief.fingerprint)
        async with asyncio.timeout(CUT + PATIENCE):
            while any(
                peer.fingerprint == thief.fingerprint
                for trust in (await trust_of_all(one, ours)).values()
                for peer in trust.peers
            ):
                await asyncio.sleep(0.2)
        one.figure("revoked peer cut", time.monotonic() - at, CUT)


async def trust_of_all(one: Round, ours: Certificates) -> dict[str, Trust]:
    """What each silo has and sees. The client that asks shows the certificate of the load."""
    silos = one.stage.silos.running
    table = ours.pairs[CLIENT].table()
    async with Client([silo.gateway for silo in silos], cluster=one.stage.cluster, name="asker", tls=table) as client:
        names = {str(silo.address): silo.name for silo in silos}
        found: dict[str, Trust] = {}
        for member in client.view.active:
            gateway = SiloAddress(member.address.host, member.gateway, member.address.generation)
            found[names[str(member.address)]] = msgspec.msgpack.decode(await client.ask(gateway, TRUST), type=Trust)
        return found


ROWS = (Row("F38", "certificates and authority change, one is revoked", rotation),)
