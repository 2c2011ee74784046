"""The chart's Secret: made once and kept, or from elsewhere; never with a value that is known before."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.chart import CHART, NEEDED, Objects, environment, helm, problems, render
from tests.support.chart_upgrades import Release, decoded, release

SECRET = "Secret/demo-headgate-secrets"
LENGTHS = {"SECRET_KEY": 48, "DATAPLANE_TOKEN": 40, "SERVICE_TOKEN": 40, "ADMIN_PASSWORD": 20}
STORE = {"store": {"name": "vault", "kind": "ClusterSecretStore"}, "key": "prod/headgate"}


@pytest.fixture
def installed() -> Iterator[Release]:
    """A release in a fake cluster."""
    with release() as found:
        yield found


def checksums(objects: Objects) -> set[str]:
    """The checksums of the pods of both planes."""
    pods = [
        objects[f"Deployment/demo-headgate-{plane}"]["spec"]["template"]
        for plane in ("controlplane", "dataplane")
    ]
    return {pod["metadata"]["annotations"]["checksum/secrets"] for pod in pods}


def test_values_are_made_once_and_kept_by_upgrades(installed: Release) -> None:
    first = installed.upgrade({})
    assert {name: len(value) for name, value in decoded(first[SECRET]).items()} == LENGTHS
    assert first[SECRET]["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    again = installed.upgrade({})
    assert again[SECRET] == first[SECRET]
    assert checksums(again) == checksums(first)
    assert len(checksums(first)) == 1
    assert not list(problems(first))
    for name in LENGTHS:
        reference = environment(first, "controlplane")[name]["valueFrom"]["secretKeyRef"]
        assert reference == {"name": "demo-headgate-secrets", "key": name}


def test_another_release_has_other_values(installed: Release) -> None:
    with release() as other:
        values = (decoded(each.upgrade({})[SECRET]) for each in (installed, other))
        first, second = values
        assert not set(first.values()) & set(second.values())


def test_pods_are_replaced_after_a_change_of_the_secret(installed: Release) -> None:
    first = installed.upgrade({})
    changed = copy.deepcopy(first[SECRET])
    changed["data"] |= {"DATAPLANE_TOKEN": "b3RoZXI=", "EXTRA": "MQ=="}
    installed.cluster.put(changed)
    again = installed.upgrade({})
    assert again[SECRET]["data"] == changed["data"]
    assert checksums(again) != checksums(first)


def test_an_existing_secret_is_used_as_it_is(installed: Release) -> None:
    assert installed.upgrade(NEEDED) == render(NEEDED)
    assert not [each for each in render(NEEDED) if each.startswith("Secret/")]
    for plane in ("controlplane", "dataplane"):
        annotations = render(NEEDED)[f"Deployment/demo-headgate-{plane}"]["spec"]["template"]["metadata"][
            "annotations"
        ]
        assert "checksum/secrets" not in annotations


def test_without_a_cluster_nothing_is_generated() -> None:
    with pytest.raises(helm.HelmError, match=r"generated without a cluster.*Set existingSecret"):
        render({})
    result = helm.lint(str(CHART), values={}, strict=True)
    assert not result["errors"]


def test_external_secrets_writes_the_secret() -> None:
    objects = render({"secrets": {"source": "externalSecret", "externalSecret": STORE}})
    spec = objects["ExternalSecret/demo-headgate-secrets"]["spec"]
    assert spec["secretStoreRef"] == STORE["store"]
    assert spec["dataFrom"] == [{"extract": {"key": "prod/headgate"}}]
    assert spec["target"]["name"] == "demo-headgate-secrets"
    assert SECRET not in objects
    assert environment(objects, "dataplane")["DATAPLANE_TOKEN"]["valueFrom"]["secretKeyRef"]["name"] == (
        "demo-headgate-secrets"
    )


@pytest.mark.parametrize(
    ("external", "message"),
    [
        ({"key": "prod/headgate"}, "store.name is empty"),
        ({"store": STORE["store"]}, "needs either key"),
        ({**STORE, "data": [{"secretKey": "A", "remoteRef": {"key": "a"}}]}, "needs either key"),
    ],
    ids=["no store", "no entry", "both"],
)
def test_an_external_secret_is_complete(external: dict[str, Any], message: str) -> None:
    with pytest.raises(helm.HelmError, match=message):
        render({"secrets": {"source": "externalSecret", "externalSecret": external}})
