"""The order of a run."""

from benchmarks.catalog import CONTESTANTS, FIGURES, Setting
from benchmarks.plan import QUICK, Variant, sessions


def variant(name, python="3.11"):
    return Variant(CONTESTANTS[name], python, ("python",))


def test_contestants_take_turns_within_a_round():
    plan = sessions([FIGURES["throughput-100"]], [variant("grange"), variant("bare"), variant("xoscar")], 2)
    turns = [(session.round, session.variant.label) for session in plan]
    assert turns == [
        (0, "grange@3.11"), (0, "bare@3.11"), (0, "xoscar@3.11"),
        (1, "grange@3.11"), (1, "bare@3.11"), (1, "xoscar@3.11"),
    ]  # fmt: skip


def test_figures_of_one_setting_share_the_processes():
    plan = sessions(list(FIGURES.values()), [variant("grange")], 1)
    assert [session.setting for session in plan] == list(Setting)
    assert [figure.name for figure in plan[-3].figures] == ["local", "activation"]
    assert {figure.group for figure in plan[0].figures} == {"throughput", "size"}


def test_no_contestant_is_started_for_a_figure_it_cannot_take():
    plan = sessions(list(FIGURES.values()), [variant("nigrains")], 1)
    assert {session.setting for session in plan} == {Setting.ALONE, Setting.FRESH}


def test_memory_has_keys_of_its_own_number():
    assert QUICK.order(FIGURES["memory"])["count"] == QUICK.idle
    assert QUICK.order(FIGURES["activation"])["count"] == QUICK.activations


def test_an_order_has_the_load_of_its_figure():
    order = QUICK.order(FIGURES["size-1k"])
    assert (order["measure"], order["callers"], order["size"]) == ("throughput", 100, 1024)
    assert QUICK.order(FIGURES["clients"])["callers"] == 50
