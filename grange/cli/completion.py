"""Completion in a shell: `grange completion SHELL` prints the script, the rest finds the words for an argument.

A completion is silent: where a cluster does not answer at once, there is nothing to complete.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path

import click
import msgspec
from click.shell_completion import get_completion_class

from grange.cli.remote import remote_cluster
from grange.cli.streams import write
from grange.client.client import Client
from grange.membership.model.member import SiloStatus
from grange.printable import printable
from grange.proto.ids import GrainId
from grange.proto.inspection import FIND, FindActivations, FoundActivations
from grange.proto.management import METHODS, decode_methods

PATIENCE = 0.5
"""Seconds to find a gateway, and for its answer: a person waits for the completion."""

MOST_KEYS = 20
"""Keys of one silo that are offered."""

_VARIABLE = re.compile(r"^(\w+)\s*(?::[^=\n]+)?=\s*(?:\w+\.)*Silo\(", re.MULTILINE)
_LARGEST_MODULE = 256 * 1024
_MOST_MODULES = 300

# Bash ends a word at a colon, so a name like shop:silo would be completed in two halves.
_BASH_WORDS = "COMP_WORDBREAKS=${COMP_WORDBREAKS//:}\n"


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the script that completes commands, grains and silos in a shell.

    For bash, add to ~/.bashrc: source <(grange completion bash)
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click knows these shells"
    root = click.get_current_context().find_root().command
    source = kind(root, {}, "grange", "_GRANGE_COMPLETE").source_template % {
        "complete_func": "_grange_completion",
        "complete_var": "_GRANGE_COMPLETE",
        "prog_name": "grange",
    }
    write((_BASH_WORDS if shell == "bash" else "") + source.strip())


def complete_silo_variable(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """`module:variable` of the silos in this folder, found in the text of the modules; none is imported."""
    return [name for name in _silo_variables(Path()) if name.startswith(incomplete)]


def complete_silo(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The names of the silos that have not ended."""

    async def names(client: Client) -> Iterable[str]:
        living = [member for member in client.view.members if member.status is not SiloStatus.DEAD]
        return [member.name or member.address.endpoint for member in living]

    return _answers(ctx, names, incomplete)


def complete_grain_type(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The grain types of the cluster."""
    return _answers(ctx, _types, incomplete)


def complete_grain(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The grain types of the cluster with a slash; after the slash, some keys of grains that are active."""
    grain_type, slash, prefix = incomplete.partition("/")
    if not slash:
        return [f"{name}/" for name in _answers(ctx, _types, incomplete)]
    asked = FindActivations(grain_type, prefix=prefix, limit=MOST_KEYS)

    async def grains(client: Client) -> Iterable[str]:
        question = msgspec.msgpack.encode(asked)
        answers = await asyncio.gather(*(client.ask(each, FIND, question, PATIENCE) for each in client.gateways[:3]))
        found = [msgspec.msgpack.decode(answer, type=FoundActivations) for answer in answers]
        return {str(row.grain_id) for each in found for row in each.rows}

    return _answers(ctx, grains, incomplete)


def complete_method(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The methods of the grain type of the argument before."""
    grain = ctx.params.get("grain")
    grain_type = grain.type if isinstance(grain, GrainId) else ""

    async def methods(client: Client) -> Iterable[str]:
        for gateway in client.gateways[:2]:
            found = decode_methods(await client.ask(gateway, METHODS, grain_type.encode(), PATIENCE))
            if found:
                return found
        return ()

    return _answers(ctx, methods, incomplete)


async def _types(client: Client) -> Iterable[str]:
    return {name for member in client.view.active for name in member.grains}


def _answers(ctx: click.Context, question: Callable[[Client], Awaitable[Iterable[str]]], incomplete: str) -> list[str]:
    """The words that a cluster answers. Any failure is no word: an error would be written into the user's line."""
    params = ctx.params
    try:
        cluster = remote_cluster(
            tuple(params.get("gateway") or ()), params.get("membership"), bool(params.get("here")),
            cluster=params.get("cluster"), token_file=params.get("token_file") or "", connect_timeout=PATIENCE,
            is_quiet=True,
        )  # fmt: skip
        words = cluster.ask(question, PATIENCE)
    except Exception:
        return []
    return sorted(word for word in words if word.startswith(incomplete) and printable(word) == word)


def _silo_variables(folder: Path) -> Iterator[str]:
    modules = sorted([*folder.glob("*.py"), *folder.glob("*/*.py")])[:_MOST_MODULES]
    for path in modules:
        parts = path.relative_to(folder).with_suffix("").parts
        if not all(part.isidentifier() for part in parts) or not os.access(path, os.R_OK):
            continue
        module = ".".join(part for part in parts if part != "__init__")
        with path.open("rb") as file:
            text = file.read(_LARGEST_MODULE).decode("utf-8", "replace")
        yield from (f"{module}:{name}" for name in _VARIABLE.findall(text))
