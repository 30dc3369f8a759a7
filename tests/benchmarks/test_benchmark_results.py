"""Medians, ratios within rounds, and targets."""

import json

from benchmarks.catalog import BEST_PEER, CONTESTANTS, FIGURES, Target
from benchmarks.results import Samples, document, labels_in_order, ratios, samples_of, together, values, verdicts


def taken(figure, **by_label):
    samples = Samples(rounds=3)
    for label, numbers in by_label.items():
        name, _, python = label.rpartition("_")
        for number, value in enumerate(numbers):
            if value is not None:
                samples.add(figure, f"{name}@3.{python}", number, {"value": value})
    return samples


def test_a_ratio_is_taken_within_each_round():
    samples = taken("throughput-100", grange_11=[100, 20, 60], bare_11=[200, 10, 60])
    [ratio] = ratios(samples, "throughput-100")
    assert ratio.rounds == (0.5, 2.0, 1.0)
    assert ratio.median == 1.0


def test_a_ratio_never_mixes_interpreters():
    samples = taken("throughput-100", grange_11=[100], grange_13=[100], bare_13=[50])
    assert [(one.subject, one.other) for one in ratios(samples, "throughput-100")] == [("grange@3.13", "bare@3.13")]


def test_a_peer_that_needs_a_newer_python_counts_under_that():
    samples = taken("throughput-100", grange_11=[100], grange_13=[80], casty_13=[50])
    found = {(one.subject, one.other): one.median for one in ratios(samples, "throughput-100")}
    assert found == {("grange@3.11", "casty@3.13"): 2.0, ("grange@3.13", "casty@3.13"): 1.6}
    assert [(one.python, one.other) for one in verdicts(samples, FIGURES["throughput-100"])] == [
        ("3.11", "casty@3.13"),
        ("3.13", "casty@3.13"),
    ]


def test_a_failed_round_is_left_out_of_values_and_ratios():
    samples = taken("throughput-100", grange_11=[100, None, 60], bare_11=[200, 10, None])
    assert values(samples, "throughput-100", "grange@3.11") == [100, 60]
    [ratio] = ratios(samples, "throughput-100")
    assert ratio.rounds == (0.5,)


def test_more_is_better_for_throughput_and_less_for_a_local_call():
    [verdict] = verdicts(taken("throughput-100", grange_13=[2.3], casty_13=[1.0]), FIGURES["throughput-100"])
    assert verdict.met
    [verdict] = verdicts(taken("throughput-100", grange_13=[2.1], casty_13=[1.0]), FIGURES["throughput-100"])
    assert not verdict.met
    [verdict] = verdicts(taken("local", grange_11=[1.0], nigrains_11=[1.0]), FIGURES["local"])
    assert verdict.met
    [verdict] = verdicts(taken("local", grange_11=[1.2], nigrains_11=[1.0]), FIGURES["local"])
    assert not verdict.met


def test_a_target_of_a_percentile_is_judged_by_it():
    samples = Samples(rounds=1)
    samples.add("throughput-1", "grange@3.11", 0, {"value": 1, "p50": 0.4})
    samples.add("throughput-1", "bare@3.11", 0, {"value": 9, "p50": 0.4})
    [verdict] = verdicts(samples, FIGURES["throughput-1"])
    assert (verdict.target.part, verdict.measured, verdict.met) == ("p50", 1.0, True)


def test_the_socket_road_is_judged_by_its_own_targets_and_the_best_peer():
    samples = Samples(rounds=1)
    for label, p50 in {"grange tcp@3.13": 0.1, "casty@3.13": 0.4, "xoscar@3.13": 0.2, "bare@3.13": 0.05}.items():
        samples.add("throughput-1", label, 0, {"value": 1, "p50": p50})
    [verdict] = verdicts(samples, FIGURES["throughput-1"])
    assert (verdict.target.against, verdict.other, verdict.measured) == (BEST_PEER, "xoscar@3.13", 0.5)
    assert not verdict.met


def test_clients_at_once_add_up_and_the_slowest_counts():
    whole = together([{"value": 10, "calls": 30, "p99": 2.0}, {"value": 20, "calls": 40, "p99": 3.0}])
    assert whole == {"value": 30, "calls": 70, "p99": 3.0}


def test_a_target_without_an_opponent_judges_the_figure_itself(monkeypatch):
    monkeypatch.setattr("benchmarks.results.TARGETS", (Target("memory", None, 1536),))
    [verdict] = verdicts(taken("memory", grange_11=[2000, 1500, 1000]), FIGURES["memory"])
    assert (verdict.measured, verdict.met) == (1500, True)


def test_labels_come_in_catalogue_order_and_then_by_python():
    samples = taken("local", nigrains_13=[1], nigrains_11=[1], grange_13=[1])
    order = labels_in_order(list(CONTESTANTS.values()), samples, "local")
    assert order == ["grange@3.13", "nigrains@3.11", "nigrains@3.13"]


def test_the_document_is_json_with_rounds_medians_ratios_and_targets():
    samples = taken("throughput-100", grange_13=[100, 20, 60], casty_13=[200, 10, None])
    found = json.loads(json.dumps(document([FIGURES["throughput-100"]], samples)))["throughput-100"]
    assert found["unit"] == "calls/s"
    assert found["values"]["grange@3.13"]["median"] == 60
    assert [one["value"] for one in found["values"]["grange@3.13"]["rounds"]] == [100, 20, 60]
    assert found["ratios"]["grange@3.13 / casty@3.13"] == {"median": 1.25, "rounds": [0.5, 2.0]}
    [target] = found["targets"]
    assert (target["against"], target["target"], target["measured"], target["met"]) == ("casty", 2.2, 1.25, False)


def test_samples_come_back_from_a_document():
    samples = taken("throughput-100", grange_13=[100, 20, 60], casty_13=[200, 10, None])
    assert samples_of(document([FIGURES["throughput-100"]], samples)) == samples
