"""The permissions of service accounts, from snapshots."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import grpc
import pytest

from controlplane.distribute.watcher import Watcher
from controlplane.model.base import parse_as
from controlplane.model.registration import ServiceAccount
from controlplane.model.resources import Service
from controlplane.model.snapshot import Snapshot, Stamped
from controlplane.rpc import service_accounts
from controlplane.rpc.errors import Refused
from controlplane.rpc.service_accounts import Permissions

STOCK = ServiceAccount(namespace="shop", service_account="stock")
OTHER = ServiceAccount(namespace="shop", service_account="other")


def snapshot(revision: int, **services: list[ServiceAccount] | None) -> Snapshot:
    """Services by name, with the accounts that may register them; None: without the field."""
    resources: dict[tuple[str, str], Stamped] = {}
    for name, accounts in services.items():
        fields: dict[str, Any] = {"service_name": name}
        if accounts is not None:
            fields["registration"] = {"kubernetes": [account.model_dump() for account in accounts]}
        resources["service", name] = Stamped(parse_as(Service, fields), revision)
    return Snapshot(revision, resources)


class Scene:
    def __init__(self) -> None:
        self.watcher = SimpleNamespace(current=None)
        self.permissions = Permissions(cast(Watcher, self.watcher))

    def publish(self, **services: list[ServiceAccount] | None) -> None:
        revision = self.watcher.current.revision + 1 if self.watcher.current else 1
        self.watcher.current = snapshot(revision, **services)

    def code(self, account: ServiceAccount, service: str | None = None) -> grpc.StatusCode | None:
        """Why the account may not register the service, or any; None if it may."""
        try:
            if service is None:
                self.permissions.check_any(account)
            else:
                self.permissions.check(account, service)
        except Refused as refused:
            return refused.code
        return None


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_nothing_is_permitted_before_the_first_snapshot(scene: Scene) -> None:
    assert scene.code(STOCK) is scene.code(STOCK, "stock") is grpc.StatusCode.UNAVAILABLE
    assert not scene.permissions.lacks(STOCK, ["stock"]), "open streams wait"


def test_a_service_without_the_field_or_with_an_empty_list_permits_nobody(scene: Scene) -> None:
    scene.publish(stock=None, empty=[], other=[OTHER])
    for service in ("stock", "empty", "other", "missing", None):
        assert scene.code(STOCK, service) is grpc.StatusCode.PERMISSION_DENIED


def test_several_services_and_accounts(scene: Scene) -> None:
    scene.publish(one=[STOCK, OTHER], two=[STOCK])
    assert scene.code(STOCK) is scene.code(OTHER) is None
    assert scene.code(STOCK, "one") is scene.code(STOCK, "two") is scene.code(OTHER, "one") is None
    assert scene.code(OTHER, "two") is grpc.StatusCode.PERMISSION_DENIED
    assert not scene.permissions.lacks(STOCK, ["one", "two", "one"])
    assert scene.permissions.lacks(OTHER, ["one", "two"])


def test_each_snapshot_counts(scene: Scene) -> None:
    scene.publish(stock=[STOCK])
    assert scene.code(STOCK) is None
    scene.publish(stock=[OTHER])
    assert scene.code(STOCK) is grpc.StatusCode.PERMISSION_DENIED
    assert scene.code(OTHER) is None
    scene.publish(stock=None, other=[STOCK])
    assert (scene.code(STOCK), scene.code(STOCK, "other")) == (None, None)


def test_services_are_searched_once_for_strangers_and_not_for_others(scene: Scene) -> None:
    scene.publish(stock=[STOCK])
    with patch.object(service_accounts, "_named", wraps=service_accounts._named) as searched:
        for _ in range(3):
            scene.code(STOCK)
            scene.code(OTHER)
        assert searched.call_count == 1
        scene.publish(stock=[STOCK], more=None)
        scene.code(STOCK)
        assert searched.call_count == 1
