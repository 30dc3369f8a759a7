"""The order of a run."""

from benchmarks.catalog import CONTESTANTS, FIGURES, Setting
from benchmarks.plan import QUICK, Variant, sessions


def variant(name, python="3.11"):
    return Variant(CONTESTANTS[name], python, ("python",))


def test_contestants_take_turns_within_a_round():
    plan = sessions([FIGURES["throughput"]], [variant("grange"), variant("bare"), variant("xoscar")], 2)
    turns = [(session.round, session.variant.label) for session in plan]
    assert turns == [
        (0, "grange@3.11"), (0, "bare@3.11"), (0, "xoscar@3.11"),
        (1, "grange@3.11"), (1, "bare@3.11"), (1, "xoscar@3.11"),
    ]  # fmt: skip


def test_figures_of_one_setting_share_the_processes():
    plan = sessions(list(FIGURES.values()), [variant("grange")], 1)
    assert [[figure.name for figure in session.figures] for session in plan] == [
        ["throughput", "latency"],
        ["local", "activation"],
        ["memory"],
        ["state"],
    ]


def test_no_contestant_is_started_for_a_figure_it_cannot_take():
    plan = sessions(list(FIGURES.values()), [variant("nigrains")], 1)
    assert {session.setting for session in plan} == {Setting.ALONE, Setting.FRESH}


def test_memory_has_keys_of_its_own_number():
    assert QUICK.order(FIGURES["memory"])["count"] == QUICK.idle
    assert QUICK.order(FIGURES["activation"])["count"] == QUICK.activations
