"""The command `python -m benchmarks.guard` (or `make bench-guard`): did calls become slower than in another commit?

It checks the other commit out into a temporary folder and measures both trees in alternating rounds, with the same
interpreter and with the load of this tree. It judges processor time, because that hardly changes when other programs
use the machine. This tree is measured as it stands, with changes that are not committed.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.catalog import FIGURES
from benchmarks.comparison import LIMIT, Change, changes, turns
from benchmarks.installed import describe
from benchmarks.plan import Lengths
from benchmarks.processes import ROOT, ContestantFailed, Worker, worker
from benchmarks.run import measure
from benchmarks.table import number, plain_table

FIGURES_REMOTE = ("throughput-100", "throughput-1")
FIGURES_LOCAL = ("local", "activation")
_LENGTHS = Lengths(seconds=1.0, activations=5000)

Taken = dict[str, dict[str, list[float]]]


def main() -> int:
    """Compare, print the table. Returns 1 when a figure became slower, 2 when the trees could not be compared."""
    options = _options()
    console = Console()
    try:
        with base_tree(ROOT, options.base) as tree:
            found = asyncio.run(_compare({"base": tree, "now": ROOT}, options.rounds, console))
    except (ContestantFailed, ValueError, CheckoutFailed) as error:
        console.print(f"[red]{error}[/red]")
        return 2
    _print(console, options.base, found)
    return 1 if any(change.slower() for change in found) else 0


class CheckoutFailed(Exception):
    """Git could not check the commit out; the message is its error."""


@contextmanager
def base_tree(root: Path, commit: str) -> Iterator[Path]:
    """Check a commit of the repository at `root` out, with the benchmarks of `root`, until the block ends.

    Nothing is left of it, also when the block is interrupted. Raises CheckoutFailed.
    """
    folder = Path(tempfile.mkdtemp(prefix="grange-guard-"))
    tree = folder / "tree"
    try:
        added = _git(root, "worktree", "add", "--quiet", "--detach", str(tree), commit)
        if added.returncode:
            raise CheckoutFailed(added.stderr.strip())
        shutil.rmtree(tree / "benchmarks", ignore_errors=True)
        shutil.copytree(root / "benchmarks", tree / "benchmarks", ignore=shutil.ignore_patterns(".venvs"))
        describe(tree)
        yield tree
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _git(root, "worktree", "prune")


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)


async def _compare(trees: Mapping[str, Path], rounds: int, console: Console) -> list[Change]:
    """Measure and compare. What seems slower is measured for as many rounds again, and judged by all of them."""
    taken: Taken = {side: {} for side in trees}
    await _measure(trees, rounds, taken, console)
    found = changes(taken["base"], taken["now"])
    if any(change.slower() for change in found):
        await _measure(trees, rounds, taken, console)
        found = changes(taken["base"], taken["now"])
    return found


async def _measure(trees: Mapping[str, Path], rounds: int, taken: Taken, console: Console) -> None:
    """Add processor times to `taken`: side, then figure, then a value per round. Raises ContestantFailed."""
    columns = (TextColumn("{task.description:<16}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with tempfile.TemporaryDirectory() as logs, Progress(*columns, console=console) as progress:
        task = progress.add_task("starting", total=2 * rounds)
        for turn, side in turns(rounds, ("base", "now")):
            progress.update(task, description=f"round {turn + 1}: {side}")
            async for figure, microseconds in _one_turn(trees[side], Path(logs) / f"{side}.log"):
                taken[side].setdefault(figure, []).append(microseconds)
            progress.advance(task)


async def _one_turn(tree: Path, log: Path) -> AsyncIterator[tuple[str, float]]:
    async with AsyncExitStack() as started:

        async def start(role: str, *arguments: str) -> Worker:
            command = [sys.executable, "-m", "benchmarks.contestants.grange_", role, *arguments]
            return await started.enter_async_context(worker(command, log.with_stem(f"{log.stem}-{role}"), tree))

        server = await start("serve")
        driver = await start("drive", "--address", server.introduction["ready"])
        for figure in FIGURES_REMOTE:
            yield figure, (await measure(_LENGTHS.order(FIGURES[figure]), server, [driver]))["processor"]
        alone = await start("alone")
        for figure in FIGURES_LOCAL:
            yield figure, (await measure(_LENGTHS.order(FIGURES[figure]), None, [alone]))["processor"]


def _print(console: Console, base: str, found: list[Change]) -> None:
    title = f"processor time of a call in μs: this tree against {base} (median and least of {len(found[0].now)} rounds)"
    table = plain_table(title, "figure", "before", "least", "now", "least", "factor", "")
    for change in found:
        cells = [
            number(value) for side in (change.before, change.now) for value in (sorted(side)[len(side) // 2], min(side))
        ]
        table.add_row(change.figure, *cells, f"{change.factor:.2f}", "SLOWER" if change.slower() else "")
    console.print(table)
    console.print(f"a factor above {LIMIT:g} fails; it is that of the medians or of the least values, the smaller one")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.guard", description="Compare calls with another commit."
    )
    parser.add_argument("--base", metavar="COMMIT", default="HEAD~1", help="the commit to compare with (HEAD~1)")
    parser.add_argument("--rounds", type=int, default=7, help="each tree is measured once a round (7)")
    return parser.parse_args()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that SIGTERM removes the folder too
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped; the temporary folder is gone")
