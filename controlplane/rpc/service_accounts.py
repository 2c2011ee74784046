"""Permissions of pods: the services that name the pod's service account may be registered by it.

Every pod of a cluster can get a token for every audience. So the token alone permits nothing: an account that no
service names may neither register nor look.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controlplane.distribute.watcher import Watcher
from controlplane.model.registration import ServiceAccount
from controlplane.model.resources import Service
from controlplane.model.snapshot import Snapshot
from controlplane.rpc.errors import Code, Refused, not_ready

LONGEST = 64
"""Characters of a service's name that a refusal repeats."""


class Permissions:
    """As the published configuration has them."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._seen: Snapshot | None = None
        self._named: Mapping[ServiceAccount, str] = {}
        """For each account that a service of the snapshot names, one such service."""

    def check(self, account: ServiceAccount, service_name: str) -> None:
        """Raises Refused unless pods of the account may register this service."""
        if not _allows(self._snapshot(), account, service_name):
            raise Refused(
                Code.PERMISSION_DENIED,
                f"service account {account} may not register service '{service_name[:LONGEST]}': the service must "
                "exist, and name the account in registration.kubernetes",
            )

    def check_any(self, account: ServiceAccount) -> None:
        """Raises Refused unless they may register a service."""
        snapshot = self._snapshot()
        service = self._named.get(account)
        if service is not None and _allows(snapshot, account, service):
            return
        if snapshot is not self._seen:
            self._seen, self._named = snapshot, _named(snapshot)
        if account not in self._named:
            raise Refused(
                Code.PERMISSION_DENIED,
                f"service account {account} may not register any service: no service names it in "
                "registration.kubernetes",
            )

    def lacks(self, account: ServiceAccount, services: Iterable[str]) -> bool:
        """Whether they may not register one of these services."""
        snapshot = self._watcher.current
        return snapshot is not None and not all(_allows(snapshot, account, name) for name in services)

    def _snapshot(self) -> Snapshot:
        if self._watcher.current is None:
            raise not_ready()
        return self._watcher.current


def _allows(snapshot: Snapshot, account: ServiceAccount, service_name: str) -> bool:
    found = snapshot.resources.get(("service", service_name))
    if found is None or not isinstance(found.resource, Service) or found.resource.registration is None:
        return False
    return found.resource.registration.allows(account)


def _named(snapshot: Snapshot) -> dict[ServiceAccount, str]:
    services = (snapshot.resources.get(("service", name)) for name in snapshot.instances_of)
    return {
        account: one.resource.service_name
        for one in services
        if one is not None and isinstance(one.resource, Service) and one.resource.registration is not None
        for account in one.resource.registration.kubernetes
    }
