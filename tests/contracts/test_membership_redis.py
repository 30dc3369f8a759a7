"""The membership table on real Redis: replicas, Sentinels, limited users, writes that may be lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from grange.errors import ConfigurationError, MembershipUnavailable
from grange.membership.model.member import SiloStatus
from grange.membership.model.provider import MembershipTable
from grange.membership.urls import open_table
from grange.testing.contracts.membership_samples import NOON, a_silo, insert
from tests.contracts.redis_replicas import PASSWORD, Sentinel, Server, replicated, stopped, until

pytestmark = pytest.mark.servers
PATIENCE = 10.0


@pytest.fixture
def master() -> Iterator[Server]:
    with Server() as server:
        yield server


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[MembershipTable]:
    async with asyncio.timeout(60), open_table(url, "one") as table:
        yield table


async def test_a_replica_is_not_taken_for_the_table(master: Server) -> None:
    """R10: the error at start says what is wrong and what to write, without the password."""
    with master.replica() as replica:
        await replicated(master)
        with pytest.raises(MembershipUnavailable, match=r"replica.*name the master") as caught:
            async with opened(replica.url):
                pass
        assert PASSWORD not in str(caught.value)


async def test_a_master_that_becomes_a_replica_is_dropped(master: Server) -> None:
    """R10: the refused write closes the connections, and new ones check the role first; then it works again."""
    with Server() as other:
        async with opened(master.url) as table:
            known = await insert(table, a_silo(1))
            master.ask("REPLICAOF", "127.0.0.1", str(other.port))
            with pytest.raises(MembershipUnavailable, match="replica"):
                await table.insert(a_silo(2), known.version)
            with pytest.raises(MembershipUnavailable, match="replica"):
                await table.read()
            master.ask("REPLICAOF", "NO", "ONE")
            await table.read()


async def test_a_join_or_death_that_no_replica_confirms_is_unknown(master: Server) -> None:
    """R2: it was made, and the next read shows it. A change that may be lost does not wait."""
    with master.replica() as replica:
        await replicated(master)
        async with opened(master.url) as table:
            known = await insert(table, a_silo(1))
            with stopped(replica):
                joining = await insert(table, a_silo(2, SiloStatus.JOINING))
                row = joining.get(a_silo(2).address)
                assert row is not None
                with pytest.raises(MembershipUnavailable, match="whether it lasts is unknown"):
                    await table.update(a_silo(2), row.etag, joining.version)
                assert (await table.read()).version.number == known.version.number + 2
            await replicated(master)
            found = await table.read()
            assert await table.update(a_silo(1, SiloStatus.DEAD), found.rows[0].etag, found.version)


async def test_a_rebuilt_table_waits_for_the_replica(master: Server) -> None:
    """R2, R3: the replacement of a lost table must not be lost as well."""
    with master.replica() as replica:
        await replicated(master)
        async with opened(master.url) as table:
            known = await insert(table, a_silo(1, SiloStatus.JOINING))
            with stopped(replica), pytest.raises(MembershipUnavailable, match="unknown"):
                await table.rebuild([a_silo(1)], known.version, 9)
            assert (await table.read()).version.number == 9


async def test_a_user_with_few_rights_is_enough(master: Server) -> None:
    """Hosted Redis forbids INFO, CONFIG and ROLE: changes do not wait for replicas, and everything else works."""
    rights = ("~grange:*", "+@all", "-info", "-config", "-role")
    master.ask("ACL", "SETUSER", "grange", "on", f">{PASSWORD}", *rights)
    async with opened(f"redis://grange:{PASSWORD}@127.0.0.1:{master.port}/0") as table:
        known = await insert(table, a_silo(1))
        assert await table.update(a_silo(1, SiloStatus.DEAD), known.rows[0].etag, known.version)


async def test_a_disk_that_does_not_confirm_leaves_the_outcome_unknown(master: Server) -> None:
    """R2: this server never forces its log to the disk, and this user has no right to see that, so it waits in vain."""
    master.ask("ACL", "SETUSER", "grange", "on", f">{PASSWORD}", "~grange:*", "+@all", "-config")
    async with opened(f"redis://grange:{PASSWORD}@127.0.0.1:{master.port}/0") as table:
        before = (await table.read()).version
        with pytest.raises(MembershipUnavailable, match="disk"):
            await table.insert(a_silo(1), before)
        assert len((await table.read()).rows) == 1


async def test_a_disk_that_confirms_is_waited_for() -> None:
    """R2: with `appendfsync everysec`."""
    with Server("--appendfsync", "everysec") as server:
        async with opened(server.url) as table:
            await insert(table, a_silo(1))
        assert server.ask("INFO", "commandstats").get("cmdstat_waitaof", {"calls": 0})["calls"] == 1


async def test_a_wrong_password_is_named_and_not_shown(master: Server) -> None:
    """At start it is a mistake, not an outage: a supervisor must not start the silo again and again."""
    with pytest.raises(ConfigurationError, match="refused the login that its URL names") as caught:
        async with opened(f"redis://:{PASSWORD}x@127.0.0.1:{master.port}/0"):
            pass
    assert PASSWORD not in str(caught.value)


async def test_sentinel_leads_to_the_new_master(master: Server) -> None:
    """F19, R10: the master is killed; the same open table goes on with the promoted replica, and nothing is lost."""
    with master.replica() as replica, Sentinel(master) as sentinel:
        await replicated(master)
        await until(lambda: len(sentinel.ask("SENTINEL", "REPLICAS", "table")) == 1)
        # The first Sentinel of the list is down, so the next one is asked.
        url = f"redis+sentinel://:{PASSWORD}@127.0.0.1:1,{sentinel.address}/table/0"
        async with opened(url) as table:
            assert PASSWORD not in repr(table)
            known = await insert(table, a_silo(1))
            master.kill()
            with pytest.raises(MembershipUnavailable) as caught:
                await table.read()
            assert PASSWORD not in str(caught.value)
            await until(lambda: sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "table")[1] == str(replica.port))
            found = await eventually_read(table)
            assert found == known
            master.start()  # it starts as a master, until the Sentinel makes it a replica
            assert await table.alive(a_silo(1).address, NOON)
            assert (await insert(table, a_silo(2, SiloStatus.JOINING))).version.number == 2
            assert int(replica.ask("HGET", "grange:{one}:membership", "version")) == 2


async def test_a_read_can_be_cancelled_at_any_moment(master: Server) -> None:
    """Also on its way through a Sentinel: Python 3.11's `wait_for`, which the driver uses, loses a cancellation."""
    with Sentinel(master) as sentinel:
        async with opened(f"redis+sentinel://:{PASSWORD}@{sentinel.address}/table/0") as table:
            for steps in range(200):
                reading = asyncio.create_task(table.read())
                for _ in range(steps):
                    await asyncio.sleep(0)
                asked = reading.cancel()
                await asyncio.wait((reading,))
                assert reading.cancelled() or not asked, f"after {steps} steps of the loop"


async def eventually_read(table: MembershipTable):
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await table.read()
            except MembershipUnavailable:
                await asyncio.sleep(0.05)
