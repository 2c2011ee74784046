"""Reports on the traffic of data planes, to and from their messages. Bounded and harmless whatever they contain."""

from __future__ import annotations

from controlplane.fleet.bounds import count, name, number
from controlplane.fleet.reports import (
    InstanceTraffic,
    LimitTraffic,
    RefusalTraffic,
    RouteTraffic,
    ServiceTraffic,
    TrafficReport,
)
from headgate_api.v1 import status_pb2 as pb

MOST_LISTED = 500
"""Routes, services, reasons of refusals, and limits of one data plane."""
MOST_INSTANCES = 1000
MOST_BOUNDS = 100
SHORTEST = 0.1
"""Seconds. Rates over less would be no numbers any more."""


def traffic(sent: pb.TrafficReport) -> TrafficReport | None:
    """The report; None where it says of no time, or hardly any, what it counted."""
    seconds, bounds = number(sent.seconds), tuple(map(number, sent.bounds[:MOST_BOUNDS]))
    if seconds < SHORTEST:
        return None
    return TrafficReport(
        seconds,
        count(sent.requests),
        count(sent.client_errors),
        count(sent.server_errors),
        tuple(_route(one) for one in sent.routes[:MOST_LISTED]),
        tuple(_service(one, len(bounds) + 1) for one in sent.services[:MOST_LISTED]),
        bounds,
        count(sent.in_flight),
        count(sent.connections),
        count(sent.memory_bytes),
        tuple(_refusal(one) for one in sent.refusals[:MOST_LISTED]),
        tuple(_limit(one) for one in sent.limits[:MOST_LISTED]),
        tuple(_instance(one) for one in sent.instances[:MOST_INSTANCES]),
    )


def _route(sent: pb.RouteTraffic) -> RouteTraffic:
    counts = sent.requests, sent.client_errors, sent.server_errors
    return RouteTraffic(name(sent.name), *map(count, counts))


def _service(sent: pb.ServiceTraffic, buckets: int) -> ServiceTraffic:
    latency = tuple(map(count, sent.latency)) if len(sent.latency) == buckets else ()
    return ServiceTraffic(name(sent.name), latency, count(sent.errors))


def _refusal(sent: pb.RefusalTraffic) -> RefusalTraffic:
    about = name(sent.route), name(sent.service_name), name(sent.decision)
    return RefusalTraffic(*about, count(sent.requests))


def _limit(sent: pb.LimitTraffic) -> LimitTraffic:
    return LimitTraffic(name(sent.name), count(sent.refused), count(sent.shadowed))


def _instance(sent: pb.InstanceTraffic) -> InstanceTraffic:
    counts = sent.requests, sent.errors, sent.ejected_by
    return InstanceTraffic(name(sent.service_name), name(sent.instance_id), *map(count, counts))


def message(known: TrafficReport) -> pb.TrafficReport:
    """The inverse, for other control planes."""
    return pb.TrafficReport(
        seconds=known.seconds,
        requests=known.requests,
        client_errors=known.client_errors,
        server_errors=known.server_errors,
        routes=[pb.RouteTraffic(**one._asdict()) for one in known.routes],
        services=[pb.ServiceTraffic(**one._asdict()) for one in known.services],
        bounds=known.bounds,
        in_flight=known.in_flight,
        connections=known.connections,
        memory_bytes=known.memory,
        refusals=[pb.RefusalTraffic(**one._asdict()) for one in known.refusals],
        limits=[pb.LimitTraffic(**one._asdict()) for one in known.limits],
        instances=[pb.InstanceTraffic(**one._asdict()) for one in known.instances],
    )
