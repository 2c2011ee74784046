"""Prometheus metrics, rendered on request from sums that are kept as plain integers."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from dataplane.config.reports import CircuitStats, InstanceStatus
from dataplane.gateway.policy.resources import BUILTIN
from dataplane.observe.stats import LATENCY_BOUNDS, STATUS_CLASSES, Seen, Totals
from dataplane.observe.view import NodeView

QUERIES: Final[Mapping[str, str]] = {
    "headgate_requests_total": "sum by (route, status) (rate(headgate_requests_total[5m]))",
    "headgate_request_duration_seconds": (
        "histogram_quantile(0.99, sum by (service, le) (rate(headgate_request_duration_seconds_bucket[5m])))"
    ),
    "headgate_refusals_total": "sum by (route, reason) (rate(headgate_refusals_total[5m]))",
    "headgate_upstream_errors_total": ("sum by (service) (rate(headgate_upstream_errors_total[5m])) > 1"),
    "headgate_retries_total": "sum by (service) (rate(headgate_retries_total[5m]))",
    "headgate_mirrored_total": "sum by (service) (rate(headgate_mirrored_total[5m]))",
    "headgate_mirror_failed_total": "sum by (service) (rate(headgate_mirror_failed_total[5m]))",
    "headgate_mirror_dropped_total": "sum by (service, reason) (rate(headgate_mirror_dropped_total[5m]))",
    "headgate_limit_shadowed_total": "sum by (limit) (increase(headgate_limit_shadowed_total[1d]))",
    "headgate_limit_admitted_total": "sum by (limit) (rate(headgate_limit_admitted_total[5m]))",
    "headgate_limit_refused_total": "topk(10, sum by (limit) (rate(headgate_limit_refused_total[5m])))",
    "headgate_limit_unanswered_total": "sum by (limit) (rate(headgate_limit_unanswered_total[5m])) > 0",
    "headgate_connections_refused_total": "sum by (instance) (rate(headgate_connections_refused_total[5m])) > 0",
    "headgate_telemetry_exported_total": "sum by (signal) (rate(headgate_telemetry_exported_total[5m]))",
    "headgate_telemetry_dropped_total": "sum by (signal) (increase(headgate_telemetry_dropped_total[15m])) > 0",
    "headgate_authorizations_total": (
        'sum by (route) (rate(headgate_authorizations_total{result=~"failed|open"}[5m])) > 0'
    ),
    "headgate_authorization_seconds_total": (
        "sum by (route) (rate(headgate_authorization_seconds_total[5m])) / "
        'sum by (route) (rate(headgate_authorizations_total{result!="cached"}[5m]))'
    ),
    "headgate_compressed_responses_total": (
        "sum by (route, encoding) (rate(headgate_compressed_responses_total[5m]))"
    ),
    "headgate_compression_read_bytes_total": (
        "sum by (route) (rate(headgate_compression_read_bytes_total[5m])) / "
        "sum by (route) (rate(headgate_compression_written_bytes_total[5m]))"
    ),
    "headgate_compression_written_bytes_total": (
        "sum by (route) (rate(headgate_compression_written_bytes_total[5m]))"
    ),
    "headgate_access_log_dropped_total": "increase(headgate_access_log_dropped_total[1h]) > 0",
    "headgate_circuit_state": 'max by (service) (headgate_circuit_state{state="open"}) == 1',
    "headgate_circuit_failures_total": "sum by (service) (rate(headgate_circuit_failures_total[5m]))",
    "headgate_circuit_rejections_total": "sum by (service) (rate(headgate_circuit_rejections_total[5m])) > 0",
    "headgate_instances": 'sum by (service) (headgate_instances{status="healthy"}) == 0',
    "headgate_instances_ejected": "sum by (service, exported_instance) (headgate_instances_ejected) > 0",
    "headgate_build_info": "count by (version) (headgate_build_info)",
    "headgate_config_revision": "scalar(max(headgate_config_revision)) - headgate_config_revision > 0",
    "headgate_ready": "headgate_ready == 0",
    "headgate_controlplane_connected": "headgate_controlplane_connected == 0",
    "headgate_redis_connected": "headgate_redis_connected == 0",
    "headgate_limit_away": "sum by (limit) (headgate_limit_away) > 0",
    "headgate_listener_open": "headgate_listener_open == 0",
    "headgate_certificate_files_failed": "headgate_certificate_files_failed > 0",
    "headgate_certificate_not_after_seconds": "headgate_certificate_not_after_seconds - time() < 30 * 86400",
    "headgate_workers": "sum(headgate_workers)",
    "headgate_connections": "sum(headgate_connections)",
    "headgate_requests_in_flight": "sum(headgate_requests_in_flight)",
    "headgate_worker_restarts_total": "increase(headgate_worker_restarts_total[15m]) > 0",
    "headgate_config_rejections_total": "increase(headgate_config_rejections_total[15m]) > 0",
    "headgate_config_delta_mismatches_total": "increase(headgate_config_delta_mismatches_total[1h]) > 0",
    "headgate_config_cache_warnings_total": "increase(headgate_config_cache_warnings_total[1h]) > 0",
}
"""For each metric a PromQL query for operators; a query with a comparison can be used as an alert."""


class NodeCollector(Collector):
    """The metrics of one node."""

    def __init__(self, view: Callable[[], NodeView]) -> None:
        self._view = view

    def collect(self) -> Iterable[Metric]:
        """Every metric, as of now."""
        view = self._view()
        yield from _traffic(view.totals)
        yield from _circuits(view.circuits)
        yield from _instances(view)
        yield from _node(view)
        yield from _telemetry(view)


def render(view: Callable[[], NodeView], accept: str = "") -> tuple[bytes, str]:
    """All metrics, those of the supervisor's process included, and their media type: OpenMetrics, which has exemplars,
    if `accept` (the field Accept) asks for it, else the text format of Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(NodeCollector(view))
    ProcessCollector(namespace="headgate_supervisor", registry=registry)
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


def _traffic(totals: Totals) -> Iterator[Metric]:
    requests = _counter(
        "requests",
        "Requests by route and class of status; the route is empty if none matched.",
        "route",
        "status",
    )
    for route, classes in sorted(totals.requests.items()):
        for status, count in zip(STATUS_CLASSES, classes, strict=True):
            if count:
                requests.add_metric([route, status], count)
    yield requests
    latency = HistogramMetricFamily(
        "headgate_request_duration_seconds",
        "Time from a request's head to its response's end, for requests that were forwarded to a service.",
        labels=["service"],
    )
    for service, counts in sorted(totals.latency.items()):
        buckets = list(_cumulated(counts[:-1], totals.exemplars.get(service, {})))
        latency.add_metric([service], buckets, sum_value=counts[-1])
    yield latency
    refusals = _counter(
        "refusals", "Requests answered by the gateway itself, by decision.", "route", "reason"
    )
    for key, count in sorted(totals.refusals.items()):
        refusals.add_metric(list(key), count)
    yield refusals
    errors = _counter(
        "upstream_errors", "Requests that an instance did not answer properly.", "service", "kind"
    )
    for key, count in sorted(totals.upstream_errors.items()):
        errors.add_metric(list(key), count)
    yield errors
    retries = _counter("retries", "Attempts after the first, at another instance.", "service")
    for service, count in sorted(totals.retries.items()):
        retries.add_metric([service], count)
    yield retries
    yield from _mirrors(totals)
    shadowed = _counter(
        "limit_shadowed", "Requests that a limit would have refused if it were enforced.", "limit"
    )
    for limit, count in sorted(totals.shadowed.items()):
        shadowed.add_metric([limit], count)
    yield shadowed
    admitted = _counter("limit_admitted", "Tokens of leased limits that requests took.", "limit")
    for limit, tokens in sorted(totals.admitted.items()):
        admitted.add_metric([limit], tokens)
    yield admitted
    limited = _counter("limit_refused", "Requests that a limit refused.", "limit")
    for limit, count in sorted(totals.limited.items()):
        limited.add_metric([limit], count)
    yield limited
    unanswered = _counter(
        "limit_unanswered", "Requests under a limit in Redis for which Redis did not answer in time.", "limit"
    )
    for limit, count in sorted(totals.unanswered.items()):
        unanswered.add_metric([limit], count)
    yield unanswered
    yield from _authorizations(totals)
    yield from _compression(totals)
    yield _simple_counter(
        "connections_refused",
        "Client connections refused because a worker or an address had too many.",
        totals.connections_refused,
    )
    yield _simple_counter(
        "access_log_dropped", "Lines of the access log that were dropped.", totals.access_log_drops
    )


def _authorizations(totals: Totals) -> Iterator[Metric]:
    decisions = _counter(
        "authorizations",
        "Requests about which a service was to decide: allowed, denied, cached (allowed before), failed, or open "
        "(passed without an answer).",
        "route",
        "result",
    )
    seconds = _counter("authorization_seconds", "Seconds that requests waited for the decision.", "route")
    waited: dict[str, float] = {}
    for (route, result), (count, waits) in sorted(totals.authorizations.items()):
        decisions.add_metric([route, result], count)
        waited[route] = waited.get(route, 0.0) + waits
    for route, waits in waited.items():
        seconds.add_metric([route], waits)
    yield from (decisions, seconds)


def _compression(totals: Totals) -> Iterator[Metric]:
    labels = "route", "encoding"
    responses = _counter("compressed_responses", "Responses that the gateway compressed.", *labels)
    read = _counter("compression_read_bytes", "Bytes of their bodies before.", *labels)
    written = _counter("compression_written_bytes", "Bytes of their bodies after.", *labels)
    for key, counts in sorted(totals.compressed.items()):
        for metric, count in zip((responses, read, written), counts, strict=True):
            metric.add_metric(list(key), count)
    yield from (responses, read, written)


def _mirrors(totals: Totals) -> Iterator[Metric]:
    mirrored = _counter(
        "mirrored", "Copies of requests that were sent to the service of a mirror.", "service"
    )
    for service, count in sorted(totals.mirrored.items()):
        mirrored.add_metric([service], count)
    failed = _counter("mirror_failed", "Copies of requests that got no answer.", "service")
    for service, count in sorted(totals.mirror_failed.items()):
        failed.add_metric([service], count)
    dropped = _counter("mirror_dropped", "Copies of requests that were not sent.", "service", "reason")
    for key, count in sorted(totals.mirror_dropped.items()):
        dropped.add_metric(list(key), count)
    yield from (mirrored, failed, dropped)


def _cumulated(
    counts: list[float], seen: Mapping[int, Seen]
) -> Iterator[tuple[str, float] | tuple[str, float, Exemplar]]:
    total = 0.0
    for bucket, (bound, count) in enumerate(zip((*map(str, LATENCY_BOUNDS), "+Inf"), counts, strict=True)):
        total += count
        one = seen.get(bucket)
        if one is None:
            yield bound, total
        else:
            labels = {"trace_id": one.trace, "span_id": one.span}
            yield bound, total, Exemplar(labels, one.seconds, one.at)


def _circuits(circuits: Iterable[CircuitStats]) -> Iterator[Metric]:
    state = _gauge("circuit_state", "1 for the state that the service's breaker is in.", "service", "state")
    failed = _counter("circuit_failures", "Failed requests as the breaker counts them.", "service")
    rejected = _counter("circuit_rejections", "Requests that an open breaker refused.", "service")
    for circuit in circuits:
        for name in ("closed", "half_open", "open"):
            state.add_metric([circuit.service, name], circuit.state == name)
        failed.add_metric([circuit.service], circuit.failed_requests)
        rejected.add_metric([circuit.service], circuit.rejected_requests)
    yield from (state, failed, rejected)


def _instances(view: NodeView) -> Iterator[Metric]:
    instances = _gauge("instances", "Instances by service and status.", "service", "status")
    # A service without a healthy instance says 0: nothing could be asked of a metric that is absent.
    counted = {
        (name, InstanceStatus.HEALTHY.value): 0
        for name in view.table.services
        if not name.startswith(BUILTIN)
    }
    for instance in view.instances:
        key = instance.service, instance.status.value
        counted[key] = counted.get(key, 0) + 1
    for key, count in sorted(counted.items()):
        instances.add_metric(list(key), count)
    ejected = _gauge(
        "instances_ejected",
        "Workers that have ejected the instance because it kept failing.",
        "service",
        "instance",
    )
    for name, workers in view.ejected.items():
        ejected.add_metric(list(name.split("/", 1)), workers)
    yield from (instances, ejected)


def _node(view: NodeView) -> Iterator[Metric]:
    build = _gauge("build_info", "Always 1.", "version", "python")
    build.add_metric([view.version, platform.python_version()], 1)
    yield build
    yield _simple_gauge("config_revision", "Revision that every worker serves.", view.revision)
    yield _simple_gauge("ready", "1 while /ready answers 200.", not view.not_ready)
    yield _simple_gauge(
        "controlplane_connected", "1 while the config stream is open.", bool(view.controlplane)
    )
    if view.redis is not None:
        yield _simple_gauge("redis_connected", "1 while Redis answers every worker.", view.redis.connected)
    away = _gauge(
        "limit_away",
        "Workers that get no answer from the limit's owner or Redis: without_owner or on_store_failure applies.",
        "limit",
    )
    for limit, workers in view.away.items():
        away.add_metric([limit], workers)
    yield away
    opened = _gauge(
        "listener_open", "1 while the port of a listener of the configuration is open.", "listener", "port"
    )
    for name, port, closed in view.listeners:
        opened.add_metric([name, str(port)], not closed)
    yield opened
    ends = _gauge(
        "certificate_not_after_seconds",
        "The end of the validity of a certificate of the configuration, Unix time.",
        "certificate",
    )
    for name, certificate in view.table.certificates.items():
        ends.add_metric([name], certificate.not_after)
    yield ends
    broken = _gauge(
        "certificate_files_failed",
        "1 while the files of a certificate of the configuration cannot be used: those read last stay in use.",
        "certificate",
    )
    for name, certificate in view.table.certificates.items():
        if certificate.from_files:
            broken.add_metric([name], name in view.certificate_problems)
    yield broken
    yield _simple_gauge("workers", "Running workers.", view.workers)
    yield _simple_gauge("connections", "Open client connections.", view.connections)
    yield _simple_gauge(
        "requests_in_flight", "Forwarded requests that have not ended, as of the last second.", view.in_flight
    )
    yield _simple_counter("worker_restarts", "Workers that ended and were replaced.", view.worker_restarts)
    yield _simple_counter("config_rejections", "Configurations that this node rejected.", view.rejections)
    yield _simple_counter(
        "config_delta_mismatches", "Deltas whose base or digest did not match.", view.mismatches
    )
    yield _simple_counter(
        "config_cache_warnings", "Failures to read or write the cache.", view.cache_warnings
    )


def _telemetry(view: NodeView) -> Iterator[Metric]:
    exported = _counter(
        "telemetry_exported", "Spans, log records and data points that the collector has taken.", "signal"
    )
    dropped = _counter("telemetry_dropped", "Spans, log records and data points that were lost.", "signal")
    for signal, (taken, lost) in sorted(view.telemetry.items()):
        exported.add_metric([signal], taken)
        dropped.add_metric([signal], lost + view.totals.telemetry_drops.get(signal, 0))
    yield from (exported, dropped)


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"headgate_{name}", text, labels=labels)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"headgate_{name}", text, labels=labels)


def _simple_counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"headgate_{name}", text, value=value)


def _simple_gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"headgate_{name}", text, value=value)
