"""Watches the files of an application, for the reload of `grange dev`. The library watchfiles does the watching."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from grange.silo.option_sources import TOML

STEP_MS = 50
DEBOUNCE_MS = 200
"""Milliseconds: changes are taken together until none comes for a step, for the debounce at most."""


Version = tuple[int, int] | None
"""Time of the last change in nanoseconds, and size in bytes; None: no file. Some tools touch a file twice."""


Files = Mapping[Path, Version]
"""Files with the versions that were imported."""


def can_watch() -> bool:
    """Whether watchfiles is installed, which the extra `dev` brings."""
    return find_spec("watchfiles") is not None


async def changes(files: Callable[[], Files]) -> AsyncGenerator[set[Path]]:
    """Yield the files that have changed, of those that `files` names then, and grange.toml.

    A file has changed once its version differs from the one that was imported, also if that happened before this runs.
    Only their folders are watched, without what lies below: a project may hold a million other files.
    """
    seen: dict[Path, Version] = {}
    while True:
        seen = {path: seen.get(path, version) for path, version in _watched(files()).items()}
        async with aclosing(_changes_of(seen, files)) as batches:
            async for batch in batches:
                yield batch


async def _changes_of(seen: dict[Path, Version], files: Callable[[], Files]) -> AsyncGenerator[set[Path]]:
    """Yield the files that have other versions than in `seen`, which it updates. It ends when `files` names others."""
    import watchfiles  # the extra may be absent

    watch: Any = cast("Any", watchfiles).awatch
    folders = {path.parent for path in seen if path.parent.is_dir()}
    async with aclosing(watch(*folders, recursive=False, step=STEP_MS, debounce=DEBOUNCE_MS, rust_timeout=1000,
                               yield_on_timeout=True)) as batches:  # fmt: skip
        async for _ in batches:
            # All, not only those of the batch: a file may change between two watches, while a reload is under way.
            now = {path: version_of(path) for path in seen}
            changed = {path for path, version in now.items() if version != seen[path]}
            seen.update(now)
            if changed:
                yield changed
            if _watched(files()).keys() != seen.keys():
                return


def _watched(files: Files) -> dict[Path, Version]:
    options = Path.cwd() / TOML
    return {**files, options: version_of(options)}


def version_of(path: Path) -> Version:
    """The version of a file now."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size
