"""Medians, ratios within rounds, and targets."""

import json

from benchmarks.catalog import CONTESTANTS, FIGURES
from benchmarks.results import Samples, document, labels_in_order, ratios, values, verdicts


def taken(figure, **by_label):
    samples = Samples(rounds=3)
    for label, numbers in by_label.items():
        name, _, python = label.rpartition("_")
        for number, value in enumerate(numbers):
            if value is not None:
                samples.add(figure, f"{name}@3.{python}", number, {"value": value})
    return samples


def test_a_ratio_is_taken_within_each_round():
    samples = taken("throughput", grange_11=[100, 20, 60], bare_11=[200, 10, 60])
    [ratio] = ratios(samples, "throughput")
    assert ratio.rounds == (0.5, 2.0, 1.0)
    assert ratio.median == 1.0


def test_a_ratio_never_mixes_interpreters():
    samples = taken("throughput", grange_11=[100], grange_13=[100], bare_13=[50])
    assert [(one.grange, one.other) for one in ratios(samples, "throughput")] == [("grange@3.13", "bare@3.13")]


def test_a_failed_round_is_left_out_of_values_and_ratios():
    samples = taken("throughput", grange_11=[100, None, 60], bare_11=[200, 10, None])
    assert values(samples, "throughput", "grange@3.11") == [100, 60]
    [ratio] = ratios(samples, "throughput")
    assert ratio.rounds == (0.5,)


def test_more_is_better_for_throughput_and_less_for_latency():
    figures = {"throughput": (0.8, True), "latency": (1.1, True)}
    for name, (value, met) in figures.items():
        samples = taken(name, grange_11=[value], bare_11=[1.0])
        [verdict] = verdicts(samples, FIGURES[name])
        assert verdict.met is met
    [missed] = verdicts(taken("latency", grange_11=[1.3], bare_11=[1.0]), FIGURES["latency"])
    assert not missed.met


def test_a_target_without_an_opponent_judges_the_figure_itself():
    [verdict] = verdicts(taken("memory", grange_11=[2000, 1500, 1000]), FIGURES["memory"])
    assert (verdict.measured, verdict.met) == (1500, True)


def test_labels_come_in_catalogue_order_and_then_by_python():
    samples = taken("local", nigrains_13=[1], nigrains_11=[1], grange_13=[1])
    order = labels_in_order(list(CONTESTANTS.values()), samples, "local")
    assert order == ["grange@3.13", "nigrains@3.11", "nigrains@3.13"]


def test_the_document_is_json_with_rounds_medians_ratios_and_targets():
    samples = taken("throughput", grange_11=[100, 20, 60], bare_11=[200, 10, 60])
    found = json.loads(json.dumps(document([FIGURES["throughput"]], samples)))["throughput"]
    assert found["unit"] == "calls/s"
    assert found["values"]["grange@3.11"]["median"] == 60
    assert [one["value"] for one in found["values"]["grange@3.11"]["rounds"]] == [100, 20, 60]
    assert found["ratios"]["grange@3.11 / bare@3.11"] == {"median": 1.0, "rounds": [0.5, 2.0, 1.0]}
    assert found["targets"] == [{"against": "bare", "python": "3.11", "target": 0.7, "measured": 1.0, "met": True}]
