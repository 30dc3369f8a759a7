"""Runs the Python blocks of one page, in order, in one namespace and one event loop: `run_blocks.py PAGE`.

Each page runs in a process of its own, so that a page cannot affect the tests or another page. Blocks may use `await`
at the top level. A block whose first line is a comment that names a file (`# shop.py`) is also saved under that name,
so that a later block or command can import it; so is a block of TOML (`# grange.toml`), which silos then read. A saved
block with a main line also runs as a program, twice, because readers may run it again.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import subprocess
import sys
import types
from pathlib import Path

from tests.docs.pages import Block, blocks

FILE_NAME = re.compile(r"# ([a-z_]+\.py|grange\.toml)\s*\n")
MAIN = 'if __name__ == "__main__":'


def save_if_named(block: Block) -> None:
    named = FILE_NAME.match(block.text)
    if named:
        Path(named[1]).write_text(block.text)


def run_if_program(block: Block) -> None:
    named = FILE_NAME.match(block.text)
    if named and MAIN in block.text:
        for _ in range(2):
            subprocess.run([sys.executable, "-W", "error", named[1]], check=True)


async def run(page: Path) -> None:
    module = types.ModuleType("page")
    sys.modules["page"] = module  # dataclasses and annotations find their module by name
    for block in blocks(page):
        if block.language in ("python", "toml"):
            save_if_named(block)
        if block.language != "python":
            continue
        source = "\n" * (block.line - 1) + block.text  # a traceback then names the line of the page
        code = compile(source, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        result = eval(code, module.__dict__)
        if inspect.iscoroutine(result):
            await result
        run_if_program(block)


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    asyncio.run(run(Path(sys.argv[1])))
