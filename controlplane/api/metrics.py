"""The control plane's metrics: read from the parts when Prometheus asks, so that nothing is counted twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from controlplane.api.parts import Parts
from controlplane.api.question_counts import KINDS, OUTCOMES, QuestionCounts
from controlplane.api.streams import Streams
from controlplane.commands.counts import Counts
from controlplane.distribute.messages import Messages
from controlplane.distribute.subscriber import Whole
from controlplane.fleet.reports import NodeState
from controlplane.limits.desk import Measured
from controlplane.model.pool import DEFAULT_POOL
from headgate_api.leases.messages import WithoutOwner

PREFIX = "headgate_controlplane_"
QUERIES: Final[Mapping[str, str]] = {
    PREFIX + "build_info": "count by (version) (headgate_controlplane_build_info)",
    PREFIX + "ready": "headgate_controlplane_ready == 0",
    PREFIX + "store_up": "headgate_controlplane_store_up == 0",
    PREFIX + "store_full": "headgate_controlplane_store_full == 1",
    PREFIX + "revision": "scalar(max(headgate_controlplane_revision)) - headgate_controlplane_revision > 0",
    PREFIX + "published_revision": (
        "scalar(max(headgate_controlplane_published_revision)) - headgate_controlplane_published_revision > 0"
    ),
    PREFIX + "snapshot_problems": "headgate_controlplane_snapshot_problems > 0",
    PREFIX + "snapshots_published_total": "rate(headgate_controlplane_snapshots_published_total[5m])",
    PREFIX + "store_frozen": "headgate_controlplane_store_frozen == 1",
    PREFIX + "delta_mismatches_total": "increase(headgate_controlplane_delta_mismatches_total[1h]) > 0",
    PREFIX + "configurations_withheld_total": (
        "increase(headgate_controlplane_configurations_withheld_total[15m]) > 0"
    ),
    PREFIX + "snapshots_refused_total": "increase(headgate_controlplane_snapshots_refused_total[15m]) > 0",
    PREFIX + "dataplanes_connected": "sum(headgate_controlplane_dataplanes_connected)",
    PREFIX + "pool_dataplanes_connected": (
        "max by (pool) (headgate_controlplane_pool_dataplanes_connected) == 0"
    ),
    PREFIX + "dataplane_acked_revision": (
        "max by (node) (headgate_controlplane_dataplane_acked_revision)"
        " < scalar(max(headgate_controlplane_published_revision))"
    ),
    PREFIX + "dataplane_rejected_revision": (
        "max by (node) (headgate_controlplane_dataplane_rejected_revision) > 0"
    ),
    PREFIX + "keep_alive_streams": "sum(headgate_controlplane_keep_alive_streams)",
    PREFIX + "keep_alive_leases": "sum(headgate_controlplane_keep_alive_leases)",
    PREFIX + "registrations_total": "sum(rate(headgate_controlplane_registrations_total[5m]))",
    PREFIX + "deregistrations_total": "sum(rate(headgate_controlplane_deregistrations_total[5m]))",
    PREFIX + "keep_alives_total": (
        'sum(rate(headgate_controlplane_keep_alives_total{outcome="failed"}[5m])) > 0'
    ),
    PREFIX + "snapshots_sent_total": "sum by (reason) (rate(headgate_controlplane_snapshots_sent_total[5m]))",
    PREFIX + "deltas_sent_total": "sum(rate(headgate_controlplane_deltas_sent_total[5m]))",
    PREFIX + "marks_sent_total": "sum(rate(headgate_controlplane_marks_sent_total[5m]))",
    PREFIX + "resources_sent_total": "sum by (form) (rate(headgate_controlplane_resources_sent_total[5m]))",
    PREFIX + "admin_requests_total": (
        'sum by (method) (rate(headgate_controlplane_admin_requests_total{status=~"5.."}[5m])) > 0'
    ),
    PREFIX + "questions_total": (
        'sum by (question, outcome) (rate(headgate_controlplane_questions_total{outcome!="answered"}[15m])) > 0'
    ),
    PREFIX + "question_seconds_total": (
        "sum by (question) (rate(headgate_controlplane_question_seconds_total[5m])) / on (question)"
        ' sum by (question) (rate(headgate_controlplane_questions_total{outcome="answered"}[5m]))'
    ),
    PREFIX + "event_streams": "sum(headgate_controlplane_event_streams)",
    PREFIX + "event_streams_refused_total": (
        "sum by (bound) (increase(headgate_controlplane_event_streams_refused_total[15m])) > 0"
    ),
    PREFIX + "calls_refused_total": (
        "sum by (service, code) (rate(headgate_controlplane_calls_refused_total[5m])) > 0"
    ),
    PREFIX + "discovery_leads": "sum(headgate_controlplane_discovery_leads)",
    PREFIX + "discovery_answers_total": "sum(rate(headgate_controlplane_discovery_answers_total[5m]))",
    PREFIX + "discovery_instances": "max by (service) (headgate_controlplane_discovery_instances) == 0",
    PREFIX + "discovery_problem": "max by (service) (headgate_controlplane_discovery_problem) == 1",
    PREFIX + "service_account_keys_problem": "headgate_controlplane_service_account_keys_problem == 1",
    "headgate_limit_granted_total": "sum by (limit) (rate(headgate_limit_granted_total[5m]))",
    "headgate_limit_bound": (
        "sum by (limit) (rate(headgate_limit_granted_total[5m])) / on (limit)"
        ' max by (limit) (headgate_limit_bound{part="rate"})'
    ),
    "headgate_limit_overshoot": "max by (limit) (headgate_limit_overshoot) > 0",
}
"""For each metric a PromQL query for operators; a query with a comparison can be used as an alert."""


def registry(parts: Parts) -> CollectorRegistry:
    """A registry with the control plane's metrics and those of its process."""
    made = CollectorRegistry(auto_describe=False)
    made.register(PartsCollector(parts))
    ProcessCollector(registry=made)
    return made


class PartsCollector(Collector):
    """Turns plain values into metric families."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        """All families."""
        watcher = self._parts.watcher
        info = GaugeMetricFamily(
            PREFIX + "build_info", "Always 1; the version is a label.", labels=["version"]
        )
        info.add_metric([self._parts.version], 1)
        yield info
        yield _gauge("ready", "Whether requests can be answered.", not self._parts.not_ready())
        yield _gauge("store_up", "Whether etcd answered when it was last asked.", watcher.connected)
        yield _gauge("store_full", "Whether etcd has no space left for changes.", watcher.full)
        yield _gauge(
            "revision",
            "Store revision up to which this control plane has seen every change.",
            watcher.revision,
        )
        published = self._parts.published_revision
        yield _gauge("published_revision", "Revision of the published snapshot.", published)
        yield _gauge(
            "snapshot_problems",
            "Problems that keep the store's content from being published.",
            len(watcher.problems),
        )
        yield _counter(
            "snapshots_published",
            "Published snapshots that differed from the previous one.",
            watcher.published,
        )
        yield _gauge(
            "store_frozen",
            "Whether the store's content waits for an operator's confirmation.",
            bool(watcher.frozen),
        )
        yield _counter(
            "delta_mismatches",
            "Deltas that did not match a data plane's configuration.",
            self._parts.messages.mismatches,
        )
        yield _counter(
            "configurations_withheld",
            "Configurations withheld from a data plane that lacks a capability.",
            self._parts.messages.withheld,
        )
        yield _counter(
            "snapshots_refused", "Times that the store's content could not be published.", watcher.refused
        )
        yield from self._dataplanes()
        # Without values before the start has finished: the export by OTLP looks for metrics only once.
        yield from _limits(self._parts.desk.measured() if self._parts.desk is not None else ())
        yield from _registrations(self._parts.commands.counts)
        yield from _discovery(self._parts)
        accounts = self._parts.accounts
        yield _gauge(
            "service_account_keys_problem",
            "Whether the last reading of the cluster's keys for service-account tokens failed.",
            accounts is not None and bool(accounts.problem),
        )
        yield from _messages(self._parts.messages)
        yield self._requests()
        yield from _streams(self._parts.streams)
        yield from _questions(self._parts.questions)
        yield self._refused_calls()

    def _dataplanes(self) -> Iterator[Metric]:
        states = self._parts.fleet.views.dataplanes(self._parts.watcher.current)
        connected = sum(state.connected for state in states)
        yield _gauge("dataplanes_connected", "Data planes with an open config stream.", connected)
        pools = GaugeMetricFamily(
            PREFIX + "pool_dataplanes_connected",
            "The same, by the pool of their credential.",
            labels=["pool"],
        )
        for pool, number in sorted(self._by_pool(states).items()):
            pools.add_metric([pool], number)
        yield pools
        acked = GaugeMetricFamily(
            PREFIX + "dataplane_acked_revision",
            "Revision that all workers of the data plane serve.",
            labels=["node"],
        )
        rejected = GaugeMetricFamily(
            PREFIX + "dataplane_rejected_revision",
            "Last revision that the data plane rejected; 0 for none.",
            labels=["node"],
        )
        for state in states:
            acked.add_metric([state.node], state.applied_revision)
            rejected.add_metric([state.node], state.last_rejection.revision if state.last_rejection else 0)
        yield acked
        yield rejected

    def _by_pool(self, states: Iterable[NodeState]) -> Counter[str]:
        """Connected data planes; of pools without one, too."""
        current = self._parts.watcher.current
        known = {DEFAULT_POOL, *(current.pools if current is not None else ())}
        found = Counter(state.pool for state in states if state.connected)
        return Counter({pool: found[pool] for pool in known | found.keys()})

    def _requests(self) -> Metric:
        family = CounterMetricFamily(
            PREFIX + "admin_requests", "Requests to the admin API.", labels=["method", "status"]
        )
        for (method, status), count in sorted(self._parts.answered.items()):
            family.add_metric([method, str(status)], count)
        return family

    def _refused_calls(self) -> Metric:
        family = CounterMetricFamily(
            PREFIX + "calls_refused",
            "gRPC calls that were refused for their credential.",
            labels=["service", "code"],
        )
        for labels, count in sorted(self._parts.refused.counts.items()):
            family.add_metric(labels, count)
        return family


def _streams(streams: Streams) -> Iterator[Metric]:
    yield _gauge("event_streams", "Open event streams to browsers and programs.", len(streams))
    refused = CounterMetricFamily(
        PREFIX + "event_streams_refused",
        "Event streams that were refused for a bound: of one user, of one address, or of all.",
        labels=["bound"],
    )
    for bound in ("caller", "address", "all"):
        refused.add_metric([bound], streams.places.refused[bound])
    yield refused


def _questions(counts: QuestionCounts) -> Iterator[Metric]:
    ended = CounterMetricFamily(
        PREFIX + "questions",
        "Explanations and taps, by outcome: answered, invalid, limited (429), failed (5xx).",
        labels=["question", "outcome"],
    )
    seconds = CounterMetricFamily(
        PREFIX + "question_seconds", "Seconds that answered explanations and taps took.", labels=["question"]
    )
    for kind in KINDS:
        for outcome in OUTCOMES:
            ended.add_metric([kind, outcome], counts.ended[kind, outcome])
        seconds.add_metric([kind], counts.seconds[kind])
    yield from (ended, seconds)


def _registrations(counts: Counts) -> Iterator[Metric]:
    streams, held = counts.streams()
    yield _gauge(
        "keep_alive_streams", "Keep-alive streams of processes that keep instances registered.", streams
    )
    yield _gauge("keep_alive_leases", "Leases that these streams hold: an instance each, or a share.", held)
    yield _counter(
        "registrations", "Instances that were registered, or joined by one more process.", counts.registered
    )
    yield _counter(
        "deregistrations", "Processes that deregistered, and instances that others removed.", counts.left
    )
    family = CounterMetricFamily(PREFIX + "keep_alives", "Lease renewals, by outcome.", labels=["outcome"])
    for outcome in ("renewed", "ended", "failed"):
        family.add_metric([outcome], getattr(counts, outcome))
    yield family


def _discovery(parts: Parts) -> Iterator[Metric]:
    yield _gauge("discovery_leads", "Whether this control plane runs discovery.", parts.discovery.leads)
    yield _counter("discovery_answers", "Answers of sources that were written.", parts.discovery.written)
    instances = GaugeMetricFamily(
        PREFIX + "discovery_instances", "Instances that were found for a service.", labels=["service"]
    )
    problem = GaugeMetricFamily(
        PREFIX + "discovery_problem", "Whether the source of a service has a problem.", labels=["service"]
    )
    for name, state in parts.watcher.discovery_states().items():
        instances.add_metric([name], state.instances)
        problem.add_metric([name], bool(state.problem))
    yield from (instances, problem)


def _limits(measured: Iterable[Measured]) -> Iterator[Metric]:
    """Of the limits of the fleet that this control plane owns, in requests. All control planes together have all of
    them."""
    granted = CounterMetricFamily("headgate_limit_granted", "Requests leased to workers.", labels=["limit"])
    bound = GaugeMetricFamily(
        "headgate_limit_bound",
        "Bound on admitted requests: the burst, and the rate per second. Absent with without_owner: open.",
        labels=["limit", "part"],
    )
    overshoot = GaugeMetricFamily(
        "headgate_limit_overshoot",
        "Most requests that may have been admitted above the bound.",
        labels=["limit"],
    )
    for one in measured:
        granted.add_metric([one.name], one.granted)
        overshoot.add_metric([one.name], one.overshoot)
        if one.limit.without_owner is not WithoutOwner.OPEN:
            bound.add_metric([one.name, "burst"], one.limit.burst)
            bound.add_metric([one.name, "rate"], one.limit.rate)
    yield from (granted, bound, overshoot)


def _messages(sent: Messages) -> Iterator[Metric]:
    snapshots = CounterMetricFamily(
        PREFIX + "snapshots_sent",
        "Snapshots sent to data planes, by the reason why a delta was not enough.",
        labels=["reason"],
    )
    for reason in Whole:
        snapshots.add_metric([reason], sent.snapshots[reason])
    yield snapshots
    yield _counter("deltas_sent", "Deltas sent to data planes.", sent.deltas)
    yield _counter("marks_sent", "Marks sent to data planes: a new revision without changes.", sent.marks)
    resources = CounterMetricFamily(
        PREFIX + "resources_sent", "Resources sent to data planes, by form.", labels=["form"]
    )
    for form in ("snapshot", "delta"):
        resources.add_metric([form], sent.resources[form])
    yield resources


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, text, value=float(value))
