"""What an upgrade and a removal of the release keep. The last tests of the package: they replace the release."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kubernetes.complete.conftest import ETCD, READY, TIMEOUT, Complete
from tests.support.kubernetes.administrator import SECRET, route
from tests.support.kubernetes.release import NAME

pytestmark = pytest.mark.timeout(1200)

KEPT = (SECRET, f"{NAME}-headgate-grpc-ca", f"{NAME}-headgate-etcd-ca")


def secrets(complete: Complete) -> dict[str, Any]:
    return {name: complete.kubectl.get("secret", name)["data"] for name in KEPT}


def test_an_upgrade_keeps_secrets_and_replaces_no_pod(complete: Complete) -> None:
    before, pods = secrets(complete), complete.pods("controlplane") + complete.pods("etcd")
    complete.helm.upgrade(NAME, {"dataplane": {"logLevel": "debug"}}, wait="watcher", timeout=TIMEOUT)
    assert secrets(complete) == before
    assert sorted(complete.pods("controlplane") + complete.pods("etcd")) == sorted(pods)


def test_a_new_installation_continues_with_what_a_removed_one_has_left(complete: Complete) -> None:
    complete.administrator.apply(route("of-the-first"))
    before = secrets(complete)
    volumes = {each["metadata"]["name"] for each in complete.kubectl.list("pvc")}
    # Those that the other tests have set, too, such as the folder of a restored etcd.
    values = complete.helm.values(NAME)
    complete.helm.uninstall(NAME, wait="watcher", timeout=TIMEOUT)
    assert complete.kubectl.list("deployments") == []
    assert secrets(complete) == before
    assert {each["metadata"]["name"] for each in complete.kubectl.list("pvc")} == volumes
    assert f"data-{ETCD}-0" in volumes
    complete.helm.install(NAME, values, wait="watcher", timeout=TIMEOUT)
    assert secrets(complete) == before
    # The login is still valid: the signing keys in etcd are read with the same SECRET_KEY.
    assert "of-the-first" in complete.administrator.names("routes")
    assert READY in complete.helm.test(NAME)
