"""Settings, probes and Secrets of both planes in the rendered chart."""

from __future__ import annotations

from controlplane.settings import Settings as ControlPlaneSettings
from dataplane.settings import Settings as DataPlaneSettings
from dataplane.telemetry.settings import names as telemetry_names
from tests.support.chart import NEEDED, container, environment, pod, problems, render


def test_both_planes_have_probes_and_run_without_privileges() -> None:
    objects = render(NEEDED)
    for plane in ("controlplane", "dataplane"):
        found = container(objects, plane)
        assert {"livenessProbe", "readinessProbe", "startupProbe"} <= found.keys()
        assert found["securityContext"]["readOnlyRootFilesystem"] is True
        security = pod(objects, plane)["securityContext"]
        assert security["runAsNonRoot"] is True
        assert pod(objects, plane)["enableServiceLinks"] is False, "REDIS_PORT is a setting"
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert found["securityContext"]["capabilities"] == {"drop": ["ALL"]}


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
        assert not list(problems(objects))
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
    spec = pod(objects, "dataplane")
    assert [each["name"] for each in spec["containers"]] == ["dataplane", "orders"]
    assert {"name": "apps", "emptyDir": {}} in spec["volumes"]
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
    assert found["REGISTER_DENY"]["value"] == beside["REGISTER_DENY"]["value"] == "10.1.0.0/16"
    assert not {"TRUSTED_PROXIES", "REGISTER_ALLOW"} & set(environment(render(NEEDED), "controlplane"))


def test_telemetry_is_off_without_an_endpoint() -> None:
    for plane in ("controlplane", "dataplane"):
        assert not [name for name in environment(render(NEEDED), plane) if name.startswith("OTEL_")]


def test_telemetry() -> None:
    telemetry = {
        "endpoint": "https://collector:4317",
        "headersSecret": "collector",
        "tlsSecret": "collector-ca",
        "logs": False,
        "samplerRatio": 0.01,
        "resourceAttributes": {"deployment.environment.name": "a b"},
    }
    objects = render({**NEEDED, "telemetry": telemetry})
    found = environment(objects, "dataplane")
    headers = found["OTEL_EXPORTER_OTLP_HEADERS"]["valueFrom"]
    assert headers == {"secretKeyRef": {"name": "collector", "key": "OTEL_EXPORTER_OTLP_HEADERS"}}
    values = {
        name: each["value"] for name, each in found.items() if name.startswith("OTEL_") and "value" in each
    }
    assert values == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector:4317",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "/etc/headgate/telemetry/ca.crt",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_RESOURCE_ATTRIBUTES": "k8s.namespace.name=prod,deployment.environment.name=a%20b",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.01",
    }
    assert set(values) <= set(telemetry_names())
    # Changes are few: the share of requests that is traced is that of data planes alone.
    same = {name: each for name, each in found.items() if name.startswith("OTEL_") and "SAMPLER" not in name}
    controlplane = environment(objects, "controlplane")
    assert {name: controlplane[name] for name in controlplane if name.startswith("OTEL_")} == same
    for plane in ("controlplane", "dataplane"):
        mounts = {each["mountPath"]: each["name"] for each in container(objects, plane)["volumeMounts"]}
        secrets = {each["name"]: each.get("secret") for each in pod(objects, plane)["volumes"]}
        assert secrets[mounts["/etc/headgate/telemetry"]] == {"secretName": "collector-ca"}


def test_a_sampler_without_a_ratio_gets_none() -> None:
    telemetry = {"endpoint": "http://collector:4317", "sampler": "always_on"}
    assert "OTEL_TRACES_SAMPLER_ARG" not in environment(
        render({**NEEDED, "telemetry": telemetry}), "dataplane"
    )
