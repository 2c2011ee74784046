"""The steps of one decision: what a twin of the gateway found at each stage, in words and as facts."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import time
from typing import Any, Final, cast

from dataplane.config.table import Table
from dataplane.gateway.actions import (
    AddressDenied,
    AuthorizationFailed,
    NotAuthorized,
    OriginDenied,
    Preflight,
    Redirected,
    Responded,
    Unusable,
    WithoutService,
)
from dataplane.gateway.backends import Backend
from dataplane.gateway.explained_mirrors import mirrors_of
from dataplane.gateway.explained_tries import tries_of
from dataplane.gateway.limit_keys import needs_caller
from dataplane.gateway.lost_routes import match_of
from dataplane.gateway.plan import Plan
from dataplane.gateway.policy.authenticate import Unauthenticated
from dataplane.gateway.policy.authorize import Forbidden
from dataplane.gateway.policy.bucket_keys import label
from dataplane.gateway.policy.circuit import State
from dataplane.gateway.policy.permit import Caller
from dataplane.gateway.policy.router import AmbiguousPath, MethodNotAllowed, NotFound
from dataplane.gateway.policy.sites import Misdirected
from dataplane.gateway.policy.too_many import TooMany, Unanswered
from dataplane.gateway.redis_checks import Uncounted
from dataplane.gateway.twin import Entered, GatewayTwin, Taken
from dataplane.proxy.errors import (
    AboutServer,
    CircuitOpen,
    NoneHealthy,
    NotConfigured,
    NotRegistered,
    Saturated,
    TooLarge,
)
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.messages import CHUNKED, BadRequest, Request

PASSED: Final = "passed"
REFUSED: Final = "refused"
SKIPPED: Final = "skipped"
ANSWERED: Final = "answered"
NOT_REACHED: Final = "not_reached"

STAGES: Final = (
    "request",
    "route",
    "early_limits",
    "token",
    "user",
    "scopes",
    "late_limits",
    "authorization",
    "action",
    "body",
    "service",
    "rewrite",
    "breaker",
    "instance",
    "tries",
    "mirrors",
    "compression",
)
"""In the order in which requests meet them."""

MOST_INSTANCES: Final = 50
"""Instances of a service that are shown, the picked one first."""

_STAGES_OF: Final[dict[type, str]] = {
    BadRequest: "request",
    NotFound: "route",
    MethodNotAllowed: "route",
    Misdirected: "route",
    AddressDenied: "route",
    OriginDenied: "action",
    Preflight: "action",
    NotConfigured: "route",
    AboutServer: "route",
    Forbidden: "scopes",
    NotAuthorized: "authorization",
    AuthorizationFailed: "authorization",
    Responded: "action",
    Redirected: "action",
    WithoutService: "action",
    Unusable: "action",
    TooLarge: "body",
    NotRegistered: "service",
    Saturated: "service",
    CircuitOpen: "breaker",
    NoneHealthy: "instance",
}
"""The stages of the refusals that only one stage makes."""

Details = dict[str, Any]


@dataclass(slots=True)
class Step:
    """What one stage decided."""

    stage: str
    outcome: str
    text: str
    details: Details = field(default_factory=dict)


class Teller:
    """Tells the steps of one decision."""

    def __init__(
        self, exchange: Exchange, twin: GatewayTwin, table: Table, refusal: object | None, now: float
    ) -> None:
        self._exchange = exchange
        self._twin = twin
        self._table = table
        self._refusal = refusal
        self._now = now
        self._at = self._stage()

    def steps(self) -> list[Step]:
        """All steps, in order."""
        return [self._step(stage) for stage in STAGES]

    def _step(self, stage: str) -> Step:
        refused = STAGES.index(self._at) if self._at else len(STAGES)
        place = STAGES.index(stage)
        if place > refused:
            return Step(stage, NOT_REACHED, "The request is answered before.")
        tellers = {
            "request": self._request,
            "route": self._route,
            "early_limits": self._early_limits,
            "token": self._token,
            "user": self._user,
            "scopes": self._scopes,
            "late_limits": self._late_limits,
            "authorization": self._authorization,
            "action": self._action,
            "body": self._body,
            "service": self._service,
            "rewrite": self._rewrite,
            "breaker": self._breaker,
            "instance": self._instance,
            "tries": self._tries,
            "mirrors": self._mirrors,
            "compression": self._compression,
        }
        return tellers[stage](place == refused)

    def _stage(self) -> str:
        """The stage that answered the request; empty if it is forwarded."""
        refusal = self._refusal
        if isinstance(refusal, Unauthenticated):
            return "user" if isinstance(self._found, Caller) else "token"
        if isinstance(refusal, AmbiguousPath):
            return "route" if self._exchange.plan is None else "rewrite"
        if isinstance(refusal, BadRequest) and self._exchange.fault is None:
            if self._exchange.plan is None:
                return "route"
            forwarding = self._plan.route.forwarding
            return "action" if forwarding is not None and forwarding.redirect is not None else "rewrite"
        if isinstance(refusal, TooMany | Unanswered | Uncounted):
            return "late_limits" if needs_caller(refusal.limit) else "early_limits"
        return "" if refusal is None else _STAGES_OF[type(refusal)]

    # --- the steps

    def _request(self, refused: bool) -> Step:
        if refused:
            bad = cast(BadRequest, self._refusal)
            return Step("request", REFUSED, f"The head cannot be read: {bad.reason}.")
        request = self._read
        details: Details = {
            "method": request.method,
            "host": request.host,
            "path": request.path,
            "client": self._exchange.address,
        }
        return Step("request", PASSED, "The head can be read.", details)

    def _route(self, refused: bool) -> Step:
        refusal = self._refusal
        if not refused:
            route = self._plan.route
            details = {"name": route.name, **match_of(route), "services": list(route.services)}
            return Step("route", PASSED, f"Route {route.name} matches and is preferred.", details)
        if isinstance(refusal, BadRequest):
            return Step("route", REFUSED, f"The request is {refusal.reason}.")
        if isinstance(refusal, AddressDenied):
            return Step("route", REFUSED, "The route refuses the address of the client.")
        if isinstance(refusal, Misdirected):
            text = "The connection was made to another listener of the port than that of the host."
            return Step("route", REFUSED, text)
        if isinstance(refusal, MethodNotAllowed):
            text = "Routes match host and path, but none of them takes the method."
            return Step("route", REFUSED, text, {"allow": list(refusal.allow)})
        if isinstance(refusal, NotFound):
            return Step("route", REFUSED, "No route matches host and path.")
        if isinstance(refusal, AmbiguousPath):
            text = "The percent-encoding of the path decides which route it matches, and they differ in who may pass."
            return Step("route", REFUSED, text)
        if isinstance(refusal, NotConfigured):
            return Step("route", REFUSED, "This data plane has no configuration yet.")
        return Step("route", ANSWERED, "The request is about the gateway itself, which answers it.")

    def _early_limits(self, refused: bool) -> Step:
        return self._limits("early_limits", refused, late=False)

    def _late_limits(self, refused: bool) -> Step:
        return self._limits("late_limits", refused, late=True)

    def _limits(self, stage: str, refused: bool, *, late: bool) -> Step:
        found = [one for one in self._twin.notes.limits if needs_caller(one.limit) is late]
        details = {"limits": [self._limit(one) for one in found]}
        if refused:
            limit = cast("TooMany | Unanswered | Uncounted", self._refusal).limit
            text = f"Limit {limit.name} refuses the request."
            if not isinstance(self._refusal, TooMany):
                text = f"Limit {limit.name} refuses the request, because its counter does not answer."
            return Step(stage, REFUSED, text, details)
        if not found:
            return Step(stage, SKIPPED, "The route has no limit that counts here.")
        shadowed = [one.limit.name for one in found if one.limit.name in self._exchange.shadowed]
        if shadowed:
            names = ", ".join(dict.fromkeys(shadowed))
            return Step(stage, PASSED, f"Would be refused if they were enforced: {names}.", details)
        return Step(stage, PASSED, "No limit refuses the request.", details)

    def _limit(self, one: Taken | Entered) -> Details:
        limit = one.limit
        details: Details = {"name": limit.name, "key": label(limit, one.key), "mode": limit.mode.value}
        if isinstance(one, Entered):
            return {**details, "under_way": one.under_way, "most_here": one.most}
        details.update(remaining=round(one.remaining, 3), cost=limit.cost, burst=limit.burst)
        if one.wait:
            details["retry_after"] = round(one.wait, 3)
        if not one.counts:
            details["away"] = True
        if one.in_redis:
            details["as_of_last_answer"] = True
        if limit.enforced < 100:
            details["enforced_percent"] = limit.enforced
        return details

    def _token(self, refused: bool) -> Step:
        if self._plan.route.public:
            return Step("token", SKIPPED, "The route is public: no token is read.")
        found = self._found
        if isinstance(found, Caller):
            details: Details = {
                "subject": found.subject,
                "scopes": sorted(found.scopes),
                "expires_in": round(found.expires - time(), 1),
            }
            return Step("token", PASSED, f"The token is valid, and its subject is {found.subject}.", details)
        reason = found.reason or "the request has no bearer token"
        return Step("token", REFUSED, f"{reason[:1].upper()}{reason[1:]}.", {"token_sent": found.token_sent})

    def _user(self, refused: bool) -> Step:
        if self._plan.route.public:
            return Step("user", SKIPPED, "The route is public: no user is looked up.")
        user = self._table.users.get(self._caller.subject)
        details: Details = {"name": self._caller.subject, "exists": user is not None}
        if user is not None:
            details.update(disabled=user.disabled, scopes=sorted(user.scopes))
        if refused:
            reason = cast(Unauthenticated, self._refusal).reason
            return Step("user", REFUSED, f"{reason[:1].upper()}{reason[1:]}.", details)
        return Step("user", PASSED, f"User {self._caller.subject} exists and is enabled.", details)

    def _scopes(self, refused: bool) -> Step:
        route = self._plan.route
        if route.public:
            return Step("scopes", SKIPPED, "The route is public: it needs no scope.")
        details: Details = {"needed": sorted(route.scopes)}
        if refused:
            missing = sorted(cast(Forbidden, self._refusal).missing)
            return Step("scopes", REFUSED, f"Missing: {', '.join(missing)}.", {**details, "missing": missing})
        if not route.scopes:
            return Step("scopes", PASSED, "The route needs a caller, and no scope.", details)
        return Step("scopes", PASSED, "Token and user have all scopes of the route.", details)

    def _authorization(self, refused: bool) -> Step:
        forwarding = self._plan.route.forwarding
        rules = forwarding.authorization if forwarding is not None else None
        if rules is None:
            return Step("authorization", SKIPPED, "The route asks no service about its requests.")
        details: Details = {"service": rules.service, "path": rules.path, "fail_open": rules.fail_open}
        text = f"Service {rules.service} would be asked. What follows is for the case that it lets the request pass."
        return Step("authorization", PASSED, text, details)

    def _action(self, refused: bool) -> Step:
        forwarding, refusal = self._plan.route.forwarding, self._refusal
        if isinstance(refusal, Redirected | Responded):
            fields = dict(refusal.reply.fields)
            details: Details = {"location": fields["location"]} if "location" in fields else {}
            text = "The route redirects the client." if details else "The route answers by itself."
            return Step("action", ANSWERED, text, details)
        if isinstance(refusal, Preflight):
            return Step("action", ANSWERED, "The route answers a browser that asks for permission (CORS).")
        if isinstance(refusal, OriginDenied):
            return Step("action", REFUSED, "Scripts of this origin may not use the route (CORS).")
        if refused and isinstance(refusal, BadRequest):
            return Step("action", REFUSED, f"The request has {refusal.reason}.")
        if isinstance(refusal, Unusable):
            return Step(
                "action", REFUSED, f"This data plane cannot do what the route says: {refusal.reason}."
            )
        shares = forwarding.shares if forwarding is not None else ()
        details = {"shares": [{"service": one.service or None, "weight": one.weight} for one in shares]}
        if refused:
            return Step("action", REFUSED, "The share of the request has no service.", details)
        if not shares:
            return Step("action", SKIPPED, "The route sends all requests to one service.")
        return Step("action", PASSED, f"Service {self._plan.service_name} gets the request.", details)

    def _rewrite(self, refused: bool) -> Step:
        if isinstance(self._refusal, BadRequest):
            return Step("rewrite", REFUSED, f"The new path cannot be made: {self._refusal.reason}.")
        if refused:
            return Step("rewrite", REFUSED, "Servers would differ in how they read the new path.")
        if not self._plan.rewrites:
            return Step("rewrite", SKIPPED, "The route does not change the path.")
        target = self._read.target.partition(b"?")[0].decode("latin-1")
        # An earlier refusal leaves the target as it came.
        details: Details = {"path": target} if self._exchange.endpoint is not None else {}
        return Step("rewrite", PASSED, "The route changes the path that the instance gets.", details)

    def _body(self, refused: bool) -> Step:
        most, length = self._plan.max_body, self._read.length
        if most is None:
            return Step("body", SKIPPED, "The route does not bound the body.")
        details: Details = {"most": most, "length": None if length == CHUNKED else length}
        if refused:
            return Step(
                "body", REFUSED, f"The body has {length} bytes, and the route allows {most}.", details
            )
        return Step("body", PASSED, f"The body is within the {most} bytes that the route allows.", details)

    def _service(self, refused: bool) -> Step:
        plan = self._plan
        if refused and isinstance(self._refusal, NotRegistered):
            return Step("service", REFUSED, f"Service {plan.service_name} has no instances.")
        if not plan.max_in_flight:
            return Step("service", SKIPPED, "The service does not bound its requests under way.")
        # The twin counts the request itself once it is admitted.
        under_way = plan.backend.in_flight - (not refused)
        details: Details = {"under_way": under_way, "most_here": plan.max_in_flight}
        if refused:
            return Step("service", REFUSED, "This worker has as many requests under way as it may.", details)
        return Step("service", PASSED, "The service takes another request.", details)

    def _breaker(self, refused: bool) -> Step:
        report = self._twin.notes.breaker
        assert report is not None
        details: Details = {
            "state": report.state,
            "recent_failures": report.recent_failures,
            "last_change": report.reason,
        }
        if report.last_state_change is not None:
            details["changed_ago"] = round(self._now - report.last_state_change, 1)
        if refused:
            wait = cast(CircuitOpen, self._refusal).retry_after
            details["retry_after"] = round(wait, 3)
            half = report.state == State.HALF_OPEN.value
            why = "half open, and its trials are under way" if half else "open"
            return Step("breaker", REFUSED, f"The breaker is {why}.", details)
        if report.state == State.CLOSED.value:
            return Step("breaker", PASSED, "The breaker is closed.", details)
        return Step("breaker", PASSED, "The request would be a trial of the breaker.", details)

    def _instance(self, refused: bool) -> Step:
        plan, picked = self._plan, self._exchange.endpoint
        backend = plan.backend
        details: Details = {
            "load_balancer": backend.kind.value,
            "candidates": backend.taking,
            "instances": self._instances(backend),
        }
        if refused or picked is None:
            return Step("instance", REFUSED, "No instance takes requests.", details)
        return Step("instance", PASSED, f"Instance {picked.id} is picked.", {"picked": picked.id, **details})

    def _tries(self, refused: bool) -> Step:
        return Step("tries", PASSED, *tries_of(self._plan))

    def _mirrors(self, refused: bool) -> Step:
        text, details = mirrors_of(self._plan, self._twin, self._now)
        if not text:
            return Step("mirrors", SKIPPED, "The route sends no copies.")
        return Step("mirrors", PASSED, text, details)

    def _compression(self, refused: bool) -> Step:
        rules, request = self._plan.encoding, self._read
        if rules is None:
            return Step("compression", SKIPPED, "The route compresses no responses.")
        coding = rules.choose(request.field("accept-encoding")) if request.http11 else ""
        details: Details = {"encoding": coding or None, "min_bytes": rules.min_bytes}
        if not coding:
            return Step("compression", SKIPPED, "The client accepts no coding of the route.", details)
        text = f"Responses of the route's media types are compressed with {coding}."
        return Step("compression", PASSED, text, details)

    def _instances(self, backend: Backend) -> list[Details]:
        shown = sorted(backend.endpoints, key=lambda one: one is not self._exchange.endpoint)
        return [self._instance_state(backend, endpoint) for endpoint in shown[:MOST_INSTANCES]]

    def _instance_state(self, backend: Backend, endpoint: Any) -> Details:
        details: Details = {"id": endpoint.id, "weight": endpoint.weight, "in_flight": endpoint.in_flight}
        until = backend.ejector.ejected.get(endpoint.id)
        if endpoint.instance.draining:
            return {**details, "state": "draining"}
        if f"{backend.name}/{endpoint.id}" in self._twin.unhealthy:
            return {**details, "state": "unhealthy"}
        if until is not None:
            return {**details, "state": "ejected", "returns_in": round(until - self._now, 1)}
        return {**details, "state": "picked" if endpoint is self._exchange.endpoint else "candidate"}

    # --- what the steps look at

    @property
    def _read(self) -> Request:
        request = self._exchange.request
        assert request is not None
        return request

    @property
    def _plan(self) -> Plan:
        return cast(Plan, self._exchange.plan)

    @property
    def _found(self) -> Caller | Unauthenticated:
        return self._twin.authenticator.authenticate(self._read.authorization, time())

    @property
    def _caller(self) -> Caller:
        return cast(Caller, self._found)
