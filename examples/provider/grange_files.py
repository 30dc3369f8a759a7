"""A storage provider to start from: state in a folder, one JSON file for each record.

It passes `grange.testing.contracts.storage.StorageContract`. One step at a time changes the folder, under a lock that
processes of one machine share; so it is slow, and right. Replace `_Folder` by your database, and keep the rest.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import time
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from grange.databases.urls import malformed, parse_url
from grange.errors import StorageUnavailable, WriteOutcomeUnknown
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.provider import StateRecord
from grange.storage.record import (
    check_name,
    check_payload,
    check_service,
    etag_number,
    etag_text,
    fenced,
    inconsistent,
    stamp_of,
)
from grange.storage.sets import Stamp

T = TypeVar("T")

FORM = "files:///folder"
LOCK_RETRY = 0.005
"""Seconds between two tries to take the lock."""


class Record(msgspec.Struct):
    """A file: a counter as etag, the payload as text (None: cleared), and the stamp of the last change."""

    etag: int = 0
    payload: str | None = None
    schema: int = 1
    writer: str | None = None
    number: int | None = None

    @property
    def stamp(self) -> Stamp | None:
        """The change that was made last."""
        return stamp_of(self.writer, self.number)


class FileStorage:
    """A `GrainStorage`. `open` is the factory that the entry point names."""

    def __init__(self, folder: Path, service: str, options: StorageOptions = DEFAULT_OPTIONS) -> None:
        self._service = check_service(service)
        self._options = options
        self._folder = _Folder(folder, service, options.operation_timeout)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, service: str, options: StorageOptions = DEFAULT_OPTIONS
    ) -> AsyncGenerator[FileStorage]:
        """Open `files:///relative` or `files:////absolute`, and make the folder."""
        parsed = parse_url(url, FORM)
        if parsed.hosts or parsed.options or len(parsed.path) < 2:
            raise malformed(FORM, "it names a folder on this machine, and has no options")
        storage = cls(Path(parsed.path[1:]), service, options)
        await storage._folder.run(lambda: None)
        yield storage

    async def read(self, grain_id: GrainId, state: str) -> StateRecord:
        """See `GrainStorage.read`."""
        held = await self._folder.run(lambda: self._folder.load(self._name(grain_id, state)))
        payload = None if held.payload is None else held.payload.encode()
        return StateRecord(payload, etag_text(held.etag), held.schema, held.stamp)

    async def write(
        self,
        grain_id: GrainId,
        state: str,
        payload: bytes,
        etag: str | None,
        schema: int = 1,
        stamp: Stamp | None = None,
    ) -> str:
        """See `GrainStorage.write`."""
        text = check_payload(grain_id, state, payload, self._options.payload_limit)
        stored = await self._folder.run(lambda: self._change(grain_id, state, etag, Record(0, text, schema), stamp))
        return str(stored)

    async def clear(self, grain_id: GrainId, state: str, etag: str | None, stamp: Stamp | None = None) -> str | None:
        """See `GrainStorage.clear`. The file stays, so that its etags never come back."""
        stored = await self._folder.run(lambda: self._change(grain_id, state, etag, Record(), stamp))
        return etag_text(stored)

    async def fence(self, silos: Collection[SiloAddress]) -> None:
        """See `GrainStorage.fence`. Deaths are kept for ever."""

        def record() -> None:
            for silo in silos:
                if self._folder.load(f"dead {silo.endpoint}").etag < silo.generation:
                    self._folder.save(f"dead {silo.endpoint}", Record(silo.generation))

        await self._folder.run(record)

    async def fenced_generation(self, endpoint: str) -> int:
        """See `FenceRecords`."""
        return (await self._folder.run(lambda: self._folder.load(f"dead {endpoint}"))).etag

    def _name(self, grain_id: GrainId, state: str) -> str:
        check_name(self._service, grain_id, state)
        return msgspec.json.encode((grain_id.type, grain_id.key, state)).decode()

    def _change(self, grain_id: GrainId, state: str, etag: str | None, new: Record, stamp: Stamp | None) -> int:
        """Check and change in one step: the lock is held."""
        name = self._name(grain_id, state)
        held = self._folder.load(name)
        if held.etag and stamp is not None and held.stamp == stamp:
            return held.etag  # this change was made before, and its answer was lost
        if stamp is not None:
            if self._folder.load(f"dead {stamp.writer.endpoint}").etag >= stamp.writer.generation:
                raise fenced(grain_id, state, stamp.writer, etag_text(held.etag), etag)
            new.writer, new.number = str(stamp.writer), stamp.number
        if etag_number(etag) != held.etag:
            raise inconsistent(grain_id, state, stored=etag_text(held.etag), given=etag)
        if new.payload is None:
            if not held.etag:
                return 0  # there is nothing to clear
            new.schema = held.schema
        new.etag = held.etag + 1
        self._folder.save(name, new)
        return new.etag


class _Folder:
    """Files by name. `run` does one step under the lock, in a thread, so that no disk holds up the event loop."""

    def __init__(self, folder: Path, service: str, timeout: float) -> None:
        self._folder = folder / hashlib.sha256(service.encode()).hexdigest()
        self._timeout = timeout
        self._turn = asyncio.Lock()

    async def run(self, step: Callable[[], T]) -> T:
        """Raises StorageUnavailable if the step was not begun in time, or could not be made.

        A cancelled caller does not end the thread. The lock of the file, not `_turn`, protects the folder.
        """
        try:
            async with asyncio.timeout(self._timeout):
                await self._turn.acquire()
        except TimeoutError:
            raise StorageUnavailable(f"there was no turn within {self._timeout} s") from None
        try:
            return await asyncio.to_thread(self._run, step)
        finally:
            self._turn.release()

    def _run(self, step: Callable[[], T]) -> T:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / "lock").open("a") as lock:
                self._take(lock.fileno())
                return step()
        except OSError as error:
            raise StorageUnavailable(f"the folder of files:// cannot be used: {error.strerror}") from error

    def _take(self, lock: int) -> None:
        ends = time.monotonic() + self._timeout
        while True:
            try:
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > ends:
                    raise StorageUnavailable(f"another process holds the lock for {self._timeout} s") from None
            time.sleep(LOCK_RETRY)

    def _path(self, name: str) -> Path:
        return self._folder / hashlib.sha256(name.encode()).hexdigest()

    def load(self, name: str) -> Record:
        """The record of this name; an empty one if there is no file."""
        try:
            return msgspec.json.decode(self._path(name).read_bytes(), type=Record)
        except FileNotFoundError:
            return Record()

    def save(self, name: str, record: Record) -> None:
        """Whole or not at all, and on the disk when it returns."""
        draft = self._path(name).with_suffix(".draft")
        with draft.open("wb") as file:
            file.write(msgspec.json.encode(record))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path(name))
        try:
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            # It may be there after a crash, or not: neither "stored" nor "not stored" would be true.
            raise WriteOutcomeUnknown(f"the disk has not confirmed a change: {error.strerror}") from error
