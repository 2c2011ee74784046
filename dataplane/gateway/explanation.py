"""Explains the decision about one request: runs it on a twin of the gateway, and tells what it found at each step."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import cast

from dataplane.config.table import Steps, Table
from dataplane.gateway.explained_steps import Step, Teller
from dataplane.gateway.lost_routes import lost_routes
from dataplane.gateway.plan import Plan
from dataplane.gateway.policy.sites import Sites
from dataplane.gateway.twin import GatewayTwin
from dataplane.proxy.exchange import UNDECIDED, Exchange
from dataplane.proxy.nobody import Nobody
from dataplane.proxy.reply import Reply


@dataclass(slots=True)
class Explanation:
    """The decision about one request, and its steps."""

    revision: int
    status: int
    """Of the response; 0: it is forwarded."""
    decision: str
    detail: str
    reason: str
    route: str
    service: str
    instance: str
    steps: list[Step]


def explain(exchange: Exchange, twin: GatewayTwin, table: Table, now: float) -> Steps[Explanation]:
    """Explain the decision of `twin`, a twin with this table, about an exchange that was just read.

    The decision is made before the first step ends; what follows, between other work, looks only at the table.
    """
    refusal = decide(exchange, twin, now)
    told = _told(exchange, twin, table, refusal, now)
    request = exchange.request
    if request is not None and exchange.fault is None:
        sites = exchange.client.entrance.sites
        router = table.router if sites is None else cast(Sites, sites).find(request.host)
        winner = table.routes.get(exchange.plan.route_name) if exchange.plan is not None else None
        lost = yield from lost_routes(table, router, request, winner)
        told.steps[1].details["lost"] = lost.shown
        told.steps[1].details["more_lost"] = lost.more
    return told


def decide(exchange: Exchange, twin: GatewayTwin, now: float) -> object | None:
    """The decision: a refusal, or None. The endpoint that it picked does not count it."""
    exchange.started = now
    if exchange.fault is not None:
        return exchange.fault
    refusal = twin.decide(exchange, now)
    if exchange.endpoint is not None:
        exchange.endpoint.in_flight -= 1
    if refusal is not UNDECIDED:
        return refusal
    client = cast(Nobody, exchange.client)
    while not client.known and twin.answer(now):
        if exchange.endpoint is not None:
            exchange.endpoint.in_flight -= 1
    return client.outcome


def _told(
    exchange: Exchange, twin: GatewayTwin, table: Table, refusal: object | None, now: float
) -> Explanation:
    reply = None if refusal is None else twin.refuse(None, refusal)
    plan = cast("Plan | None", exchange.plan)
    return Explanation(
        revision=table.revision,
        status=reply.status if reply is not None else 0,
        decision=reply.decision if reply is not None else exchange.decision,
        detail=_detail(reply),
        reason=reply.reason if reply is not None else "",
        route=plan.route_name if plan is not None else "",
        service=plan.service_name if plan is not None else "",
        instance=exchange.endpoint.id if exchange.endpoint is not None else "",
        steps=Teller(exchange, twin, table, refusal, now).steps(),
    )


def _detail(reply: Reply | None) -> str:
    if reply is None or ("content-type", "application/problem+json") not in reply.fields:
        return ""
    return str(json.loads(reply.body)["detail"])
