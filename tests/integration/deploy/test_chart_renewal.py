"""The CronJob of the chart that renews generated certificates: its program against an API, and its rights."""

from __future__ import annotations

import copy
import datetime
import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from cryptography import x509

from tests.support.chart import CHART, NEEDED, Objects, problems, render
from tests.support.chart_upgrades import Release, decoded, release
from tests.support.plain_module import load

VALUES: dict[str, Any] = {**NEEDED, "grpcTls": {"enabled": True}, "etcd": {"enabled": True}}
SECRETS = [f"demo-headgate-{name}-tls" for name in ("controlplane", "dataplane", "etcd", "etcd-client")]
CONFIG = "ConfigMap/demo-headgate-certificates"
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture
def installed() -> Iterator[Release]:
    """A release in a fake cluster."""
    with release() as found:
        yield found


@pytest.fixture
def program() -> ModuleType:
    """The program of the job."""
    return load(CHART / "files" / "renew.py")


def run(program: ModuleType, installed: Release, objects: Objects, now: datetime.datetime) -> None:
    """What the job does at this time."""
    groups = json.loads(objects[CONFIG]["data"]["groups.json"])
    program.renew(program.Api(installed.url, "prod", "token"), groups, 365, 120, now)


def stored(installed: Release, name: str) -> dict[str, Any]:
    """A Secret as the cluster has it."""
    return copy.deepcopy(installed.cluster.objects["secrets", name])


def test_a_certificate_is_renewed_in_time_and_upgrades_keep_its_successor(
    installed: Release, program: ModuleType
) -> None:
    objects = installed.upgrade(VALUES)
    before = {name: stored(installed, name) for name in SECRETS}
    run(program, installed, objects, NOW + 200 * DAY)
    assert {name: stored(installed, name) for name in SECRETS} == before
    run(program, installed, objects, NOW + 300 * DAY)
    for name, former in before.items():
        found = stored(installed, name)
        old, new = (x509.load_pem_x509_certificate(decoded(each)["tls.crt"]) for each in (former, found))
        new.verify_directly_issued_by(x509.load_pem_x509_certificate(decoded(found)["ca.crt"]))
        of_names = x509.SubjectAlternativeName
        assert set(new.extensions.get_extension_for_class(of_names).value) == set(
            old.extensions.get_extension_for_class(of_names).value
        )
        assert new.not_valid_after_utc.date() == (NOW + 665 * DAY).date()
        assert decoded(found)["tls.key"] != decoded(former)["tls.key"]
    renewed = {name: stored(installed, name)["data"] for name in SECRETS}
    again = installed.upgrade(VALUES)
    assert {name: again[f"Secret/{name}"]["data"] for name in SECRETS} == renewed


def test_a_renewed_certificate_still_belongs_to_the_program_that_made_it(
    installed: Release, program: ModuleType
) -> None:
    objects = installed.upgrade(VALUES)
    # Helm 4 and Flux apply server-side: fields that another manager has changed, they do not change again.
    applied = {
        "manager": "helm-controller",
        "operation": "Apply",
        "fieldsV1": {"f:data": {}, "f:metadata": {}},
    }
    other = {"manager": "reflector", "operation": "Apply", "fieldsV1": {"f:metadata": {}}}
    name = SECRETS[0]
    by_apply = stored(installed, name)
    by_apply["metadata"]["managedFields"] = [other, applied]
    installed.cluster.put(by_apply)
    run(program, installed, objects, NOW + 300 * DAY)
    assert [(query, kind) for query, kind, _ in installed.cluster.patches] == [
        ("fieldManager=helm-controller&force=true", "application/apply-patch+yaml"),
        *[("fieldManager=helm", "application/merge-patch+json")] * 3,
    ]
    # Apply removes fields that its manager leaves out.
    body = installed.cluster.patches[0][2]
    made = objects[f"Secret/{name}"]
    assert body["metadata"]["labels"] == made["metadata"]["labels"]
    assert body["metadata"]["annotations"].keys() == made["metadata"]["annotations"].keys()
    assert (body["type"], body["data"].keys()) == (made["type"], made["data"].keys())
    assert body["data"]["ca.crt"] == made["data"]["ca.crt"]


def test_the_job_has_access_to_the_generated_certificates_alone(installed: Release) -> None:
    objects = installed.upgrade(VALUES)
    assert not list(problems(objects))
    authorities, leaves = objects["Role/demo-headgate-certificates"]["rules"]
    assert (authorities["verbs"], leaves["verbs"]) == (["get"], ["get", "patch"])
    assert authorities["resourceNames"] == ["demo-headgate-grpc-ca", "demo-headgate-etcd-ca"]
    assert sorted(leaves["resourceNames"]) == sorted(SECRETS)
    spec = objects["CronJob/demo-headgate-certificates"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "demo-headgate-certificates"
    (container,) = spec["containers"]
    assert container["command"][-2:] == ["365", "120"]


def test_without_generated_certificates_there_is_no_job(installed: Release) -> None:
    for objects in (
        render(NEEDED),
        render({**VALUES, "certificates": {"source": "certManager"}}),
        installed.upgrade({**VALUES, "certificates": {"renewal": {"enabled": False}}}),
    ):
        assert not [
            each for each in objects if each.startswith(("Role/", "CronJob/demo-headgate-certificates"))
        ]
