"""Which contestants run under which interpreter."""

import dataclasses
import sys

from benchmarks.catalog import CONTESTANTS
from benchmarks.environments import Interpreter, variants

HERE = Interpreter(sys.executable, (3, 11))


def labels(contestant):
    ready, failed = variants([contestant], [HERE], print)
    assert failed == {}
    return [variant.label for variant in ready]


def test_a_contestant_of_this_tree_runs_in_this_environment_with_its_arguments():
    ready, _ = variants([dataclasses.replace(CONTESTANTS["grange tcp"], needs=None)], [HERE], print)
    assert ready[0].command == (sys.executable, "-m", "benchmarks.contestants.grange_", "--road", "tcp")
    assert ready[0].label == "grange tcp@3.11"


def test_a_contestant_is_left_out_where_the_tree_has_not_what_it_needs():
    assert labels(dataclasses.replace(CONTESTANTS["grange"], needs="grange.errors")) == ["grange@3.11"]
    assert labels(dataclasses.replace(CONTESTANTS["grange"], needs="grange.no_such_module")) == []


def test_a_contestant_is_left_out_under_an_older_python():
    assert labels(CONTESTANTS["casty"]) == []
