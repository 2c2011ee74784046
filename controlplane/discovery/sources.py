"""The sources of all services: which of them run, and with what."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from controlplane.discovery import backoff, dns, slices
from controlplane.discovery.answer import Complaint, unanswered
from controlplane.discovery.discoverer import Tell
from controlplane.discovery.dns import Resolver
from controlplane.discovery.kubernetes_api import KubernetesApi
from controlplane.discovery.namespace import Namespace
from controlplane.discovery.slices import Slice
from controlplane.model.discovery import Discovery, KubernetesSource

logger = logging.getLogger(__name__)

MOST_NAMES = 2000
"""Services that are discovered by DNS; each has a task."""
MOST_NAMESPACES = 64
"""Namespaces that are watched; each has a connection."""
NO_ACCESS = (
    "this control plane has no access to a Kubernetes API: it runs in no pod, and KUBERNETES_URL is not set"
)

Key = tuple[str, str]
"""The kind of a source, and its name: a service for DNS, a namespace of Kubernetes."""


@dataclass(frozen=True, slots=True)
class _Work:
    """A source that is wanted. It lives as long as its task: it must not hold what is wanted of others."""

    services: Mapping[str, Discovery]
    begin: Callable[[], Coroutine[None, None, None]]

    @property
    def what(self) -> Hashable:
        """What it follows."""
        return frozenset(self.services.items())


class AllSources:
    """Runs the sources that are wanted. A source that does not change keeps running."""

    def __init__(self, resolver: Resolver, api: KubernetesApi | None, complaint: Complaint) -> None:
        """Without `api`, services that need it get a problem."""
        self._resolver = resolver
        self._api = api
        self._complaint = complaint
        self._running: dict[Key, tuple[Hashable, asyncio.Task[None]]] = {}
        """By key what each follows, and its task."""

    def follow(self, wanted: Mapping[str, Discovery], tell: Tell) -> None:
        """Follow the sources of these services, and no others."""
        work = {**self._names(wanted, tell), **self._namespaces(wanted, tell)}
        for key, (what, task) in list(self._running.items()):
            if key not in work or work[key].what != what:
                task.cancel()
                del self._running[key]
        for key, one in work.items():
            if key not in self._running:
                steady = _steady(one.begin, partial(_fault, one.services, tell))
                self._running[key] = one.what, asyncio.create_task(steady, name=f"discovery: {' '.join(key)}")

    async def stop(self) -> None:
        """Follow none."""
        tasks = [task for _, task in self._running.values()]
        self._running.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _names(self, wanted: Mapping[str, Discovery], tell: Tell) -> dict[Key, _Work]:
        found = [service for service, one in wanted.items() if one.dns is not None]
        for service in found[MOST_NAMES:]:
            reason = f"more than {MOST_NAMES} services are discovered by DNS"
            tell(service, wanted[service], unanswered(reason))
        return {
            ("dns", service): self._name(service, wanted[service], tell) for service in found[:MOST_NAMES]
        }

    def _name(self, service: str, one: Discovery, tell: Tell) -> _Work:
        assert one.dns is not None
        asked = partial(dns.follow, one.dns, self._resolver, self._complaint, partial(tell, service, one))
        return _Work({service: one}, asked)

    def _namespaces(self, wanted: Mapping[str, Discovery], tell: Tell) -> dict[Key, _Work]:
        grouped: dict[str, dict[str, Discovery]] = {}
        for service, one in sorted(wanted.items()):
            if one.kubernetes is not None:
                grouped.setdefault(one.kubernetes.namespace, {})[service] = one
        for namespace in list(grouped) if self._api is None else list(grouped)[MOST_NAMESPACES:]:
            more = f"services are discovered in more than {MOST_NAMESPACES} namespaces"
            for service in grouped.pop(namespace):
                tell(service, wanted[service], unanswered(NO_ACCESS if self._api is None else more))
        return {
            ("namespace", name): _Work(services, partial(self._follow, name, services, tell))
            for name, services in grouped.items()
        }

    async def _follow(self, name: str, services: Mapping[str, Discovery], tell: Tell) -> None:
        assert self._api is not None
        of: dict[str, list[tuple[str, Discovery, KubernetesSource]]] = {}
        for service, one in services.items():
            if one.kubernetes is not None:
                of.setdefault(one.kubernetes.service, []).append((service, one, one.kubernetes))

        def changed(name: str, found: Sequence[Slice]) -> None:
            for service, one, source in of[name]:
                tell(service, one, slices.answer(source, found, self._complaint))

        def failed(reason: str) -> None:
            for service, one in services.items():
                tell(service, one, unanswered(reason))

        await Namespace(self._api, name, frozenset(of), changed, failed).run()


def _fault(services: Mapping[str, Discovery], tell: Tell) -> None:
    for service, one in services.items():
        tell(service, one, unanswered("internal error; see the control plane's log"))


async def _steady(begin: Callable[[], Coroutine[None, None, None]], fault: Callable[[], None]) -> None:
    """Run a source until cancelled. A bug that its answers trigger ends neither this source nor the others."""
    while True:
        try:
            await begin()
        except Exception:
            logger.exception("a source of discovery failed")
            fault()
        await asyncio.sleep(backoff.LONGEST)
