"""Grafana's dashboard of Headgate, as JSON (`make docs` writes headgate.json). The first row answers: what is broken?

The model is the one that Grafana imports (dashboard JSON, schema version 39), with a variable for the data source.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH: Final = 24
"""Columns of Grafana's grid."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel. `queries` are pairs of expression and legend."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    help: str = ""
    stat: bool = False
    """One figure instead of a graph; any value above 0 is red."""
    inverse: bool = False
    """Of a figure: 0 is red instead."""


def _stat(title: str, query: str, text: str, *, inverse: bool = False) -> Panel:
    return Panel(title, ((query, ""),), help=text, stat=True, inverse=inverse)


ROWS: Final[tuple[tuple[str, tuple[Panel, ...]], ...]] = (
    (
        "What is broken",
        (
            _stat("Data planes ready", "sum(headgate_ready)", "Data planes that take traffic.", inverse=True),
            _stat(
                "Data planes not ready",
                "count(headgate_ready == 0) or vector(0)",
                "GET /ready on their status port says why.",
            ),
            _stat(
                "Services without a healthy instance",
                'count(max by (service) (headgate_instances{status="healthy"}) == 0) or vector(0)',
                "Their requests get 503.",
            ),
            _stat(
                "Open circuits",
                'count(max by (service) (headgate_circuit_state{state="open"}) == 1) or vector(0)',
                "Services whose breaker refuses requests.",
            ),
            _stat(
                "Data planes behind",
                "count(scalar(max(headgate_config_revision)) - headgate_config_revision > 0) or vector(0)",
                "Data planes that serve an older configuration than others.",
            ),
            _stat(
                "Store frozen or lost",
                "(max(headgate_controlplane_store_frozen) or vector(0))"
                " + (count(headgate_controlplane_store_up == 0) or vector(0))",
                "Nothing can be changed; traffic goes on.",
            ),
        ),
    ),
    (
        "Traffic",
        (
            Panel(
                "Requests by status",
                (("sum by (status) (rate(headgate_requests_total[$__rate_interval]))", "{{status}}"),),
                "reqps",
            ),
            Panel(
                "Latency, 99th percentile",
                (
                    (
                        "histogram_quantile(0.99, sum by (service, le) "
                        "(rate(headgate_request_duration_seconds_bucket[$__rate_interval])))",
                        "{{service}}",
                    ),
                ),
                "s",
                "From a request's head to its response's end, for requests that were forwarded.",
            ),
            Panel(
                "Refusals by reason",
                (("sum by (reason) (rate(headgate_refusals_total[$__rate_interval]))", "{{reason}}"),),
                "reqps",
                "Requests that the gateway answered itself.",
            ),
            Panel(
                "Busiest routes",
                (
                    (
                        "topk(10, sum by (route) (rate(headgate_requests_total[$__rate_interval])))",
                        "{{route}}",
                    ),
                ),
                "reqps",
            ),
            Panel(
                "Requests in flight and connections",
                (
                    ("sum(headgate_requests_in_flight)", "requests in flight"),
                    ("sum(headgate_connections)", "client connections"),
                ),
            ),
            Panel(
                "Refused connections, dropped log lines",
                (
                    (
                        "sum(rate(headgate_connections_refused_total[$__rate_interval]))",
                        "refused connections",
                    ),
                    ("sum(rate(headgate_access_log_dropped_total[$__rate_interval]))", "dropped lines"),
                ),
                "cps",
            ),
        ),
    ),
    (
        "Services",
        (
            Panel(
                "Failures by service",
                (
                    (
                        "sum by (service, kind) (rate(headgate_upstream_errors_total[$__rate_interval]))",
                        "{{service}}: {{kind}}",
                    ),
                ),
                "reqps",
                "Requests that an instance did not answer properly.",
            ),
            Panel(
                "Healthy instances",
                (('max by (service) (headgate_instances{status="healthy"})', "{{service}}"),),
            ),
            Panel(
                "Ejected instances",
                (
                    (
                        "sum by (service, exported_instance) (headgate_instances_ejected)",
                        "{{service}}/{{exported_instance}}",
                    ),
                ),
                help="Workers that have ejected the instance because it kept failing.",
            ),
            Panel(
                "Refused by open circuits",
                (
                    (
                        "sum by (service) (rate(headgate_circuit_rejections_total[$__rate_interval]))",
                        "{{service}}",
                    ),
                ),
                "reqps",
            ),
            Panel(
                "Retries",
                (("sum by (service) (rate(headgate_retries_total[$__rate_interval]))", "{{service}}"),),
                "reqps",
            ),
            Panel(
                "Registrations",
                (
                    ("sum(rate(headgate_controlplane_registrations_total[$__rate_interval]))", "registered"),
                    ("sum(rate(headgate_controlplane_deregistrations_total[$__rate_interval]))", "removed"),
                ),
                "cps",
            ),
        ),
    ),
    (
        "Limits",
        (
            Panel(
                "Admitted by limit",
                (("sum by (limit) (rate(headgate_limit_admitted_total[$__rate_interval]))", "{{limit}}"),),
                "reqps",
                "Tokens of leased limits that requests took.",
            ),
            Panel(
                "Refused by limit",
                (
                    (
                        "topk(10, sum by (limit) (rate(headgate_limit_refused_total[$__rate_interval])))",
                        "{{limit}}",
                    ),
                ),
                "reqps",
            ),
            Panel(
                "Without owner or Redis",
                (("sum by (limit) (headgate_limit_away)", "{{limit}}"),),
                help="Workers whose limit gets no answer: without_owner or on_store_failure applies.",
            ),
        ),
    ),
    (
        "Distribution of the configuration",
        (
            Panel(
                "Revision by data plane",
                (("headgate_config_revision", "{{instance}}"),),
                help="A line that stays below the others is a data plane that is behind.",
            ),
            Panel(
                "Sent to data planes",
                (
                    ("sum(rate(headgate_controlplane_deltas_sent_total[$__rate_interval]))", "deltas"),
                    ("sum(rate(headgate_controlplane_marks_sent_total[$__rate_interval]))", "marks"),
                    ("sum(rate(headgate_controlplane_snapshots_sent_total[$__rate_interval]))", "snapshots"),
                ),
                "cps",
            ),
            Panel(
                "Rejections and mismatches",
                (
                    ("sum(increase(headgate_config_rejections_total[$__rate_interval]))", "rejected"),
                    (
                        "sum(increase(headgate_config_delta_mismatches_total[$__rate_interval]))",
                        "mismatched deltas",
                    ),
                ),
            ),
        ),
    ),
    (
        "Processes",
        (
            Panel(
                "Workers",
                (
                    ("sum by (instance) (headgate_workers)", "{{instance}}"),
                    ("sum(increase(headgate_worker_restarts_total[$__rate_interval]))", "restarts"),
                ),
            ),
            Panel(
                "Control planes: CPU",
                (
                    (
                        "rate(process_cpu_seconds_total[$__rate_interval])"
                        " and on (instance) headgate_controlplane_build_info",
                        "{{instance}}",
                    ),
                ),
                "percentunit",
            ),
            Panel(
                "Control planes: memory",
                (
                    (
                        "process_resident_memory_bytes and on (instance) headgate_controlplane_build_info",
                        "{{instance}}",
                    ),
                ),
                "bytes",
            ),
            Panel(
                "Versions",
                (
                    ("count by (version) (headgate_build_info)", "data plane {{version}}"),
                    ("count by (version) (headgate_controlplane_build_info)", "control plane {{version}}"),
                ),
            ),
        ),
    ),
)


def render() -> str:
    """The dashboard's JSON, with a final newline."""
    model = {
        "annotations": {"list": []},
        "description": "Written by make docs in Headgate's repository.",
        "editable": True,
        "graphTooltip": 1,
        "panels": list(_panels()),
        "refresh": "10s",
        "schemaVersion": 39,
        "tags": ["headgate"],
        "templating": {
            "list": [
                {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
            ]
        },
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "title": "Headgate",
        "uid": "headgate",
    }
    return json.dumps(model, indent=1) + "\n"


def _panels() -> Iterator[dict[str, Any]]:
    identity, top = 0, 0
    for title, panels in ROWS:
        identity += 1
        yield {
            "id": identity,
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"h": 1, "w": _WIDTH, "x": 0, "y": top},
        }
        top += 1
        wide, high = (_WIDTH // 6, 4) if panels[0].stat else (_WIDTH // 3, 8)
        for number, panel in enumerate(panels):
            line, column = divmod(number, _WIDTH // wide)
            identity += 1
            place = {"h": high, "w": wide, "x": column * wide, "y": top + line * high}
            yield {"id": identity, "gridPos": place, **_panel(panel)}
        top += high * -(-len(panels) // (_WIDTH // wide))


def _panel(panel: Panel) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + number), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
        for number, (query, legend) in enumerate(panel.queries)
    ]
    shown: dict[str, Any] = {"unit": panel.unit, "min": 0}
    options: dict[str, Any] = {"legend": {"displayMode": "list", "placement": "bottom"}}
    if panel.stat:
        calm, alarm = ("red", "green") if panel.inverse else ("green", "red")
        steps = [{"color": calm, "value": None}, {"color": alarm, "value": 1}]
        shown |= {"color": {"mode": "thresholds"}, "thresholds": {"mode": "absolute", "steps": steps}}
        options = {"colorMode": "background", "reduceOptions": {"calcs": ["lastNotNull"]}}
    return {
        "type": "stat" if panel.stat else "timeseries",
        "title": panel.title,
        "description": panel.help,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": shown, "overrides": []},
        "options": options,
        "targets": targets,
    }
