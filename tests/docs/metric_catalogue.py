"""Generates docs/operations/metrics.md from the declarations: `python -m tests.docs.metric_catalogue` writes it."""

from __future__ import annotations

from grange.observability.histogram import BOUNDS
from grange.observability.metrics import GROUPS
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "operations" / "metrics.md"

HEAD = f"""\
# Metrics

All that `/metrics` of a silo's admin port shows. [Monitoring](monitoring.md) says how
to read it. `python -m tests.docs.metric_catalogue` generates this page from the declarations in
`grange/observability/metrics.py`.

Counters rise from the start of the silo. Histograms have these bounds, in seconds:
{", ".join(f"{bound:g}" for bound in BOUNDS)}.
A label is a name of the program: a grain type, a method, a reason, a store. A grain key is never a label.
"""


def page() -> str:
    parts = [HEAD]
    for title, metrics in GROUPS:
        rows = [f"## {title}", "", "| metric | kind | labels | meaning |", "|---|---|---|---|"]
        for metric in metrics:
            labels = ", ".join(f"`{each}`" for each in metric.labels) or "none"
            rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.text} |")
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), "utf-8")
