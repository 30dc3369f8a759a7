"""The catalogue of metrics is generated from their declarations, as /metrics is."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

from grange.observability.prometheus import prometheus_text
from tests.docs.metric_catalogue import PAGE, page
from tests.observability.full_snapshot import full_snapshot


def test_the_page_is_generated_from_the_declarations() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: python -m tests.docs.metric_catalogue"


def test_the_page_and_metrics_name_the_same_figures() -> None:
    listed = re.findall(r"^\| `(grange_\w+)` \| (\w+) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    shown = [
        (f"{family.name}_total" if family.type == "counter" else family.name, family.type)
        for family in text_string_to_metric_families(prometheus_text(full_snapshot()))
    ]
    assert listed == shown
