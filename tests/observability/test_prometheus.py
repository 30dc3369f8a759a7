"""The text of /metrics: what Prometheus reads, from a snapshot."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from grange.observability.histogram import BOUNDS
from grange.observability.metric import Kind
from grange.observability.metrics import METRICS
from grange.observability.prometheus import Exemplar, exemplars_of, openmetrics_text, prometheus_text
from grange.observability.snapshot import Snapshot
from grange.proto.journal import RootRow, SpanRow
from tests.observability.full_snapshot import full_snapshot
from tests.tools import tool

FULL = full_snapshot()


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value
        for family in read_text(text)
        for each in family.samples
    }


@pytest.mark.tools
def test_promtool_finds_nothing_to_say() -> None:
    done = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=prometheus_text(FULL), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_metric_stands_there_with_its_help() -> None:
    families = {family.name: family for family in read_text(prometheus_text(FULL))}
    for metric in METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (str(metric.kind), metric.text)
        assert family.samples, f"the full snapshot gives {metric.name} no value"
        for each in family.samples:
            assert set(each.labels) - {"le"} == set(metric.labels)


def test_openmetrics_says_the_same() -> None:
    text = [each for family in read_text(prometheus_text(FULL)) for each in family.samples]
    openmetrics = [each for family in read_openmetrics(openmetrics_text(FULL)) for each in family.samples]
    assert [(each.name, each.labels, each.value) for each in openmetrics] == [
        (each.name, each.labels, each.value) for each in text
    ]


def test_a_histogram_adds_up() -> None:
    method = FULL.types[0].methods[0]
    found = samples(prometheus_text(FULL))
    labels = (("method", method.method), ("type", FULL.types[0].type))
    name = "grange_call_duration_seconds"
    assert found[f"{name}_count", labels] == method.calls.count
    assert found[f"{name}_sum", labels] == method.calls.total
    for index, bound in enumerate(BOUNDS):
        key = tuple(sorted((*labels, ("le", f"{bound:g}"))))
        assert found[f"{name}_bucket", key] == sum(method.calls.all_cells[: index + 1])


@pytest.mark.parametrize("seconds", [0.0, 0.00005, 0.3, 31.0])
def test_an_exemplar_stands_at_its_bucket(seconds: float) -> None:
    each = FULL.types[0]
    exemplar = Exemplar("4bf92f3577b34da6a3ce929d0e0e4736", seconds, 1_700_000_000.25)
    text = openmetrics_text(FULL, {(each.type, each.methods[0].method): exemplar})
    marked = [
        sample for family in read_openmetrics(text) for sample in family.samples if getattr(sample, "exemplar", None)
    ]
    (sample,) = marked
    assert sample.name == "grange_call_duration_seconds_bucket"
    assert (sample.labels["type"], sample.labels["method"]) == (each.type, each.methods[0].method)
    assert seconds <= float(sample.labels["le"])
    assert sample.exemplar.labels == {"trace_id": exemplar.trace}
    assert (sample.exemplar.value, float(sample.exemplar.timestamp)) == (seconds, exemplar.time)


def root(
    name: str, seconds: float, end: float = 100.0, kind: str = "server", span: str = "s", trace: str = "t"
) -> RootRow:
    return RootRow(SpanRow(trace, span, "", kind, name, end - seconds, seconds), "sample")


def test_the_exemplar_is_the_slowest_sampled_request_of_the_last_minute() -> None:
    roots = [
        root("cart/add", 0.2, trace="quick"),
        root("cart/add", 0.5, trace="slowest"),
        root("cart/add", 9.0, 30.0, trace="too old"),
        root("cart/add", 9.0, kind="client", trace="a call to another silo"),
        root("cart/add", 9.0, span="", trace="not sampled"),
        root("a/b/pay", 0.1, trace="other"),
    ]
    found = exemplars_of(roots, since=40.0)
    assert {key: each.trace for key, each in found.items()} == {("cart", "add"): "slowest", ("a/b", "pay"): "other"}
    assert found["cart", "add"] == Exemplar("slowest", 0.5, 100.0)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_no_name_breaks_out_of_its_label(name: str) -> None:
    figures = full_snapshot(first_type=name)
    found = {each.labels["type"] for family in read_text(prometheus_text(figures)) for each in family.samples
             if family.name == "grange_activations"}  # fmt: skip
    assert name in found
    assert len(found) == len(figures.types)


def test_an_empty_silo_has_all_metrics_without_labels() -> None:
    figures = Snapshot(address=FULL.address, name="a", cluster="c", release="1", time=1.0, uptime=2.0, span=2.0)
    names = {each.name for family in read_text(prometheus_text(figures)) for each in family.samples}
    for metric in METRICS:
        if not metric.labels:
            assert (metric.name if metric.kind is not Kind.HISTOGRAM else f"{metric.name}_count") in names


def test_no_label_is_a_grain_key() -> None:
    assert {label for metric in METRICS for label in metric.labels} == {
        "type", "method", "status", "reason", "provider", "operation", "error", "peer", "direction", "name", "address",
        "cluster", "version", "cause", "part", "generation", "certificate",
        "source", "outcome", "kind", "port", "evidence",
    }  # fmt: skip
