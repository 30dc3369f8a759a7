"""The names on the command line, and the consistency of the catalogue."""

import importlib.util

import pytest

from benchmarks import catalog


def test_every_figure_is_measured_by_default():
    assert [figure.name for figure in catalog.choose_figures(None)] == list(catalog.FIGURES)


def test_some_figures_keep_their_order():
    assert [figure.name for figure in catalog.choose_figures("memory, silos")] == ["silos", "memory"]


def test_a_group_names_its_figures():
    chosen = [figure.name for figure in catalog.choose_figures("throughput,size-1k")]
    assert chosen == ["throughput-1", "throughput-10", "throughput-100", "throughput-1000", "size-1k"]


def test_an_unknown_figure_is_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"no figure is called speed; there is throughput, size, clients"):
        catalog.choose_figures("speed")


def test_ray_takes_part_only_when_named():
    assert "ray" not in {one.name for one in catalog.choose_contestants(None)}
    assert [one.name for one in catalog.choose_contestants("ray") if one.peer] == ["ray"]


def test_no_peer_leaves_grange_and_its_limits():
    chosen = [one.name for one in catalog.choose_contestants("none")]
    assert chosen == ["grange", "grange tcp", "bare", "bare packed", "bare socket", "raw asyncpg"]


def test_an_unknown_peer_is_named():
    with pytest.raises(ValueError, match=r"no peer is called akka"):
        catalog.choose_contestants("akka")


@pytest.mark.parametrize("contestant", catalog.CONTESTANTS.values(), ids=lambda one: one.name)
def test_a_contestant_has_its_file(contestant):
    assert importlib.util.find_spec(f"benchmarks.contestants.{contestant.module}") is not None
    assert contestant.figures <= set(catalog.FIGURES)


def test_targets_name_figures_and_contestants_that_take_them():
    for target in catalog.TARGETS:
        assert target.figure in catalog.FIGURES
        assert target.figure in catalog.CONTESTANTS[target.subject].figures
        if target.against not in {None, catalog.BEST_PEER}:
            assert target.figure in catalog.CONTESTANTS[target.against].figures


def test_less_of_a_percentile_is_better_even_if_more_of_the_value_is():
    assert catalog.Target("throughput-1", "bare", 1.0).more
    assert not catalog.Target("throughput-1", "bare", 1.0, part="p50").more
