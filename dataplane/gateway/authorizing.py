"""External authorization: a service is asked about each request of a route, after token, scopes and limits.

    known answer? → breaker → pick → send
        → 2xx: pass, with fields for the instance
        → 3xx, 4xx: refused with that answer
        → anything else, or no answer in time: refused with 503, or passed (`fail_open`)

Only the request itself waits. Its own request to the service goes over the pooled connections to the service's
instances, and counts in their breaker and ejector like any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from http import HTTPStatus
from typing import Final, cast

from dataplane.gateway.actions import AuthorizationFailed, Consulting, NotAuthorized
from dataplane.gateway.checks import release
from dataplane.gateway.in_flight import enter
from dataplane.gateway.plan import Plan
from dataplane.gateway.policy.authorization import Answer, Answers, Authorization
from dataplane.gateway.policy.breaker import HalfOpenTrial
from dataplane.gateway.policy.breakers import Breakers
from dataplane.gateway.policy.circuit import Open
from dataplane.gateway.policy.permit import Permit
from dataplane.gateway.refusals import respond
from dataplane.gateway.verdicts import Verdicts
from dataplane.proxy.errors import CircuitOpen, NotRegistered, Saturated
from dataplane.proxy.exchange import UNDECIDED, Exchange, Sender
from dataplane.proxy.messages import Request
from dataplane.proxy.own_requests import Fields, Inquirer, inquiry, replace_fields
from dataplane.proxy.pool import Pool
from dataplane.proxy.reply import Reply

MOST_ASKED: Final = 1000
"""Requests of one worker that wait for answers of one service at the same time; further ones count as not answered."""
_MAX_AGE: Final = re.compile(rb"(?:^|[,\s])max-age=([0-9]{1,9})(?:$|[,\s])")
_PHRASES: Final = frozenset(status.value for status in HTTPStatus)

Resume = Callable[[Exchange, Permit, "object | None", float], None]


class Authorizers:
    """Those of one worker, and what they share."""

    def __init__(
        self,
        breakers: Breakers,
        verdicts: Verdicts,
        pool: Pool,
        resume: Resume,
        sent: Callable[[Exchange, float], None],
    ) -> None:
        """`resume` goes on with a request that waited, or refuses it; `sent` is `Decider.sent`."""
        self.breakers = breakers
        self.resume = resume
        self.sent = sent
        self.sender: Sender | None = None
        self.under_way: dict[str, int] = {}
        """By service: a slow one takes no place from the others."""
        self._verdicts = verdicts
        self._pool = pool
        self._answers: dict[str, tuple[Authorization, Answers]] = {}
        """By route. Answers outlive plans, as long as the route asks the same."""
        self._counts: dict[tuple[str, str], list[float]] = {}

    def make(self, route: str, rules: Authorization, plan: Plan) -> Authorizer:
        """That of a route; `plan` is for the requests to the service."""
        known = self._answers.get(route)
        if known is None or known[0] != rules:
            known = self._answers[route] = rules, Answers()
        return Authorizer(self, rules, plan, known[1])

    def keep(self, routes: Mapping[str, object]) -> None:
        """Forget the answers for all other routes."""
        self._answers = {name: kept for name, kept in self._answers.items() if name in routes}

    def end(self, exchange: Exchange) -> None:
        """A request to a service has ended: release what it took, and settle the breaker's trial."""
        if exchange.trial is not None:
            self._verdicts.settle(exchange, exchange.ended)
        if exchange.held is not None:
            release(exchange)
        endpoint = exchange.endpoint
        if endpoint is not None:
            endpoint.in_flight -= 1
            if endpoint.leaving:
                self._pool.settle(endpoint)

    def count(self, route: str, result: str, seconds: float = 0.0) -> None:
        """Count one decision; `seconds` is the time that the request waited."""
        counts = self._counts.setdefault((route, result), [0, 0.0])
        counts[0] += 1
        counts[1] += seconds

    def report(self) -> list[list[object]]:
        """Since the last report: route, result, number, and seconds."""
        counts, self._counts = self._counts, {}
        return [[route, result, *found] for (route, result), found in counts.items()]


class Authorizer(Consulting):
    """That of one route."""

    __slots__ = ("_answers", "_common", "_forwarded", "_keys", "_names", "_plan", "_shown", "rules")

    def __init__(self, common: Authorizers, rules: Authorization, plan: Plan, answers: Answers) -> None:
        self.rules = rules
        self._common = common
        self._plan = plan
        self._answers = answers
        self._names = _encoded(rules.request_headers)
        self._forwarded = _encoded(rules.to_service)
        self._shown = _encoded(rules.to_client)
        self._keys = tuple(name.encode("latin-1") for name in rules.cache_key)

    def ask(self, exchange: Exchange, permit: Permit, now: float) -> object | None:
        request = exchange.request
        assert request is not None
        asked = inquiry(request, self.rules.path, self._names)
        key = self._key(exchange, asked) if self.rules.cache_seconds else b""
        known = self._answers.get(key, now) if key else None
        if known is not None:
            self._common.count(self._plan.route_name, "cached")
            replace_fields(request, self._forwarded, known)
            return None
        check = _Check(self, exchange, permit, key, now)
        refused = self._send(check, asked, now)
        return UNDECIDED if refused is None else self.unanswered(exchange, refused, 0.0)

    def answered(
        self, check: _Check, status: int, fields: Fields, content: bytes, now: float
    ) -> object | None:
        """The effect of an answer: a refusal, or None."""
        seconds, route = now - check.began, self._plan.route_name
        request = check.exchange.request
        assert request is not None
        if 200 <= status < 300:
            answer = tuple((name, value) for name, value in fields if name in self._forwarded)
            self._remember(check.key, answer, fields, now)
            self._common.count(route, "allowed", seconds)
            replace_fields(request, self._forwarded, answer)
            return None
        if 300 <= status < 500 and status != 304:
            self._common.count(route, "denied", seconds)
            return NotAuthorized(self._refusal(status, fields, content))
        return self.unanswered(check.exchange, f"answered {status}", seconds)

    def unanswered(self, exchange: Exchange, reason: object, seconds: float) -> object | None:
        """There is no answer that decides. `reason`: a refusal of the engine or the gateway, or words."""
        words = reason if isinstance(reason, str) else _reason(reason)
        wait = reason.retry_after if isinstance(reason, CircuitOpen) else 1.0
        route, service = self._plan.route_name, self.rules.service
        if not self.rules.fail_open:
            self._common.count(route, "failed", seconds)
            return AuthorizationFailed(service, words, wait)
        self._common.count(route, "open", seconds)
        request = exchange.request
        assert request is not None
        exchange.reason = f"passed without an answer of service {service}: {words}"
        replace_fields(request, self._forwarded, ())
        return None

    def end(self, check: _Check, own: Exchange, refusal: object | None, now: float) -> None:
        """The request to the service has ended: go on with the one that waits."""
        common, exchange = self._common, check.exchange
        common.under_way[self._plan.service_name] -= 1
        common.end(own)
        if exchange.ended or exchange.status:
            # The client has left meanwhile, or was refused.
            return
        response = cast(Inquirer, own.client).response
        outcome: object | None
        if refusal is not None:
            outcome = self.unanswered(exchange, refusal, now - check.began)
        elif response is None:
            outcome = self.unanswered(exchange, "its answer is too long", now - check.began)
        else:
            outcome = self.answered(check, own.status, *response, now)
        common.resume(exchange, check.permit, outcome, now)

    def _send(self, check: _Check, request: Request, now: float) -> object | None:
        """Send the request to an instance. Returns the reason if that is not possible."""
        common, plan, exchange = self._common, self._plan, check.exchange
        if not plan.backend.endpoints:
            return NotRegistered(plan.service_name)
        under_way = common.under_way.get(plan.service_name, 0)
        if common.sender is None or under_way >= MOST_ASKED:
            return "too many requests wait for an answer"
        inquirer = Inquirer(exchange.client, exchange.address, check.done, common.sent)
        own = Exchange(inquirer, request, exchange.request_id)
        own.plan, own.identity, own.revision = plan, exchange.identity, exchange.revision
        own.started = own.ended = now
        if plan.max_in_flight and not enter(own, plan.backend, plan.max_in_flight):
            return Saturated(plan.service_name)
        trial = common.breakers.admit(plan.service_name, now)
        if isinstance(trial, Open):
            common.end(own)
            return CircuitOpen(plan.service_name, trial.retry_after)
        own.trial = trial
        if isinstance(trial, HalfOpenTrial):
            own.timed = True
        endpoint = plan.backend.balancer.pick(exchange.address)
        if endpoint is None:
            common.end(own)
            return plan.none_healthy()
        endpoint.in_flight += 1
        own.endpoint, own.attempts, own.complete, own.ended = endpoint, 1, True, 0.0
        own.decision = "forwarded"
        common.under_way[plan.service_name] = under_way + 1
        inquirer.send(own, common.sender, self.rules.timeout, now)
        return None

    def _key(self, exchange: Exchange, asked: Request) -> bytes:
        """A digest of what an answer depends on; empty if it is not to be used again."""
        if self._keys:
            parts = _lines(asked, self._keys)
        else:
            identity = exchange.identity
            who = (identity.subject, " ".join(sorted(identity.scopes)), exchange.address)
            parts = [*asked.fields, *_stated(exchange, asked)]
            parts += [one.encode("utf-8", "surrogatepass") for one in who]
        if not parts:
            return b""
        digest = sha256()
        for part in parts:
            digest.update(b"%d:" % len(part))
            digest.update(part)
        return digest.digest()

    def _remember(self, key: bytes, answer: Answer, fields: Fields, now: float) -> None:
        """Keep it, as long as route and service allow."""
        seconds = self.rules.cache_seconds
        controls = b",".join(value.lower() for name, value in fields if name == b"cache-control")
        if not key or b"no-store" in controls or b"no-cache" in controls:
            return
        if bound := _MAX_AGE.search(controls):
            seconds = min(seconds, float(bound[1]))
        self._answers.put(key, answer, now + seconds)

    def _refusal(self, status: int, fields: Fields, content: bytes) -> Reply:
        """What the client gets: status, content, and the fields of the route."""
        shown = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in fields
            if name in self._shown and name != b"content-type"
        ]
        if content or status < 400 or status not in _PHRASES:
            kinds = [value for name, value in fields if name == b"content-type"]
            kind = kinds[0].decode("latin-1") if kinds else "application/octet-stream"
            reply = Reply.plain(status, "authorization_denied", content, kind, shown)
        else:
            reply = Reply(status, "authorization_denied", "Not authorized", shown)
        reply.reason = f"service {self.rules.service} answered {status}"
        return reply


class _Check:
    """A request that waits for an answer."""

    __slots__ = ("_authorizer", "began", "exchange", "key", "permit")

    def __init__(
        self, authorizer: Authorizer, exchange: Exchange, permit: Permit, key: bytes, began: float
    ) -> None:
        self._authorizer = authorizer
        self.exchange = exchange
        self.permit = permit
        self.key = key
        self.began = began

    def done(self, own: Exchange, refusal: object | None, now: float) -> None:
        """The request to the service has ended."""
        self._authorizer.end(self, own, refusal, now)


def _encoded(names: tuple[str, ...]) -> frozenset[bytes]:
    return frozenset(name.encode("latin-1") for name in names)


def _lines(asked: Request, names: tuple[bytes, ...]) -> list[bytes]:
    """What the service gets in these fields, line by line; nothing if it gets none of them.

    Not what the client has sent: the gateway may withhold some of that (Connection), and a list in one line is not for
    every service the same as in two.
    """
    parts, fields, given = list[bytes](), asked.fields, False
    for name in names:
        values = [fields[i + 1] for i in range(0, len(fields), 2) if fields[i][2:-2].lower() == name]
        if name == b"host":
            values = [asked.host.encode("latin-1")]
        parts += (b"%d" % len(values), *values)
        given = given or bool(values)
    return parts if given else []


def _stated(exchange: Exchange, asked: Request) -> tuple[bytes, ...]:
    """What the service gets about the connection: Host, and the fields that a trusted peer may state."""
    peer, said = exchange.client.peer, asked.provenance
    stated = (
        (None, None, None)
        if said is None
        else (said.forwarded_for, said.forwarded_proto, said.forwarded_host)
    )
    seen = asked.authority, peer.address.encode("latin-1"), peer.scheme.encode("latin-1")
    return *seen, *(b"" if value is None else value for value in stated)


def _reason(refusal: object) -> str:
    reply = respond(refusal)
    return reply.reason or reply.decision.replace("_", " ")
