"""Reads the description of a machine."""

from benchmarks.machine import cpu_model, total_memory


def test_the_processor_is_named():
    assert cpu_model("processor\t: 0\nmodel name\t: Fast One\nmodel name\t: Fast One\n") == "Fast One"
    assert cpu_model("") == ""


def test_memory_is_in_mebibytes():
    assert total_memory("MemTotal:       25165824 kB\nMemFree: 1 kB\n") == 24576
    assert total_memory("") is None
