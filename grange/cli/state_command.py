"""`grange state`: the stored states of a grain, asked of the cluster or read from the store; export and import."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from grange.cli.activation_command import show_states_command
from grange.cli.completion import complete_silo_variable
from grange.cli.doctor import config_of
from grange.cli.exit_codes import ExitCode, OutputLost
from grange.cli.grain_arguments import one_grain
from grange.cli.naming import naming_options
from grange.cli.output import Output
from grange.cli.silo_import import named_silo
from grange.cli.state_lines import StateLine, is_stored, lines_of, read_lines, states_of, store_line
from grange.cli.streams import complain, json_text, write
from grange.databases.schemas import schema_of
from grange.errors import ConfigurationError
from grange.grains.definition import spec_of
from grange.proto.ids import GrainId
from grange.storage.provider import GrainStorage
from grange.storage.urls import open_storage

OWNER_ONLY = 0o600
"""The mode of an exported file: states may hold secrets."""

SHOWN_REFUSALS = 10


class _States(click.Group):
    """The subcommands; any word that is none is a grain, whose states the cluster is asked for."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """click.Group: a grain in place of a subcommand."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            return "show", show_states_command, args
        return super().resolve_command(ctx, args)


@click.group("state", cls=_States, subcommand_metavar="TYPE/KEY [NAME] | show | export | import")
def state_command() -> None:
    """The stored states of one grain as JSON, or the one with this NAME. Secrets in them are hidden.

    `grange state TYPE/KEY` asks the cluster. The subcommands read and write a store themselves, with its login: they
    need no silo, and hide nothing.
    """


def _of_a_store(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that name a store."""
    for option in (
        click.option("--storage", metavar="URL", help="The store (default: as a silo here would use)."),
        click.option("--provider", default="default", show_default=True, help="The storage of this name."),
        click.option("--app", metavar="MODULE:SILO", shell_complete=complete_silo_variable, help="The silo's options."),
    ):
        command = option(command)
    return command


@state_command.command("show")
@one_grain
@click.argument("name", required=False, default="")
@click.option("--json", "as_json", is_flag=True, help="Show the answer as JSON.")
@_of_a_store
def show_command(grain: GrainId, name: str, as_json: bool, **where: Any) -> None:
    """The stored states of one grain, read from its store: etag, version of the type, and the whole JSON."""

    async def found() -> list[StateLine]:
        async with _opened(**where) as storage:
            return [line for line in await states_of(storage, grain) if name in ("", line.state)]

    lines = asyncio.run(found())
    parts: list[str] = []
    for line in lines:
        parts.append(f"{line.state}: etag {line.etag}, version {line.schema}, {len(bytes(line.payload))} bytes")
        parts += json_text(msgspec.json.format(bytes(line.payload), indent=2)).split("\n")
    Output(as_json).show(lines, *(parts or [f"{grain} has no stored {name or 'state'}"]))
    if not lines:
        raise click.exceptions.Exit(ExitCode.FAILED)


@state_command.command("export")
@click.argument("types", metavar="[TYPE]...", nargs=-1)
@click.option("--prefix", default="", help="Keys that begin so.")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="A new file (default: stdout).")
@_of_a_store
def export_command(types: tuple[str, ...], prefix: str, output: Path | None, **where: Any) -> None:
    """The stored states of these TYPEs as JSON lines; without a TYPE, of all that the silo of --app hosts."""
    wanted = types or _hosted(where["app"])

    async def export(emit: Callable[[bytes], None]) -> int:
        count = 0
        async with _opened(**where) as storage:
            with _bar("exported", None) as advance:
                async for line in _lines(storage, wanted, prefix):
                    emit(msgspec.json.encode(line))
                    count += 1
                    advance()
        return count

    if output is None:
        count = asyncio.run(export(lambda data: write(json_text(data))))
    else:
        with _new_file(output) as emit:
            count = asyncio.run(export(emit))
    complain(f"{count} states exported")


@state_command.command("import")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace states that are stored already.")
@_of_a_store
def import_command(file: Path, overwrite: bool, **where: Any) -> None:
    """Store the states of an exported FILE. If one of them is stored already, nothing is stored.

    An active grain keeps what it has in memory: stop the silos, or deactivate the type, before.
    """

    async def load() -> int:
        with file.open("rb") as texts:
            total = sum(1 for _ in read_lines(texts))
        async with _opened(**where) as storage:
            if not overwrite:
                await _refuse_stored(storage, file, total)
            with file.open("rb") as texts, _bar("imported", total) as advance:
                for line in read_lines(texts):
                    await store_line(storage, line, overwrite)
                    advance()
        return total

    if not file.is_file():
        raise click.UsageError(f"there is no file {str(file)!r}; `grange state export --output` makes one")
    complain(f"{asyncio.run(load())} states imported")


async def _lines(storage: GrainStorage, types: tuple[str, ...], prefix: str) -> AsyncGenerator[StateLine]:
    for grain_type in types:
        async for line in lines_of(storage, grain_type, prefix):
            yield line


async def _refuse_stored(storage: GrainStorage, file: Path, total: int) -> None:
    """Raise UsageError if a state of the file is stored already."""
    refused: list[str] = []
    with file.open("rb") as texts, _bar("compared", total) as advance:
        for line in read_lines(texts):
            if await is_stored(storage, line):
                refused.append(f"{line.state!r} of {line.grain_id}")
            advance()
    if refused:
        more = f" and {len(refused) - SHOWN_REFUSALS} more" if len(refused) > SHOWN_REFUSALS else ""
        raise click.UsageError(
            f"nothing was imported, because these states are stored already: {', '.join(refused[:SHOWN_REFUSALS])}"
            f"{more}; --overwrite replaces them"
        )


@asynccontextmanager
async def _opened(app: str | None, storage: str | None, provider: str) -> AsyncGenerator[GrainStorage]:
    """The store. Its tables must be there and up to date: a command that reads migrates nothing."""
    given = {} if storage is None else {"storage": storage}
    if given and provider != "default":
        raise click.UsageError("--storage gives the default storage; leave out --provider")
    with naming_options(given):
        config = config_of(app, given)
        if provider not in config.storage_urls:
            names = ", ".join(sorted(config.storage_urls))
            raise click.UsageError(f"there is no storage {provider!r}; there are {names}")
        url = config.storage_urls[provider]
        with config.naming(*config.storage_option(provider)):
            schema = await schema_of(url, "storage")
            if schema is not None and schema.found < schema.newest:
                what = f"at version {schema.found}" if schema.found else "missing"
                raise ConfigurationError(f"its tables are {what}, this grange needs {schema.newest}: `grange migrate`")
    async with open_storage(url, config.service, config.storage_settings()) as opened:
        yield opened


def _hosted(app: str | None) -> tuple[str, ...]:
    if app is None:
        raise click.UsageError("name the TYPEs, or the silo that hosts them: --app MODULE:SILO")
    return tuple(sorted(spec_of(grain).name for grain in named_silo(app).definition(insecure=True).grains))


@contextmanager
def _new_file(path: Path) -> Generator[Callable[[bytes], None]]:
    """A file that only its owner may read; an existing one is not touched. A part of an export is removed."""
    try:
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "wb")
    except FileExistsError:
        raise click.UsageError(f"{str(path)!r} exists; name a new file") from None
    except OSError as error:
        raise OutputLost(error.strerror or str(error)) from error
    try:
        with file:
            yield lambda data: file.writelines((data, b"\n"))
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


@contextmanager
def _bar(text: str, total: int | None) -> Generator[Callable[[], None]]:
    """A bar on standard error if that is a terminal; nothing elsewhere."""
    console = Console(stderr=True, highlight=False, markup=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(text, total=total)
        yield lambda: progress.advance(task)
