"""Metrics of both planes: names, types, labels and meanings from the collectors, with the queries beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from unittest.mock import MagicMock

from prometheus_client import Metric

from controlplane.api import metrics as controlplane
from dataplane.observe import metrics as dataplane
from tests.support.reference.schema import cell

HEADER = """\
# Metrics

Both planes answer `GET /metrics` in Prometheus' text format: control planes on `ADMIN_LISTEN`, data planes on
`STATUS_LISTEN`, and on the traffic port if `EXPOSE_METRICS` is set. Every metric has a useful query; a query with a
comparison can be used for an alert. This page is made from the code (`make docs`).

Prometheus gives its targets a label `instance`; it renames a label with that name in a metric to `exported_instance`.
In addition there are the usual `process_…` metrics of a control plane, and `headgate_supervisor_process_…` of a data
plane.
"""


def families() -> Iterator[tuple[str, Iterable[Metric], Mapping[str, str]]]:
    """Title, metrics and queries of each plane. The metrics have no samples, because only their descriptions are
    used."""
    view = MagicMock()
    view.return_value.totals.connections_refused = 0
    view.return_value.totals.access_log_drops = 0
    parts = MagicMock(version="")
    parts.commands.counts.streams.return_value = (0, 0)
    yield "Data plane", dataplane.NodeCollector(view).collect(), dataplane.QUERIES
    yield "Control plane", controlplane.PartsCollector(parts).collect(), controlplane.QUERIES


def name_of(metric: Metric) -> str:
    """The exposed name; that of a histogram is followed by `_bucket`, `_sum` and `_count`."""
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def render() -> str:
    """The whole page. ValueError names metrics without a query, and queries without a metric."""
    lines, wrong = [HEADER], set[str]()
    for title, metrics, queries in families():
        found = {name_of(metric): metric for metric in metrics}
        wrong |= found.keys() ^ queries.keys()
        lines += [f"\n## {title}\n", "| metric | labels | meaning, and a query |", "|---|---|---|"]
        for name, metric in found.items():
            labels = ", ".join(f"`{label}`" for label in getattr(metric, "_labelnames", ()))
            query = f"`{queries.get(name, '')}`"
            cells = (f"`{name}`<br>{metric.type}", labels, f"{metric.documentation}<br>{query}")
            lines.append("| " + " | ".join(map(cell, cells)) + " |")
    if wrong:
        raise ValueError("metrics without a query, or queries without a metric: " + ", ".join(sorted(wrong)))
    return "\n".join(lines) + "\n"
