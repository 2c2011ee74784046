"""The chart lints strictly, renders, and every object it renders is valid Kubernetes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from controlplane.settings import Settings as ControlPlaneSettings
from dataplane.settings import Settings as DataPlaneSettings

helm = pytest.importorskip("helm_python", reason="helm-python-sdk has no wheel for this machine")

CHART = Path(__file__).parents[3] / "charts" / "headgate"
KUBERNETES = ("1.30", "1.36")
NEEDED: dict[str, Any] = {"existingSecret": "headgate-secrets"}


def render(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every rendered object by "Kind/name"."""
    with helm.Chart.load(str(CHART)) as chart:
        chart.validate_schema(values)
        manifests = chart.render(values, name="demo", namespace="prod")
    documents = [
        document
        for path, text in manifests.items()
        if path.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]
    return {f"{document['kind']}/{document['metadata']['name']}": document for document in documents}


def container(objects: dict[str, dict[str, Any]], plane: str) -> dict[str, Any]:
    """The plane's one container."""
    found: dict[str, Any] = objects[f"Deployment/demo-headgate-{plane}"]["spec"]["template"]["spec"][
        "containers"
    ][0]
    return found


def environment(objects: dict[str, dict[str, Any]], plane: str) -> dict[str, Any]:
    return {entry["name"]: entry for entry in container(objects, plane)["env"]}


def test_lints_strictly() -> None:
    result = helm.lint(str(CHART), values=NEEDED, strict=True)
    assert not result["errors"]
    assert not [message for message in result["messages"] if message["severity"] > 1]


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize(
    "values",
    [
        NEEDED,
        {**NEEDED, "dataplane": {"autoscaling": {"enabled": False}, "replicas": 3}},
        {**NEEDED, "etcd": {"endpoints": ["https://a:2379", "https://b:2379"], "tlsSecret": "etcd-tls"}},
        {**NEEDED, "controlplane": {"adminTls": {"secret": "admin-tls"}}},
    ],
    ids=["defaults", "fixed replicas", "etcd over TLS", "admin API over TLS"],
)
def test_every_object_is_valid(version: str, values: dict[str, Any]) -> None:
    for document in render(values).values():
        kubernetes_validate.validate(document, version, strict=True)


def test_both_planes_have_probes_and_run_without_privileges() -> None:
    objects = render(NEEDED)
    for plane in ("controlplane", "dataplane"):
        found = container(objects, plane)
        assert {"livenessProbe", "readinessProbe", "startupProbe"} <= found.keys()
        assert found["securityContext"]["readOnlyRootFilesystem"] is True
        pod = objects[f"Deployment/demo-headgate-{plane}"]["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True


def test_the_autoscaler_scales_the_data_plane() -> None:
    objects = render(NEEDED)
    scaler = objects["HorizontalPodAutoscaler/demo-headgate-dataplane"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == "demo-headgate-dataplane"
    assert "replicas" not in objects["Deployment/demo-headgate-dataplane"]["spec"]


def test_secrets_come_from_the_named_secret_alone() -> None:
    objects = render(NEEDED)
    for name in ("SECRET_KEY", "DATAPLANE_TOKEN", "SERVICE_TOKEN", "ADMIN_PASSWORD"):
        reference = environment(objects, "controlplane")[name]["valueFrom"]["secretKeyRef"]
        assert reference == {"name": "headgate-secrets", "key": name}
    assert set(environment(objects, "dataplane")) & {"SECRET_KEY", "SERVICE_TOKEN", "ADMIN_PASSWORD"} == set()


def test_without_a_secret_it_says_what_is_missing() -> None:
    with pytest.raises(helm.HelmError, match="existingSecret is required"):
        render({})


@pytest.mark.parametrize(
    "values",
    [
        {**NEEDED, "dataplane": {"worker": 2}},
        {**NEEDED, "etcd": {"endpoints": []}},
        {**NEEDED, "etcd": {"endpoints": ["etcd:2379"]}},
        {**NEEDED, "controlplane": {"replicas": "two"}},
    ],
    ids=["unknown value", "no etcd", "etcd without scheme", "wrong type"],
)
def test_wrong_values_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(helm.HelmError):
        render(values)


def test_redis_is_a_host_or_a_secret() -> None:
    assert not {"REDIS_HOST", "REDIS_URL"} & environment(render(NEEDED), "dataplane").keys()
    values = {**NEEDED, "dataplane": {"redis": {"host": "redis"}, "rateLimit": {"mode": "redis"}}}
    found = environment(render(values), "dataplane")
    assert [found[name]["value"] for name in ("REDIS_HOST", "REDIS_PORT", "RATE_LIMIT_MODE")] == [
        "redis",
        "6379",
        "redis",
    ]
    values = {**NEEDED, "dataplane": {"redis": {"secret": "limits"}}}
    found = environment(render(values), "dataplane")
    assert found["REDIS_URL"]["valueFrom"] == {"secretKeyRef": {"name": "limits", "key": "REDIS_URL"}}


SENTINELS = {
    "sentinels": ["a:26379", "b:26379"],
    "secret": "limits",
    "tlsSecret": "tls",
    "keyPrefix": "shop:",
}
REDIS_BY_ALL_MEANS = (
    {"host": "redis"},
    {**SENTINELS, "clientCertificate": True},
    {"cluster": ["a:7000"], "timeout": 0.05},
)


def test_every_setting_of_limits_has_a_value() -> None:
    given: set[str] = set()
    for redis in REDIS_BY_ALL_MEANS:
        limit = {"mode": "redis", "onStoreFailure": "closed"}
        plane = {"redis": redis, "rateLimit": limit, "limitKeySecret": "keys"}
        objects = render({**NEEDED, "dataplane": plane})
        given |= environment(objects, "dataplane").keys()
        for document in objects.values():
            kubernetes_validate.validate(document, KUBERNETES[0], strict=True)
    of_limits = ("redis_", "rate_limit_", "limit_")
    wanted = {name.upper() for name in DataPlaneSettings.model_fields if name.startswith(of_limits)}
    assert wanted - given == set()
    beside = environment(render(NEEDED), "controlplane").keys()
    owned = {name.upper() for name in ControlPlaneSettings.model_fields if "limit_" in name}
    assert owned <= beside


def test_redis_over_tls_with_a_client_certificate() -> None:
    objects = render({**NEEDED, "dataplane": {"redis": {**SENTINELS, "clientCertificate": True}}})
    found = environment(objects, "dataplane")
    assert found["REDIS_SENTINELS"]["value"] == "a:26379,b:26379"
    mounts = {one["name"]: one["mountPath"] for one in container(objects, "dataplane")["volumeMounts"]}
    for name in ("REDIS_CA", "REDIS_CERT", "REDIS_KEY"):
        assert found[name]["value"].startswith(mounts["redis-tls"] + "/")
    without = environment(render({**NEEDED, "dataplane": {"redis": SENTINELS}}), "dataplane")
    assert without.keys() & {"REDIS_CA", "REDIS_CERT"} == {"REDIS_CA"}


def test_both_planes_have_the_limit_of_the_settings() -> None:
    values = {**NEEDED, "dataplane": {"rateLimit": {"perSecond": 20, "burst": 30, "mode": "fleet"}}}
    for plane in ("controlplane", "dataplane"):
        found = environment(render(values), plane)
        assert [found[f"RATE_LIMIT_{name}"]["value"] for name in ("PER_SECOND", "BURST")] == ["20", "30"]
    assert found["RATE_LIMIT_MODE"]["value"] == "fleet"


def test_the_admin_api_is_not_exposed_by_default() -> None:
    assert environment(render(NEEDED), "controlplane")["EXPOSE_ADMIN"]["value"] == "false"


def test_the_admin_api_speaks_tls_where_it_is_given_a_certificate() -> None:
    plain = render(NEEDED)
    assert environment(plain, "controlplane")["ADMIN_PLAINTEXT"]["value"] == "true"
    assert container(plain, "controlplane")["readinessProbe"]["httpGet"]["scheme"] == "HTTP"
    for ca, names in ((False, set()), (True, {"ADMIN_CA"})):
        values = {**NEEDED, "controlplane": {"adminTls": {"secret": "admin-tls", "ca": ca}}}
        objects = render(values)
        given = {name for name in environment(objects, "controlplane") if name.startswith("ADMIN_")}
        assert (
            given - {"ADMIN_LISTEN", "ADMIN_USERNAME", "ADMIN_PASSWORD"}
            == {"ADMIN_CERT", "ADMIN_KEY"} | names
        )
        found = container(objects, "controlplane")
        for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
            assert found[probe]["httpGet"]["scheme"] == "HTTPS"
        assert [mount["name"] for mount in found["volumeMounts"]] == ["admin-tls"]


def test_etcd_over_tls_needs_no_client_certificate() -> None:
    over_tls = {"endpoints": ["https://a:2379"], "tlsSecret": "etcd-tls"}
    for client, names in ((False, {"ETCD_CA"}), (True, {"ETCD_CA", "ETCD_CERT", "ETCD_KEY"})):
        values = {**NEEDED, "etcd": {**over_tls, "clientCertificate": client}}
        given = {name for name in environment(render(values), "controlplane") if name.startswith("ETCD_")}
        assert given - {"ETCD_ENDPOINTS"} == names


def test_a_container_beside_the_data_plane_is_reached_at_a_socket() -> None:
    dataplane = {
        "unixSockets": ["/run/apps"],
        "extraContainers": [{"name": "orders", "image": "orders:1"}],
        "extraVolumes": [{"name": "apps", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "apps", "mountPath": "/run/apps"}],
    }
    objects = render({**NEEDED, "dataplane": dataplane, "controlplane": {"unixSockets": ["/run/apps"]}})
    for plane in ("dataplane", "controlplane"):
        assert environment(objects, plane)["UNIX_SOCKETS"]["value"] == "/run/apps"
        assert "UNIX_SOCKETS" not in environment(render(NEEDED), plane)
    pod = objects["Deployment/demo-headgate-dataplane"]["spec"]["template"]["spec"]
    assert [each["name"] for each in pod["containers"]] == ["dataplane", "orders"]
    assert {"name": "apps", "emptyDir": {}} in pod["volumes"]
    assert {"name": "apps", "mountPath": "/run/apps"} in container(objects, "dataplane")["volumeMounts"]


def test_who_is_believed_and_what_may_be_registered_is_set() -> None:
    networks = {
        "trustedProxies": ["10.0.0.0/8"],
        "registerAllow": ["127.0.0.0/8"],
        "registerDeny": ["10.1.0.0/16"],
    }
    found = environment(render({**NEEDED, "controlplane": networks}), "controlplane")
    assert found["TRUSTED_PROXIES"]["value"] == "10.0.0.0/8"
    assert found["REGISTER_ALLOW"]["value"] == "127.0.0.0/8"
    beside = environment(render({**NEEDED, "controlplane": networks}), "dataplane")
    assert beside["REGISTER_ALLOW"]["value"] == "127.0.0.0/8"
    assert found["REGISTER_DENY"]["value"] == "10.1.0.0/16"
    assert not {"TRUSTED_PROXIES", "REGISTER_ALLOW"} & set(environment(render(NEEDED), "controlplane"))
