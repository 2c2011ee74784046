"""Mirrors of routes: copies of requests for other services, which the requests neither wait for nor notice.

A request that is chosen takes a place among the copies under way of the mirror's service, and its body is kept as it
passes. When it has been sent whole, the copies go out; if anything stands against that, they are dropped and counted.
Copies count in no limit and in no breaker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from random import random
from typing import Any, Final

from dataplane.gateway.actions import Action
from dataplane.gateway.backends import Backend, Backends
from dataplane.gateway.checks import Held, keep
from dataplane.gateway.plan import Plan
from dataplane.gateway.policy.breakers import Breakers
from dataplane.gateway.policy.concurrency import worker_share
from dataplane.gateway.policy.forwarding import Mirror
from dataplane.gateway.policy.resources import Service
from dataplane.proxy.exchange import Copying, Exchange, Forwarding, Result
from dataplane.proxy.pool import Endpoint, Pool

_log = logging.getLogger(__name__)

MOST_UNDER_WAY: Final = 128
"""Copies for one service that a worker has under way at most, with those whose request is still being sent."""
_ALMOST: Final = 1.0 - 1e-9


class Target:
    """A mirror of one route."""

    __slots__ = ("_point", "_share", "forwarding", "max_in_flight", "service")

    def __init__(self, mirror: Mirror, forwarding: Forwarding, max_in_flight: int, point: float) -> None:
        """`max_in_flight`: this worker's share of what the service bears, 0: any number; `point`, in [0, 1), is where
        the share begins."""
        self.service = mirror.service
        self.forwarding = forwarding
        self.max_in_flight = max_in_flight
        self._share = mirror.percentage / 100.0
        self._point = point

    def chooses(self) -> bool:
        """Whether the next request is copied: evenly spread."""
        self._point += self._share
        if self._point < _ALMOST:
            return False
        self._point -= 1.0
        return True


class Mirrors:
    """The copies of one worker."""

    def __init__(
        self, backends: Backends, breakers: Breakers, pool: Pool, start: Callable[[], float] = random
    ) -> None:
        """`start` is uniform in [0, 1): where the shares of mirrors begin."""
        self.copying: Copying | None = None
        """None: nothing can be sent."""
        self._backends = backends
        self._breakers = breakers
        self._pool = pool
        self._start = start
        self._under_way: dict[str, int] = {}
        self._mirrored: dict[str, int] = {}
        self._failed: dict[str, int] = {}
        self._dropped: dict[tuple[str, str], int] = {}

    def action(
        self, plan: Plan, mirrors: Iterable[Mirror], services: Mapping[str, Service], share: float
    ) -> Action:
        """Does what the plan's own action does, and copies requests. `share` is that of this worker."""
        targets = []
        for mirror in mirrors:
            service = services.get(mirror.service)
            most = service.max_in_flight if service is not None else 0
            forwarding = _forwarding(plan, mirror.service, service)
            targets.append(
                Target(mirror, forwarding, worker_share(most, share) if most else 0, self._start())
            )
        return Mirroring(self, targets, plan.action)

    def begin(self, exchange: Exchange, targets: Sequence[Target]) -> None:
        """The request is admitted: choose its mirrors, and keep its body for them."""
        request, copying = exchange.request, self.copying
        if copying is None or request is None:
            return
        chosen = [target for target in targets if target.chooses()]
        if request.length > copying.most_body:
            for target in chosen:
                self._drop(target, "body")
            return
        chosen = [target for target in chosen if self._enter(target)]
        if chosen:
            if request.length:
                exchange.replay = []
            exchange.timed = True
            keep(exchange, _Copies(self, chosen))

    def launch(self, exchange: Exchange, target: Target) -> None:
        """The request has been sent whole: send its copy."""
        backend, copying = self._backends.get(target.service), self.copying
        obstacle = self._obstacle(exchange, target, backend)
        endpoint = None if obstacle else backend.balancer.pick(exchange.address)
        if endpoint is None or copying is None:
            self.leave(target, obstacle or "unavailable")
            return
        done = partial(self._ended, target, backend, endpoint)
        copying.send(exchange, [*(exchange.replay or ()), *exchange.body], target.forwarding, endpoint, done)
        endpoint.in_flight += 1
        backend.in_flight += target.max_in_flight > 0
        self._mirrored[target.service] = self._mirrored.get(target.service, 0) + 1

    def leave(self, target: Target, reason: str) -> None:
        """A copy that had its place is not sent."""
        self._under_way[target.service] -= 1
        self._drop(target, reason)

    def report(self) -> dict[str, Any]:
        """The counters since the last report, as JSON values."""
        report = {
            "mirrored": self._mirrored,
            "mirror_failed": self._failed,
            "mirror_dropped": [(*key, count) for key, count in self._dropped.items()],
        }
        self._mirrored, self._failed, self._dropped = {}, {}, {}
        return report

    def _enter(self, target: Target) -> bool:
        under_way = self._under_way.get(target.service, 0)
        if under_way >= MOST_UNDER_WAY:
            self._drop(target, "busy")
            return False
        self._under_way[target.service] = under_way + 1
        return True

    def _obstacle(self, exchange: Exchange, target: Target, backend: Backend) -> str:
        """The reason not to send the copy; empty: none."""
        request, copying = exchange.request, self.copying
        assert request is not None and copying is not None
        if request.upgrade:
            return "upgrade"
        if request.length and (exchange.replay is None or exchange.received > copying.most_body):
            return "body"
        if not self._breakers.closed(target.service):
            return "circuit"
        if target.max_in_flight and backend.in_flight >= target.max_in_flight:
            return "busy"
        return ""

    def _ended(self, target: Target, backend: Backend, endpoint: Endpoint, result: Result) -> None:
        self._under_way[target.service] -= 1
        backend.in_flight -= target.max_in_flight > 0
        endpoint.in_flight -= 1
        if endpoint.leaving:
            self._pool.settle(endpoint)
        if result is Result.FAILED:
            self._failed[target.service] = self._failed.get(target.service, 0) + 1

    def _drop(self, target: Target, reason: str) -> None:
        key = target.service, reason
        self._dropped[key] = self._dropped.get(key, 0) + 1


class Mirroring(Action):
    """Copies requests after what else happens to them."""

    __slots__ = ("_mirrors", "_targets", "_then")

    def __init__(self, mirrors: Mirrors, targets: Sequence[Target], then: Action | None) -> None:
        self._mirrors = mirrors
        self._targets = targets
        self._then = then

    def take(self, exchange: Exchange) -> object | None:
        answer = None if self._then is None else self._then.take(exchange)
        if answer is None:
            self._mirrors.begin(exchange, self._targets)
        return answer

    def refresh(self, backends: Backends) -> None:
        if self._then is not None:
            self._then.refresh(backends)


class _Copies(Held):
    """The copies that a request is to have."""

    __slots__ = ("_mirrors", "_targets")

    def __init__(self, mirrors: Mirrors, targets: list[Target]) -> None:
        self._mirrors = mirrors
        self._targets = targets

    def sent(self, exchange: Exchange, now: float) -> None:
        while self._targets:
            target = self._targets.pop()
            try:
                self._mirrors.launch(exchange, target)
            except Exception:
                # Whatever it is, the request itself goes on.
                _log.exception("a request cannot be mirrored", extra={"service": target.service})
                self._mirrors.leave(target, "error")

    def release(self) -> None:
        while self._targets:
            self._mirrors.leave(self._targets.pop(), "unsent")


def _forwarding(plan: Plan, name: str, service: Service | None) -> Forwarding:
    """The copy differs from the request in its service only: the same path, Host and header fields."""
    made = Forwarding(plan.route_name, name)
    made.authority, made.request_edits, made.sampled = plan.authority, plan.request_edits, plan.sampled
    if service is not None:
        timeouts = service.timeouts
        made.connect_timeout, made.idle_timeout = timeouts.connect, timeouts.idle
        made.response_timeout, made.total_timeout = timeouts.response, timeouts.total or 0.0
    return made
