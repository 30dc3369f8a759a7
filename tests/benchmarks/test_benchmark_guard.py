"""The comparison of two trees, and the temporary folder of the other commit."""

import asyncio
import subprocess
import sys
from importlib.metadata import distributions

import pytest

from benchmarks import guard
from benchmarks.comparison import Change, changes, turns


def test_both_sides_have_a_turn_in_each_round_and_take_turns_in_going_first():
    assert turns(3, ("base", "now")) == [
        (0, "base"), (0, "now"), (1, "now"), (1, "base"), (2, "base"), (2, "now"),
    ]  # fmt: skip


def test_more_than_a_tenth_is_slower():
    assert not Change("local", (10.0, 10.0, 10.0), (10.9, 10.9, 10.9)).slower()
    assert Change("local", (10.0, 10.0, 10.0), (11.1, 11.2, 11.1)).slower()
    assert not Change("local", (10.0,), (5.0,)).slower()


def test_a_busy_machine_in_most_rounds_of_one_tree_fails_nothing():
    assert not Change("local", (10.0, 10.1, 10.2), (14.0, 10.1, 13.0)).slower()


def test_one_lucky_round_of_the_other_tree_fails_nothing():
    assert not Change("local", (8.0, 10.1, 10.2), (10.0, 10.1, 10.3)).slower()


def test_slower_code_fails_on_a_busy_machine_too():
    assert Change("local", (10.0, 14.0, 10.2), (12.0, 17.0, 12.3)).slower()


def test_figures_are_paired_and_a_lacking_one_is_named():
    [change] = changes({"local": [1.0, 2.0]}, {"local": [3.0, 4.0]})
    assert change == Change("local", (1.0, 2.0), (3.0, 4.0))
    with pytest.raises(ValueError, match="not measured in both trees: activation, local"):
        changes({"local": [1.0], "activation": [1.0]}, {"local": []})


@pytest.fixture
def repository(tmp_path):
    root = tmp_path / "repository"
    (root / "benchmarks").mkdir(parents=True)
    (root / "benchmarks" / "load.py").write_text("old")
    (root / "code.py").write_text("old")
    (root / "pyproject.toml").write_text('[project.entry-points."grange.storage"]\nold = "code"\n')
    for command in (
        ["init", "--quiet"],
        ["add", "-A"],
        ["-c", "user.name=a", "-c", "user.email=a@localhost", "commit", "--quiet", "--no-gpg-sign", "-m", "old"],
    ):
        git(root, *command)
    (root / "code.py").write_text("new")
    (root / "benchmarks" / "load.py").write_text("new")
    (root / "pyproject.toml").write_text('[project.entry-points."grange.storage"]\nnew = "code"\n')
    return root


def git(root, *command):
    return subprocess.run(["git", *command], cwd=root, check=True, capture_output=True, text=True).stdout


def test_the_other_tree_has_its_own_code_and_the_load_of_this_one(repository):
    with guard.base_tree(repository, "HEAD") as tree:
        assert (tree / "code.py").read_text() == "old"
        assert (tree / "benchmarks" / "load.py").read_text() == "new"
        found = distributions(name="grange", path=[str(tree)])
        assert [point.name for each in found for point in each.entry_points] == ["old"]
    assert_nothing_left(repository, tree)


def test_an_interrupted_comparison_leaves_nothing(repository):
    with pytest.raises(KeyboardInterrupt), guard.base_tree(repository, "HEAD") as tree:  # noqa: PT012
        left = tree
        raise KeyboardInterrupt
    assert_nothing_left(repository, left)


def test_an_unknown_commit_is_named_and_leaves_nothing(repository):
    with pytest.raises(guard.CheckoutFailed, match="no-such-commit"), guard.base_tree(repository, "no-such-commit"):
        pass
    assert len(git(repository, "worktree", "list").splitlines()) == 1


def assert_nothing_left(repository, tree):
    assert not tree.parent.exists()
    assert len(git(repository, "worktree", "list").splitlines()) == 1


@pytest.mark.processes
def test_the_modules_of_the_given_tree_are_imported(tmp_path):
    """A guard that imports one tree for both sides would find no change, ever."""
    (tmp_path / "grange.py").write_text("tree = 'the other'")
    code = "import json, grange; print(json.dumps({'ready': grange.tree}), flush=True)"

    async def introduction():
        async with guard.worker([sys.executable, "-c", code], tmp_path / "log", tmp_path) as running:
            return running.introduction

    assert asyncio.run(introduction()) == {"ready": "the other"}
