"""Tokens that a real API server issues, verified with the keys that it publishes. No pod runs here."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import headgate
from controlplane.discovery.kubernetes_api import Access, KubernetesApi
from controlplane.discovery.published_keys import PATH, published_keys
from controlplane.identity import ClusterKeys, ServiceAccounts
from controlplane.model.base import parse_as
from controlplane.model.resources import Service
from headgate import Forbidden, Unauthenticated
from tests.support.chart import NEEDED, render
from tests.support.control_plane import ControlPlane
from tests.support.kubernetes.kubectl import Kubectl, KubectlError
from tests.support.service_accounts import following

OWN = "demo-headgate-controlplane"
"""The control plane's service account, as in the rendered chart."""


def account(kubectl: Kubectl, name: str) -> None:
    kubectl.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})


def token(kubectl: Kubectl, account: str, *audiences: str) -> str:
    """A token as kubelet gets it for a projected volume; without audience that of the API server."""
    wanted = [f"--audience={each}" for each in audiences]
    return kubectl.run("create", "token", account, "--duration=10m", *wanted).strip()


def of_kubeconfig(kubectl: Kubectl, field: str) -> str:
    return kubectl.run(
        "config", "view", "--raw", "--minify", "-o", f"jsonpath={{.clusters[0].cluster.{field}}}"
    )


@dataclass
class Gateway:
    """A control plane beside the cluster, which knows its API server as from a pod."""

    kubectl: Kubectl
    plane: ControlPlane

    def register(self, service: str, token: str) -> headgate.Registration:
        return headgate.register(
            service,
            port=9001,
            instance_id="pod-1",
            controlplane=self.plane.address,
            token=token,
            handle_sigterm=False,
            deadline=30,
        )


@pytest.fixture
async def gateway(namespace: Kubectl, tmp_path: Path) -> AsyncIterator[Gateway]:
    for name in (OWN, "stock", "other"):
        account(namespace, name)
    access = Access(of_kubeconfig(namespace, "server"), tmp_path / "token", tmp_path / "ca.crt")
    access.token_file.write_text(token(namespace, OWN))
    access.ca.write_bytes(base64.b64decode(of_kubeconfig(namespace, "certificate-authority-data")))
    allowed = [{"namespace": namespace.namespace, "service_account": "stock"}]
    fields = {"service_name": "stock", "registration": {"kubernetes": allowed}}
    keys = ClusterKeys(published_keys(KubernetesApi(access)))
    async with following(keys), ControlPlane(accounts=ServiceAccounts(keys, "headgate")) as plane:
        # Raises the reason if there are none.
        await keys.present()
        await plane.watcher.caught_up.wait()
        await plane.put(parse_as(Service, fields))
        yield Gateway(namespace, plane)


async def test_a_token_for_the_gateway_registers(gateway: Gateway) -> None:
    async with gateway.register("stock", token(gateway.kubectl, "stock", "headgate")) as registration:
        assert registration.registered
        assert ("instance", "stock/pod-1") in gateway.plane.current.resources


async def test_one_for_the_api_server_does_not(gateway: Gateway) -> None:
    with pytest.raises(Unauthenticated, match=r"the token's audience is .*, expected 'headgate'"):
        async with gateway.register("stock", token(gateway.kubectl, "stock")):
            pass


async def test_nor_does_another_account(gateway: Gateway) -> None:
    other = token(gateway.kubectl, "other", "headgate")
    with pytest.raises(Forbidden, match=f"{gateway.kubectl.namespace}/other may not register any service"):
        async with gateway.register("stock", other):
            pass


def test_the_role_of_the_chart_reads_the_keys_and_nothing_else(namespace: Kubectl) -> None:
    """Of an account that nothing else permits anything: groups are left out, and so is the built-in binding."""
    values: dict[str, Any] = {"controlplane": {"registration": {"kubernetes": {"enabled": True}}}}
    objects = {key: one for key, one in render({**NEEDED, **values}).items() if key.startswith("ClusterRole")}
    name, user = f"{namespace.namespace}-registration", f"system:serviceaccount:{namespace.namespace}:{OWN}"
    for one in objects.values():
        one["metadata"]["name"] = name
    (binding,) = (one for one in objects.values() if one["kind"] == "ClusterRoleBinding")
    binding["roleRef"]["name"] = name
    binding["subjects"][0]["namespace"] = namespace.namespace

    def may(verb: str, what: str) -> bool:
        try:
            namespace.run("auth", "can-i", verb, what, f"--as={user}", "--as-group=nobody")
        except KubectlError:
            return False
        return True

    assert not may("get", PATH)
    namespace.apply(*objects.values())
    try:
        assert may("get", PATH)
        assert not any(may("get", what) for what in ("secrets", "pods", "/metrics", "/openid/v1/other"))
    finally:
        namespace.run("delete", f"clusterrole/{name}", f"clusterrolebinding/{name}")
