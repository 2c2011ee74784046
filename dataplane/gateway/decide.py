"""The gateway: the steps of a request, in order, readable top to bottom.

    match → limits that need no caller → authenticate → authorize → limits by caller → the service that authorizes
          → breaker → pick → forward

Deciding is synchronous and does no I/O; time comes in as an argument. If a route has limits that are counted in Redis,
the decision pauses there (`UNDECIDED`) and continues when Redis has answered (`resume`), and likewise if a service is
asked about the request (`authorized`). One table serves an exchange
from its first byte to its last; `swap` puts a new one in place between two decisions and carries limiter and breaker
state over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from random import random
from time import time
from typing import Protocol, cast

from dataplane.config.table import EMPTY, Table
from dataplane.gateway.actions import AddressDenied, OwnAnswer, Preflight
from dataplane.gateway.authorizing import Authorizers
from dataplane.gateway.backends import Backends
from dataplane.gateway.checks import discard, note_sent, release, tell
from dataplane.gateway.limit_keys import claims_of
from dataplane.gateway.mirrors import Mirrors
from dataplane.gateway.own_answers import edited
from dataplane.gateway.plan import Plan
from dataplane.gateway.planner import Planner, claims_shown
from dataplane.gateway.policy.authenticate import Authenticator
from dataplane.gateway.policy.authorize import authorize
from dataplane.gateway.policy.breaker import HalfOpenTrial
from dataplane.gateway.policy.breakers import Breakers
from dataplane.gateway.policy.circuit import Open
from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.permit import ANONYMOUS, Caller, Permit
from dataplane.gateway.policy.resources import Limit, LimitMode, Route
from dataplane.gateway.policy.router import AMBIGUOUS_PATH
from dataplane.gateway.policy.sites import MISDIRECTED, Sites
from dataplane.gateway.preflights import asked_by, readable
from dataplane.gateway.redis_checks import Asking, RedisChecks, give_back
from dataplane.gateway.refusals import respond
from dataplane.gateway.resets import Resets
from dataplane.gateway.retrier import Retrier
from dataplane.gateway.rewriting import allowed_upgrade
from dataplane.gateway.store import NoStore, Store
from dataplane.gateway.verdicts import Verdicts
from dataplane.proxy.entrance import Entrance
from dataplane.proxy.errors import (
    AboutServer,
    CircuitOpen,
    NotConfigured,
    NotRegistered,
)
from dataplane.proxy.exchange import UNDECIDED, Copying, Decider, Exchange, Fields, Sender
from dataplane.proxy.messages import NO_IDENTITY, SERVER, BadRequest, Identity, Provenance
from dataplane.proxy.pool import Pool
from dataplane.proxy.reply import Reply, with_fields
from dataplane.proxy.trust import Peer, TrustedProxies, address_block
from headgate_api.expressions import TooLong

_log = logging.getLogger(__name__)


class Observer(Protocol):
    """Called with every exchange that ended, including refused and failed ones."""

    def finished(self, exchange: Exchange) -> None:
        """Count and log it. On the request path: plain integers, no I/O."""


class Gateway(Decider):
    """Decides on every request of one worker."""

    def __init__(
        self,
        observer: Observer,
        pool: Pool,
        *,
        limiter: Limiter | None = None,
        breakers: Breakers | None = None,
        backends: Backends | None = None,
        default_limit: Limit | None = None,
        trusted: TrustedProxies | None = None,
        start: int = 0,
        chance: Callable[[], float] = random,
    ) -> None:
        """`default_limit` holds for every client address on every route; `start` keeps workers out of step; `chance`
        is uniform in [0, 1), for back-offs.
        """
        self.limiter = limiter or Limiter()
        self.breakers = breakers or Breakers()
        self._observer = observer
        self._pool = pool
        self._default_limit = default_limit
        self._trusted = trusted or TrustedProxies()
        self._authenticator = Authenticator((), hide=self.limiter.hidden)
        self.backends = backends or Backends(pool, start)
        self._plans: dict[str, Plan] = {}
        self.mirrors = Mirrors(self.backends, self.breakers, pool)
        self._planner = Planner(self.backends, self.limiter, default_limit, start, self.mirrors)
        self._retrier = Retrier(self.backends, self.breakers, pool, chance)
        self._verdicts = Verdicts(self.backends, self.breakers)
        self.authorizers: Authorizers | None = Authorizers(
            self.breakers, self._verdicts, pool, self.authorized, self.sent
        )
        """None: services are not asked."""
        self.resets = Resets(self.limiter, self.breakers)
        self._table = EMPTY
        self._store: Store = NoStore()
        self._limits: Mapping[str, Limit] = (
            {} if default_limit is None else {default_limit.name: default_limit}
        )
        """The limits in force, including that of the settings."""
        self.entrances: dict[int, Entrance] = {}
        """By port: the open ports of listeners."""
        self._resume: Callable[[Asking, float], None] = self.resume

    @property
    def table(self) -> Table:
        """The table in force."""
        return self._table

    def observe(self, observer: Observer) -> None:
        """Tell `observer` of exchanges that end from now on, in place of the one before."""
        self._observer = observer

    # --- a request

    def decide(self, exchange: Exchange, now: float) -> object | None:
        """The request line. Returns a refusal, or None when `exchange` is ready to be forwarded."""
        request = exchange.request
        assert request is not None
        table = self._table
        exchange.revision = table.revision
        if now >= self.backends.next_return:
            self.backends.reinstate(now)

        router, sites = table.router, exchange.client.entrance.sites
        if sites is not None:
            router = cast(Sites, sites).find(request.host)
            # A connection with the name of the host itself, which is nearly every one, needs no second look.
            name = exchange.client.server_name
            if name != request.host and cast(Sites, sites).misdirected(router, name):
                return MISDIRECTED
        method, asked = request.method, ""
        try:
            if router.preflights and method == "OPTIONS":
                asked = asked_by(request, router)
                method = asked or method
            route = router.match(request.host, request.path, method, request)
            if type(route) is not Route:
                if request.path == SERVER:
                    return AboutServer()
                return route if table.revision else NotConfigured()
            sent_path = request.sent_path
            if sent_path is not None and router.ambiguous(request.host, sent_path, method, route, request):
                return AMBIGUOUS_PATH
        except TooLong as error:
            return BadRequest(error.status, str(error))
        plan = self._plans.get(route.name)
        # A port that closes still has the routes of an earlier table: their plans must not serve those of this one.
        if plan is None or plan.route is not route:
            plan = self._plan(route)
        if asked and plan.preflights is not None:
            plan = plan.preflights
        exchange.plan = plan

        address = exchange.address
        if request.provenance is not None:
            address = exchange.address = self._client(exchange.client.peer, request.provenance)
        if plan.gate is not None and not plan.gate.admits(address):
            return AddressDenied()
        block = address if ":" not in address else address_block(address)
        refused = plan.early.take(exchange, block, ANONYMOUS, now)
        if refused is not None:
            return refused
        if plan.early_in_redis is not None:
            return self._ask_early(exchange, plan, plan.early_in_redis, block, now)
        return self._identify(exchange, plan, block, now)

    def _ask_early(
        self, exchange: Exchange, plan: Plan, early: RedisChecks, block: str, now: float
    ) -> object | None:
        """Ask Redis for the limits that need no caller; for all limits at once if the caller is already known."""
        route, request = plan.route, exchange.request
        assert request is not None
        if plan.late_in_redis is not None:
            caller = ANONYMOUS if route.public else self._authenticator.known(request.authorization, time())
            permit = None if caller is None else authorize(route, caller, self._table.users)
            if isinstance(permit, Permit):
                return self._admit(exchange, plan, permit, block, now, early)
        asking = Asking(self._resume, exchange, block, ANONYMOUS, None)
        return UNDECIDED if early.ask(asking, now) else self._judge(asking, now)

    def _identify(self, exchange: Exchange, plan: Plan, block: str, now: float) -> object | None:
        """Identify the caller and check that the caller may use the route."""
        route, request = plan.route, exchange.request
        assert request is not None
        caller = ANONYMOUS
        if not route.public:
            found = self._authenticator.authenticate(request.authorization, time())
            if type(found) is not Caller:
                return found
            caller = found

        permit = authorize(route, caller, self._table.users)
        if not isinstance(permit, Permit):
            return permit
        return self._admit(exchange, plan, permit, block, now, None)

    def _admit(
        self,
        exchange: Exchange,
        plan: Plan,
        permit: Permit,
        block: str,
        now: float,
        early: RedisChecks | None,
    ) -> object | None:
        """Check the limits that count by caller. `early`: the limits of the place before for which Redis has not been
        asked yet."""
        caller = permit.caller
        if permit.prepared is None:
            subject = caller.subject
            permit.prepared = Identity(subject, permit.scopes, caller.shown) if subject else NO_IDENTITY
        exchange.identity = cast(Identity, permit.prepared)

        refused = plan.late.take(exchange, block, caller, now)
        if refused is not None:
            plan.early.give_back(exchange, block, ANONYMOUS, now)
            if exchange.asked is not None:
                give_back(exchange, now)
            return refused
        if plan.late_in_redis is not None:
            asking = Asking(self._resume, exchange, block, caller, permit)
            if early is not None:
                early.ask(asking, now)
            return UNDECIDED if plan.late_in_redis.ask(asking, now) else self._judge(asking, now)
        return self._forward(exchange, plan, permit, now)

    def _forward(self, exchange: Exchange, plan: Plan, permit: Permit, now: float) -> object | None:
        """The request is admitted, unless a service that is asked about it refuses."""
        if plan.authorizer is not None:
            answer = plan.authorizer.ask(exchange, permit, now)
            if answer is not None:
                return answer
        return self._choose(exchange, plan, permit, now)

    def _choose(self, exchange: Exchange, plan: Plan, permit: Permit, now: float) -> object | None:
        """Choose the request's instance."""
        if plan.action is not None:
            answer = plan.action.take(exchange)
            if answer is not None:
                return answer
            plan = cast(Plan, exchange.plan)
        backend = plan.backend
        if not backend.endpoints:
            return NotRegistered(plan.service_name)
        trial = self.breakers.admit(plan.service_name, now)
        if isinstance(trial, Open):
            return CircuitOpen(plan.service_name, trial.retry_after)
        exchange.trial = trial
        if isinstance(trial, HalfOpenTrial):
            exchange.timed = True
            trial.waits_for_client = not exchange.complete

        endpoint = backend.balancer.pick(exchange.address)
        if endpoint is None:
            return plan.none_healthy()
        endpoint.in_flight += 1
        exchange.endpoint = endpoint
        exchange.attempts = 1
        exchange.decision = "forwarded"
        request = exchange.request
        assert request is not None
        if request.upgrade:
            request.upgrade = allowed_upgrade(permit.route, request)
        return None

    def resume(self, asking: Asking, now: float) -> None:
        """Redis has answered, or has not answered in time: continue the decision where it stopped."""
        exchange = asking.exchange
        if exchange.ended or exchange.status:
            # The client has left meanwhile, or its request was refused as malformed; it may not have read the refusal
            # yet.
            return
        if exchange.revision != self._table.revision:
            # The service may be gone, and with it the instances that the plan knows.
            plan = cast(Plan, exchange.plan)
            plan.refresh(self.backends)
        refusal = self._judge(asking, now)
        if refusal is not UNDECIDED:
            exchange.client.decided(exchange, refusal, now)

    def authorized(self, exchange: Exchange, permit: Permit, refusal: object | None, now: float) -> None:
        """The service that was asked has refused the request, or lets it pass: continue the decision."""
        plan = cast(Plan, exchange.plan)
        if exchange.revision != self._table.revision:
            plan.refresh(self.backends)
        if refusal is None:
            refusal = self._choose(exchange, plan, permit, now)
        exchange.client.decided(exchange, refusal, now)

    def _judge(self, asking: Asking, now: float) -> object | None:
        """All awaited answers have arrived: continue the decision."""
        exchange, block = asking.exchange, asking.block
        plan = cast(Plan, exchange.plan)
        exchange.asked = asking
        refused = asking.judge(now)
        if refused is not None:
            plan.early.give_back(exchange, block, ANONYMOUS, now)
            if asking.permit is not None:
                plan.late.give_back(exchange, block, asking.caller, now)
            return refused
        if asking.permit is None:
            return self._identify(exchange, plan, block, now)
        return self._forward(exchange, plan, asking.permit, now)

    def retry(self, exchange: Exchange, cause: str, now: float) -> float | None:
        """Move a failed exchange to another endpoint if the retry policy allows; seconds to wait, or None."""
        return self._retrier.move(exchange, cause, now)

    def finished(self, exchange: Exchange) -> None:
        """Release what the decision took, count and log. The engine calls this exactly once for every exchange."""
        if exchange.trial is not None:
            self._verdicts.settle(exchange, exchange.ended)
        if exchange.held is not None:
            release(exchange)
        # It knows the exchange: a cycle would have to be collected.
        exchange.asked = None
        endpoint = exchange.endpoint
        if endpoint is not None:
            endpoint.in_flight -= 1
            if endpoint.leaving:
                self._pool.settle(endpoint)
        self._observer.finished(exchange)

    def sent(self, exchange: Exchange, now: float) -> None:
        """The time of a half-open breaker's trial starts here: until now the gateway has waited for the client. The
        request's copies go out."""
        if isinstance(exchange.trial, HalfOpenTrial):
            exchange.trial.sent(now)
        if exchange.held is not None:
            note_sent(exchange, now)

    def equip(self, copying: Copying) -> None:
        """Send the copies for mirrors with this."""
        self.mirrors.copying = copying

    def told(self, exchange: Exchange, fields: Fields, now: float) -> None:
        """Settle the cost that the response reports."""
        if exchange.held is not None:
            tell(exchange, fields, now)

    def discarded(self, exchange: Exchange, fields: Fields, now: float) -> None:
        """Settle the cost that a dropped response reports."""
        if exchange.held is not None:
            discard(exchange, fields, now)

    def tunnelled(self, exchange: Exchange, now: float) -> None:
        """Settle the breaker's trial when a tunnel begins: it may outlive any window."""
        if exchange.trial is not None:
            self._verdicts.settle(exchange, now)
            exchange.trial = None

    def refuse(self, exchange: Exchange | None, refusal: object) -> Reply:
        """The response to a refusal, by the table in `refusals`."""
        if exchange is not None and exchange.held is not None:
            # Nothing is under way any more. Refused clients that do not read the refusal must not hold a place.
            release(exchange)
        reply = respond(refusal)
        if exchange is not None and exchange.plan is not None:
            cors = cast(Plan, exchange.plan).cors
            wanted = exchange.plan.response_edits
            if wanted is not None and isinstance(refusal, OwnAnswer):
                # With the fields that CORS drops, and Vary.
                reply = edited(reply, wanted, exchange)
                return (
                    reply
                    if cors is None or exchange.request is None
                    else with_fields(reply, cors.response(exchange.request.field("origin")))
                )
            if cors is not None and type(refusal) is not Preflight:
                return readable(reply, cors, exchange)
        return reply

    # --- a change

    def use_sender(self, sender: Sender) -> None:
        """Requests of the gateway's own go this way."""
        if self.authorizers is not None:
            self.authorizers.sender = sender

    def use_store(self, store: Store) -> None:
        """Count limits in Redis there from now on; without it, `on_store_failure` applies to them."""
        self._store = self.resets.store = store
        self._plans = {}
        self._want_in_redis()

    def store_answers(self, now: float) -> None:
        """The store answers, or answers again."""
        self.resets.send_again(now)

    def swap(self, table: Table, now: float) -> None:
        """From now on `table` is in force. Limiters, breakers, connections and cached tokens are carried over.

        The cost grows with the difference from the previous table. If anything raises, that one stays in force.
        """
        before = self._table
        try:
            self._put_in_force(table, now)
        except Exception:
            self._put_in_force(before, now)
            raise
        if table.resets is not before.resets:
            self.resets.obey(table.resets, now, first=not before.revision)

    def set_health(self, unhealthy: frozenset[str]) -> None:
        """Instances ("<service>/<id>") that take no requests: their probes fail, or there was none yet."""
        self.backends.set_health(unhealthy)

    def _put_in_force(self, table: Table, now: float) -> None:
        before, self._table = self._table, table
        if table.keys is not before.keys or table.limits is not before.limits:
            claims = None if table.limits is before.limits else claims_of(table.limits.values())
            self._authenticator = self._authenticator.changed(table.keys, claims)
        if table.services is not before.services:
            self.breakers.adopt({name: service.circuit for name, service in table.services.items()})
            self._retrier.keep(table.services)
        self.backends.change(table, table.services_changed_since(before))
        if table.limits is not before.limits:
            # After the steps that may raise: a limit that is forgotten here starts with full buckets, even if it comes
            # back.
            default = self._default_limit
            self._limits = table.limits.set(default.name, default) if default else table.limits
            self.limiter.adopt(self._limits, now)
            self._want_in_redis()
        if table.sites is not before.sites:
            for port, entrance in self.entrances.items():
                # The connections of a port that closes are served as before.
                entrance.sites = table.sites.get(port, entrance.sites)
        if table.services is not before.services or table.routes is not before.routes:
            # Rebuilt as routes are used.
            self._plans = {}
            self._planner.keep(table.routes)
            if self.authorizers is not None:
                self.authorizers.keep(table.routes)

    # --- inside

    def _want_in_redis(self) -> None:
        self._store.want([name for name, limit in self._limits.items() if limit.mode is LimitMode.REDIS])

    def _client(self, peer: Peer, provenance: Provenance) -> str:
        said = provenance.forwarded_for
        return peer.address if said is None else self._trusted.client(peer, said.decode("latin-1"))

    def _plan(self, route: Route) -> Plan:
        """Prepare the plan of a route for its next requests. A route never serves without a part of it."""
        try:
            plan = self._prepared(route)
        except Exception as error:
            _log.exception("The route cannot be used", extra={"route": route.name})
            plan = self._planner.unusable(route, f"{type(error).__name__}: {error}", self._store)
        self._plans[route.name] = plan
        return plan

    def _prepared(self, route: Route) -> Plan:
        self._authenticator = self._authenticator.showing(claims_shown(route))
        services = self._table.services
        plan = self._planner.plan(route, services, self._store)
        if route.asked and self.authorizers is not None:
            asked = self._planner.inquiries(route, services, self._store)
            assert route.forwarding is not None and route.forwarding.authorization is not None
            plan.authorizer = self.authorizers.make(route.name, route.forwarding.authorization, asked)
        return plan
