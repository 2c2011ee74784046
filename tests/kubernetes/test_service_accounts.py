"""Pods that register with the tokens that kubelet puts into them, and control planes that read the cluster's keys."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kubernetes.conftest import new_namespace
from tests.support.kubernetes import objects
from tests.support.kubernetes.images import Images
from tests.support.kubernetes.kubectl import Kubectl
from tests.support.kubernetes.release import Release
from tests.support.waiting import eventually_now

pytestmark = pytest.mark.timeout(600)

RATE = 50
"""Requests a second: that none fails while the service is replaced, whatever its pods register with."""
FOLDER = "/var/run/secrets/headgate"


@pytest.fixture(scope="module")
def release(cluster: Kubectl, images: Images) -> Iterator[Release]:
    """A gateway that accepts tokens of service accounts; its service has a token from a Secret."""
    with new_namespace(cluster) as kubectl:
        release = Release(kubectl, images)
        # One of each: these tests are not about the planes.
        controlplane = {"replicas": 1, "registration": {"kubernetes": {"enabled": True}}}
        release.install(controlplane=controlplane, dataplane={"replicas": 1})
        try:
            yield release
        finally:
            name = f"{kubectl.namespace}-gate-headgate-registration"
            kubectl.run("delete", f"clusterrole/{name}", f"clusterrolebinding/{name}")


def with_own_token(spec: objects.Object, account: str, audience: str = "headgate") -> objects.Object:
    """The pod with the projected token of an account in place of the token from a Secret."""
    made = copy.deepcopy(spec)
    (container,) = made["containers"]
    kept = [each for each in container["env"] if each["name"] != "HEADGATE_TOKEN"]
    container["env"] = [*kept, {"name": "HEADGATE_TOKEN_FILE", "value": f"{FOLDER}/token"}]
    container["volumeMounts"].append({"name": "account", "mountPath": FOLDER, "readOnly": True})
    token = {"audience": audience, "expirationSeconds": 3600, "path": "token"}
    made["volumes"].append({"name": "account", "projected": {"sources": [{"serviceAccountToken": token}]}})
    made["serviceAccountName"] = account
    return made


def account(release: Release, name: str) -> None:
    metadata = {"name": name, "namespace": release.kubectl.namespace}
    release.kubectl.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})


def template(release: Release) -> Any:
    """The pods of the service as they are."""
    return release.kubectl.get("deployment", "echo")["spec"]["template"]["spec"]


def instances(release: Release) -> set[str]:
    found = json.loads(release.run("get", "instances", "-o", "json"))
    return {one["instance_id"] for one in found if one["service_name"] == "echo"}


def refusal(release: Release, name: str, spec: objects.Object) -> str:
    """The log of a pod that must not register, once it has ended."""
    release.kubectl.apply(objects.pod(name, {**spec, "restartPolicy": "Never"}))

    def ended() -> bool:
        return bool(release.kubectl.get("pod", name)["status"]["phase"] == "Failed")

    eventually_now(ended, within=60, every=0.5)
    return release.kubectl.run("logs", name)


def test_a_service_moves_from_a_secret_to_its_own_token(release: Release) -> None:
    namespace = release.kubectl.namespace
    account(release, "echo")
    allowed = [{"namespace": namespace, "service_account": "echo"}]
    release.run("patch", "service", "echo", "-p", json.dumps({"registration": {"kubernetes": allowed}}))
    load = release.load(RATE)
    spec = with_own_token(template(release), "echo")
    changed = [{"op": "replace", "path": "/spec/template/spec", "value": spec}]
    release.kubectl.run("patch", "deployment", "echo", "--type=json", "-p", json.dumps(changed))
    release.kubectl.rolled_out("deployment/echo")
    counts = load.more()
    assert not counts.failed
    pods = {pod["metadata"]["name"] for pod in release.kubectl.list("pods", "app=echo")}
    assert instances(release) <= pods
    # Draining before the end took a token, too: a rollout of pods that all have their own.
    release.kubectl.run("rollout", "restart", "deployment/echo")
    release.kubectl.rolled_out("deployment/echo")
    assert not load.more().failed


def test_other_accounts_and_audiences_are_refused(release: Release) -> None:
    """After the service has moved."""
    namespace = release.kubectl.namespace
    account(release, "stranger")
    spec = template(release)
    spec["serviceAccountName"] = "stranger"
    said = refusal(release, "stranger", spec)
    assert f"service account {namespace}/stranger may not register any service" in said
    spec["serviceAccountName"] = "echo"
    (volume,) = (each for each in spec["volumes"] if each["name"] == "account")
    volume["projected"]["sources"][0]["serviceAccountToken"]["audience"] = "vault"
    said = refusal(release, "vault", spec)
    assert "the token's audience is 'vault', expected 'headgate'" in said


def test_a_permission_that_is_withdrawn_ends_the_registrations(release: Release) -> None:
    assert instances(release)
    release.run("patch", "service", "echo", "-p", '{"registration": null}')
    eventually_now(lambda: not instances(release), within=60, every=1)
