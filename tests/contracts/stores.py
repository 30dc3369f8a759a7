"""Where the contract suites of change sets, claims, queries and reminders run: each store of grange."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import cast

import pytest

from grange.storage.memory import MemoryStorage
from grange.storage.options import StorageOptions
from grange.storage.urls import open_storage as open_url
from grange.testing.contracts.set_samples import FullStorage, OpenFull


class OnMemory:
    """One dictionary for each service."""

    @pytest.fixture
    def open_storage(self) -> OpenFull:
        services: dict[str, MemoryStorage] = {}
        return lambda service: nullcontext(services.setdefault(service, MemoryStorage(service)))


class OnSqlite:
    """One file for each test."""

    @pytest.fixture
    def open_storage(self, tmp_path: Path) -> OpenFull:
        return lambda service: _opened(f"sqlite:///{tmp_path}/state.db", service)


class OnRedis:
    """A real server, emptied for each test."""

    @pytest.fixture
    def open_storage(self, redis_url: str) -> OpenFull:
        return lambda service: _opened(redis_url, service)


class OnPostgres:
    """A real server, a database for each test."""

    @pytest.fixture
    def open_storage(self, postgres_url: str) -> OpenFull:
        return lambda service: _opened(postgres_url, service)


PATIENT = StorageOptions(operation_timeout=30)
"""A busy machine must not end the largest sets."""


def _opened(url: str, service: str) -> AbstractAsyncContextManager[FullStorage]:
    return cast("AbstractAsyncContextManager[FullStorage]", open_url(url, service, PATIENT))
