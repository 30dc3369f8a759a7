"""Redis and Postgres of a fault test: at their place in a network, and always reachable for the test by a Unix socket.

The test reads both by these sockets, which no cut of the network and no proxy affects.
"""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import asyncpg
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from grange.servers.postgres import PostgresServer
from grange.servers.process import PROBE_SECONDS
from grange.servers.redis import RedisServer
from grange.testing.checks.writers import Write
from tests.processes.faults.network import HUB, SUBNET, Network

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

AUDIT = """
CREATE TABLE fault_audit (
    number bigserial PRIMARY KEY, t timestamptz NOT NULL DEFAULT clock_timestamp(), grain text NOT NULL,
    etag_before bigint, etag bigint NOT NULL, silo text, activation text
);
CREATE FUNCTION fault_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.etag = NEW.etag THEN
        RETURN NULL; -- a claim: the payload is that of the earlier writer
    END IF;
    INSERT INTO fault_audit (grain, etag_before, etag, silo, activation) VALUES (
        NEW.grain_type || '/' || NEW.grain_key, CASE WHEN TG_OP = 'UPDATE' THEN OLD.etag END, NEW.etag,
        NEW.payload ->> 'silo', NEW.payload ->> 'activation');
    RETURN NULL;
END $$;
CREATE TRIGGER fault_audit AFTER INSERT OR UPDATE ON grange_state FOR EACH ROW EXECUTE FUNCTION fault_audit();
CREATE TABLE fault_deaths (address text PRIMARY KEY, t timestamptz NOT NULL);
CREATE FUNCTION fault_deaths() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO fault_deaths VALUES (NEW.endpoint || '@' || NEW.generation, clock_timestamp()) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER fault_deaths AFTER INSERT OR UPDATE ON grange_dead_silos FOR EACH ROW EXECUTE FUNCTION fault_deaths();
"""
"""Every accepted write leaves a row in its own transaction, so the table is the history of writes in their order. So
does every noted death, in a transaction that excludes writes of that silo: from then on none may be accepted.
"""


class Redis(RedisServer):
    """Reached by silos at `host:port`, by the test at `socket`."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.entry = network.enter(HUB)
        self.host = network.host("redis")
        self.socket = self.folder / "redis.sock"
        if network.can_cut:
            self.port = network.port(6379)

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    def command(self) -> Sequence[str]:
        listen = ("--bind", self.host, "--unixsocket", str(self.socket), "--protected-mode", "no")
        return [*super().command(), *listen]

    def answers(self, pid: int) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(PROBE_SECONDS)
                connection.connect(str(self.socket))
                connection.sendall(b"INFO server\r\n")
                return f"process_id:{pid}\r\n".encode() in connection.recv(65536)
        except OSError:
            return False

    def erase(self) -> None:
        """Remove its data while it is down."""
        for name in ("appendonlydir", "dump.rdb"):
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def client(self) -> redis.asyncio.Redis:
        """A client for the test. It never repeats a command, and its caller limits the time."""
        return redis.asyncio.Redis(
            unix_socket_path=str(self.socket),
            decode_responses=True,
            socket_timeout=None,  # the driver's own time limit loses cancellations on Python 3.11
            retry=Retry(NoBackoff(), 0),
        )


class Postgres(PostgresServer):
    """Reached by silos at `host:port`, by the test at a socket in `folder`."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.entry = network.enter(HUB)
        self.host = network.host("postgres")
        if network.can_cut:
            self.port = network.port(5432)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@{self.host}:{self.port}/postgres"

    @property
    def socket(self) -> Path:
        return self.folder / f".s.PGSQL.{self.port}"

    def start(self) -> None:
        self.prepare()
        super().start()

    def prepare(self) -> None:
        if not (self.data / "PG_VERSION").exists():
            super().prepare()
            with (self.data / "pg_hba.conf").open("a") as rules:
                rules.write(f"host all all {SUBNET} trust\n")

    def command(self) -> Sequence[str]:
        settings = ("-c", f"listen_addresses={self.host}", "-c", f"unix_socket_directories={self.folder}")
        return [*super().command(), *settings]

    async def connect(self) -> Connection:
        """A connection for the test."""
        return await asyncpg.connect(host=str(self.folder), port=self.port, user="postgres", database="postgres")


async def install_audit(connection: Connection) -> None:
    """Install the triggers, after the first silo has created the tables."""
    await connection.execute(AUDIT)


async def audited_writes(connection: Connection, prefix: str) -> list[Write]:
    """Accepted writes of grains whose key begins with `prefix`, in order, with monotonic times of this machine."""
    offset = time.monotonic() - time.time()
    rows = await connection.fetch(
        "SELECT extract(epoch FROM t)::float8 + $2, grain, etag_before::text, etag::text, "
        "coalesce(silo, ''), coalesce(activation, '') "
        "FROM fault_audit WHERE grain LIKE '%/' || $1 || '-%' ORDER BY number",
        prefix,
        offset,
    )
    return [Write(*row) for row in rows]


async def noted_deaths(connection: Connection) -> Mapping[str, float]:
    """When the store noted the death of each silo, by address; its times as `time.monotonic()` of this machine."""
    offset = time.monotonic() - time.time()
    rows = await connection.fetch("SELECT address, extract(epoch FROM t)::float8 + $1 FROM fault_deaths", offset)
    return {row[0]: row[1] for row in rows}


async def stored_totals(connection: Connection, prefix: str) -> Mapping[str, int]:
    """Stored counters whose key begins with `prefix`."""
    rows = await connection.fetch(
        "SELECT grain_key, (payload ->> 'total')::int FROM grange_state "
        "WHERE grain_type = 'counter' AND grain_key LIKE $1 || '-%'",
        prefix,
    )
    return {row[0]: row[1] for row in rows}
