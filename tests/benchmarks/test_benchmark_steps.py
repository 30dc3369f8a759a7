"""The steps of a call come from docs/one-call.md, and each file that it names exists."""

import sys

from benchmarks.contestants.watch import Watch, place_of
from benchmarks.processes import ROOT
from benchmarks.steps import BENCHMARK, OUTSIDE, PAGE, Step, by_step, in_order, steps_of

TEXT = """\
1. **[a](../grange/grains/ref.py)** makes it; see [b](../grange/proto/shapes.py).
2. **[c](../grange/silo/gateway.py)** relays it
   by [b](../grange/proto/shapes.py) and [the wire](wire.md).

## Back

3. **no file** at all.
"""


def test_a_step_has_the_files_that_its_item_links_to_and_no_file_twice():
    assert steps_of(TEXT) == [
        Step(1, ("grange/grains/ref.py", "grange/proto/shapes.py")),
        Step(2, ("grange/silo/gateway.py",)),
    ]
    assert steps_of(TEXT)[0].name == "1 grains/ref"


def test_every_file_of_a_step_on_the_page_exists():
    steps = steps_of((ROOT / PAGE).read_text("utf-8"))
    assert len(steps) >= 5, f"{PAGE} describes a call in numbered items that link to files"
    assert [file for step in steps for file in step.files if not (ROOT / file).exists()] == []


def test_what_was_seen_counts_for_its_step_or_its_file():
    seen = [
        ("grange/proto/shapes.py", "f", 2), ("grange/grains/ref.py", "g", 3), ("grange/aio/owned.py", "h", 4),
        ("benchmarks/contestants/load.py", "i", 5), ("", "", 6),
    ]  # fmt: skip
    assert by_step(seen, steps_of(TEXT)) == {"1 grains/ref": 5, "aio/owned.py": 4, BENCHMARK: 5, OUTSIDE: 6}


def test_rows_come_as_on_the_page_and_the_rest_last():
    names = [OUTSIDE, "aio/owned.py", "1 grains/ref"]
    assert in_order(names, steps_of(TEXT)) == ["1 grains/ref", "2 silo/gateway", "aio/owned.py", OUTSIDE]


def test_calls_are_counted_by_the_function_of_this_tree():
    watch, before = Watch(), sys.getprofile()
    watch.start("calls")
    try:
        place_of(None)
        place_of(None)
    finally:
        seen = watch.stop()
        sys.setprofile(before)
    assert ("benchmarks/contestants/watch.py", "place_of", 2) in seen


def test_code_that_nothing_of_the_tree_called_has_no_place():
    assert place_of(sys._getframe()) == ("", "")  # of this test and pytest: nothing of the tree called them
