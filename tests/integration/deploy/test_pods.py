"""The manifest of docs/how-to/kubernetes-services.md as printed: valid, and rolled under load over TLS."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from demo.processes import ControlPlane, DataPlane, Process, Secrets
from tests.support.certificates import Authority
from tests.support.etcd import Etcd
from tests.support.pages import DOCS, Block, blocks
from tests.support.pod import Cluster, Pod
from tests.support.rolling import Callers
from tests.support.service_accounts import Cluster as Issuer
from tests.support.service_accounts import KeyServer, own_files, publishing
from tests.support.waiting import eventually

PAGE = DOCS / "how-to" / "kubernetes-services.md"
KUBERNETES = ("1.30", "1.36")


def block(language: str, part: str, *, number: int = 0) -> Block:
    """The block with this text, or the one of this number among several."""
    return [each for each in blocks(PAGE) if each.language == language and part in each.text][number]


def manifest() -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load(block("yaml", "kind: Deployment").text)
    return made


def with_own_token() -> dict[str, Any]:
    """The manifest with the changes of "With the pod's own token"."""
    made, changes = manifest(), yaml.safe_load(block("yaml", "serviceAccountToken").text)
    spec = made["spec"]["template"]["spec"]
    replaced = {volume["name"]: volume for volume in changes["volumes"]}
    assert set(replaced) <= {volume["name"] for volume in spec["volumes"]}
    volumes = [replaced.get(volume["name"], volume) for volume in spec["volumes"]]
    spec |= {**changes, "volumes": volumes}
    return made


def container() -> dict[str, Any]:
    (found,) = manifest()["spec"]["template"]["spec"]["containers"]
    return dict(found)


@pytest.mark.parametrize("version", KUBERNETES)
def test_valid(version: str) -> None:
    for made in (manifest(), with_own_token()):
        kubernetes_validate.validate(made, version, strict=True)


def test_restricted_by_the_pod_security_standard() -> None:
    """What the namespace label pod-security.kubernetes.io/enforce: restricted asks for."""
    pod, security = manifest()["spec"]["template"]["spec"], container()["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}


def test_the_grace_period_holds_the_hook_and_the_drain() -> None:
    words = container()["lifecycle"]["preStop"]["exec"]["command"]
    drain = float(words[words.index("--timeout") + 1])
    assert manifest()["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > drain + 20


def test_the_commands_make_what_the_manifest_refers_to() -> None:
    text = block("bash", "create secret").text
    spec = manifest()["spec"]["template"]["spec"]
    for volume in spec["volumes"]:
        name = volume["secret"]["secretName"] if "secret" in volume else volume["configMap"]["name"]
        assert f" {name} " in text
    assert "--from-file=token" in text and "--from-file=ca.crt" in text
    assert "--from-literal=controlplane=" in text


@dataclasses.dataclass
class Gateway:
    """A control plane whose gRPC port has TLS, and a data plane."""

    controlplane: ControlPlane
    dataplane: DataPlane
    authority: Authority
    issuer: KeyServer
    """The API server of the cluster in which all of this runs."""

    def token(self) -> str:
        """As `headgate token service stock` makes it."""
        with self.controlplane.admin() as admin:
            asked = {"service_name": "stock", "ttl": 3600}
            made = admin.post("/api/v1/auth/service-token", json=asked).raise_for_status()
        return str(made.json()["token"])

    def apply(self, document: Any) -> None:
        with self.controlplane.admin() as admin:
            admin.post("/api/v1/apply", json=document).raise_for_status()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    processes: list[Process] = []
    authority = Authority(tmp_path / "authority")
    cert, key = authority.issue("controlplane")
    encrypted = {"GRPC_CERT": str(cert), "GRPC_KEY": str(key)}
    with Etcd(tmp_path / "etcd") as etcd, publishing(Issuer(), authority) as issuer:
        secrets = Secrets()
        token_file, ca = own_files(issuer, authority, tmp_path / "own")
        accepting = {
            "SERVICE_ACCOUNT_TOKENS": "true",
            "KUBERNETES_URL": issuer.url,
            "KUBERNETES_TOKEN_FILE": str(token_file),
            "KUBERNETES_CA": str(ca),
        }
        controlplane = ControlPlane(etcd.url, secrets, settings=encrypted | accepting)
        trusting = {"CONTROLPLANE_CA": str(authority.certificate), "RATE_LIMIT_PER_SECOND": "0"}
        dataplane = DataPlane(controlplane.grpc, secrets, settings=trusting)
        try:
            for plane in (controlplane, dataplane):
                processes.append(plane.start(tmp_path / "run"))
            yield Gateway(controlplane, dataplane, authority, issuer)
        finally:
            for process in reversed(processes):
                process.kill()


@pytest.fixture
def cluster(gateway: Gateway, tmp_path: Path) -> Cluster:
    """With the objects that the page's commands make. The service is that of the page."""
    (tmp_path / "stock.py").write_text(block("python", "# stock.py").text)
    reached = {
        "ca.crt": gateway.authority.certificate.read_text(),
        "controlplane": gateway.controlplane.grpc,
    }
    return Cluster(
        root=tmp_path / "pods",
        secrets={"stock-headgate": {"token": gateway.token() + "\n"}},
        config_maps={"headgate": reached},
        programs=Path(sys.executable).parent,
        modules=tmp_path,
        account_tokens=lambda account, audience: gateway.issuer.cluster.token(
            f"shop/{account}", aud=[audience]
        ),
    )


async def available(gateway: Gateway, pod: Pod) -> None:
    """Ready, and probed by the data plane: a rollout gives that `minReadySeconds`, which a busy machine may exceed."""
    await pod.ready()
    url = f"{gateway.controlplane.url}/api/v1/services/stock"

    def healthy() -> bool:
        with gateway.controlplane.admin() as admin:
            instances = admin.get(url).json()["instances"]
        return bool(instances[pod.name]["status"] == "healthy")

    await eventually(lambda: asyncio.to_thread(healthy), every=0.2)


async def test_rolled_under_load_without_a_failed_request(gateway: Gateway, cluster: Cluster) -> None:
    await asyncio.to_thread(gateway.apply, yaml.safe_load(block("yaml", "routes:").text) | SERVICE)
    template = manifest()["spec"]["template"]
    # Pods have addresses of their own; all of 127.0.0.0/8 is this machine.
    network = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
    pods = [Pod(cluster, template, f"stock-5d9c7b-{n}", f"{network}.{10 + n}") for n in range(3)]
    load = Callers([f"{gateway.dataplane.url}/stock"])
    try:
        await available(gateway, pods[0])
        running = asyncio.create_task(load.run(4))
        for old, new in itertools.pairwise(pods):
            await load.more('{"apple":3}')
            await available(gateway, new)
            # uvicorn ends by the signal once it has shut down; as process 1 of a container with 0.
            assert await old.stop() in (0, -signal.SIGTERM)
            assert "deregistered" in (old.process.tail() if old.process else "")
        await load.more('{"apple":3}')
        load.end()
        await running
        assert set(load.answers) == {'{"apple":3}'}, load.answers
    finally:
        load.end()
        for pod in pods:
            pod.kill()


async def test_registered_and_drained_with_its_own_token(gateway: Gateway, cluster: Cluster) -> None:
    cluster = dataclasses.replace(cluster, secrets={})
    await asyncio.to_thread(gateway.apply, yaml.safe_load(block("yaml", "registration:").text))
    pod = Pod(cluster, with_own_token()["spec"]["template"], "stock-5d9c7b-0", "127.88.0.10")
    try:
        await available(gateway, pod)
        assert await pod.stop() in (0, -signal.SIGTERM)
        assert "deregistered" in (pod.process.tail() if pod.process else "")
    finally:
        pod.kill()


SERVICE: dict[str, Any] = {"services": [{"service_name": "stock", "check_interval": 5}]}
"""The route may be applied before the first pod registers."""
