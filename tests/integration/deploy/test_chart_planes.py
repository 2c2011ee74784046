"""What values do to the objects of both planes: images, variables, spread, Services, accounts; and old values."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.integration.deploy.test_chart_valid import LOAD_BALANCER, MATRIX
from tests.support.chart import NEEDED, Objects, container, environment, helm, pod, render

PLANES = ("controlplane", "dataplane")


@pytest.fixture(scope="module")
def default() -> Objects:
    return render(NEEDED)


def variable(objects: Objects, plane: str, name: str) -> str:
    value: str = environment(objects, plane)[name]["value"]
    return value


def ports(objects: Objects, service: str) -> dict[str, dict[str, Any]]:
    return {port["name"]: port for port in objects[f"Service/demo-headgate-{service}"]["spec"]["ports"]}


def test_images_are_composed_of_their_parts() -> None:
    image = {"registry": "own.example.org/", "tag": "2", "digest": "sha256:" + "a" * 64}
    values = {"image": {"registry": "r.example.org"}, "dataplane": {"image": image}}
    objects = render({**NEEDED, **values})
    assert container(objects, "controlplane")["image"].startswith("r.example.org/headgate-controlplane:")
    assert container(objects, "dataplane")["image"] == (
        "own.example.org/headgate-dataplane@sha256:" + "a" * 64
    )


def test_data_planes_use_a_headless_service_of_the_control_planes(default: Objects) -> None:
    assert variable(default, "dataplane", "CONTROLPLANE") == "demo-headgate-controlplane-headless:50051"
    service = default["Service/demo-headgate-controlplane-headless"]["spec"]
    assert service["clusterIP"] == "None" and "publishNotReadyAddresses" not in service
    labels = default["Deployment/demo-headgate-controlplane"]["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()


@pytest.mark.parametrize("plane", PLANES)
def test_pods_of_one_revision_spread_over_zones_and_nodes(default: Objects, plane: str) -> None:
    constraints = pod(default, plane)["topologySpreadConstraints"]
    keys = [each["topologyKey"] for each in constraints]
    assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    for each in constraints:
        assert each["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == plane
        assert each["matchLabelKeys"] == ["pod-template-hash"]


@pytest.mark.parametrize(
    "own", [{}, {"labelSelector": {"matchLabels": {"app": "gate"}}}], ids=["ours", "theirs"]
)
def test_nodes_with_taints_do_not_limit_the_pods_on_others(own: dict[str, Any]) -> None:
    # Such a node never has a pod: with DoNotSchedule, the others would get maxSkew each.
    term = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        **own,
    }
    for policy, expected in (({}, "Honor"), ({"nodeTaintsPolicy": "Ignore"}, "Ignore")):
        plane = {"topologySpreadConstraints": [{**term, **policy}]}
        (found,) = pod(render({**NEEDED, "dataplane": plane}), "dataplane")["topologySpreadConstraints"]
        assert found["nodeTaintsPolicy"] == expected
        assert found.items() >= term.items()


def test_the_grace_period_follows_the_drain() -> None:
    objects = render({**NEEDED, "dataplane": {"drainTimeout": 100, "preStopSeconds": 20}})
    assert pod(objects, "dataplane")["terminationGracePeriodSeconds"] == 130
    assert pod(objects, "controlplane")["terminationGracePeriodSeconds"] == 25
    hook = container(objects, "dataplane")["lifecycle"]["preStop"]
    assert hook == {"sleep": {"seconds": 20}}, "without a shell in the image"


def test_variables_of_the_user_replace_those_of_the_chart() -> None:
    plane = {"env": {"WORKERS": "3", "NODE": "a"}, "extraEnv": [{"name": "NODE", "value": "b"}]}
    objects = render({**NEEDED, "dataplane": plane})
    assert [variable(objects, "dataplane", name) for name in ("WORKERS", "NODE")] == ["3", "b"]


def test_variables_come_after_those_that_they_refer_to() -> None:
    host = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}
    for plane in ({}, {"extraEnv": [host]}, {"env": {"POD_IP": "192.0.2.1", "Z": "$(LOG_LEVEL)"}}):
        names: list[str] = []
        for entry in container(render({**NEEDED, "controlplane": plane}), "controlplane")["env"]:
            assert set(re.findall(r"\$\((\w+)\)", entry.get("value", ""))) <= set(names)
            names.append(entry["name"])


def test_the_access_log_has_its_settings(default: Objects) -> None:
    assert variable(default, "dataplane", "ACCESS_LOG_FORMAT") == "json"
    assert variable(default, "dataplane", "ACCESS_LOG_SAMPLING") == "1"
    chosen = {
        "accessLogFields": ["time", "header:x-tenant"],
        "accessLogSampling": 0.01,
        "accessLogRedact": ["x-k"],
    }
    objects = render({**NEEDED, "dataplane": chosen})
    assert variable(objects, "dataplane", "ACCESS_LOG_FIELDS") == "time,header:x-tenant"
    assert variable(objects, "dataplane", "ACCESS_LOG_SAMPLING") == "0.01"
    assert variable(objects, "dataplane", "ACCESS_LOG_REDACT") == "x-k"
    off = environment(render({**NEEDED, "dataplane": {"accessLog": False}}), "dataplane")
    assert "ACCESS_LOG_FORMAT" not in off


def test_large_numbers_are_written_in_full() -> None:
    # Helm reads 1000000 as a floating point number, and planes refuse 1e+06 as a count.
    limit = {"perSecond": 2_500_000, "burst": 1_000_000}
    objects = render(
        {**NEEDED, "dataplane": {"rateLimit": limit, "redis": {"host": "redis", "timeout": 0.005}}}
    )
    for plane in PLANES:
        assert variable(objects, plane, "RATE_LIMIT_BURST") == "1000000"
        assert variable(objects, plane, "RATE_LIMIT_PER_SECOND") == "2500000"
    assert variable(objects, "dataplane", "REDIS_TIMEOUT") == "0.005"
    half = render({**NEEDED, "dataplane": {"rateLimit": {"perSecond": 0.5}}})
    assert variable(half, "controlplane", "RATE_LIMIT_PER_SECOND") == "0.5"


def test_another_autoscaler_may_own_the_replicas() -> None:
    for replicas in (None, 3):
        values = {"replicas": replicas, "autoscaling": {"enabled": False}}
        found = render({**NEEDED, "dataplane": values})
        assert found["Deployment/demo-headgate-dataplane"]["spec"].get("replicas") == replicas
        assert ("replicas" in found["Deployment/demo-headgate-dataplane"]["spec"]) is (replicas is not None)


def test_a_cluster_may_choose_the_user() -> None:
    # OpenShift refuses the ids of the chart.
    anyone: dict[str, Any] = dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"))
    values = {name: {"podSecurityContext": anyone} for name in PLANES}
    objects = render({**NEEDED, **values})
    for plane in PLANES:
        assert pod(objects, plane)["securityContext"] == {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }


def test_further_objects_belong_to_the_release() -> None:
    scaled = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "gate"},
        "spec": {"scaleTargetRef": {"name": "demo-headgate-dataplane"}},
    }
    assert render({**NEEDED, "extraObjects": [scaled]})["ScaledObject/gate"] == scaled


@pytest.mark.parametrize("plane", PLANES)
def test_budgets_never_block_the_eviction_of_pods_that_are_not_ready(default: Objects, plane: str) -> None:
    budget = default[f"PodDisruptionBudget/demo-headgate-{plane}"]["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")


def test_https_has_a_port_and_every_certificate_a_folder() -> None:
    values = {"tls": {"enabled": True, "secrets": ["a", "b"]}, "http": {"enabled": False}}
    objects = render({**NEEDED, "dataplane": values})
    assert variable(objects, "dataplane", "TLS_LISTEN") == "0.0.0.0:8443"
    assert variable(objects, "dataplane", "LISTEN") == "127.0.0.1:8000"
    pairs = [pair.split(":") for pair in variable(objects, "dataplane", "TLS_CERTS").split(",")]
    mounts = {mount["mountPath"] for mount in container(objects, "dataplane")["volumeMounts"]}
    assert {path.rpartition("/")[0] for pair in pairs for path in pair} <= mounts
    found = ports(objects, "dataplane")
    assert found.keys() == {"https"} and found["https"]["port"] == 443


def test_listeners_have_ports_everywhere() -> None:
    listeners = [
        {"name": "shop", "port": 8080},
        {"name": "api", "port": 8081, "servicePort": 81, "nodePort": 30081},
    ]
    found = render(NEEDED | {"dataplane": {"listeners": listeners}, "networkPolicy": {"enabled": True}})
    opened = container(found, "dataplane")["ports"]
    assert {"name": "shop", "containerPort": 8080} in opened
    own = ports(found, "dataplane")
    assert own["shop"] == {"name": "shop", "port": 8080, "targetPort": "shop", "appProtocol": "http"}
    assert (own["api"]["port"], own["api"]["nodePort"]) == (81, 30081)
    policy = found["NetworkPolicy/demo-headgate-dataplane"]["spec"]["ingress"][0]["ports"]
    assert {8000, 8080, 8081} <= {port["port"] for port in policy}


def test_a_load_balancer_has_its_settings() -> None:
    values = {"service": LOAD_BALANCER, "proxyProtocolFrom": ["192.0.2.0/24", "198.51.100.7"]}
    objects = render({**NEEDED, "dataplane": values})
    assert variable(objects, "dataplane", "PROXY_PROTOCOL_FROM") == "192.0.2.0/24,198.51.100.7"
    found = objects["Service/demo-headgate-dataplane"]
    assert found["metadata"]["annotations"] == {"a": "b"}
    for name in ("type", "loadBalancerClass", "loadBalancerSourceRanges", "externalTrafficPolicy"):
        assert found["spec"][name] == LOAD_BALANCER[name]


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("kind", ["LoadBalancer", "NodePort", "ClusterIP"])
def test_load_balancers_choose_their_health_probes(plane: str, kind: str) -> None:
    # With appProtocol, Azure's would ask for `/`, which has no route.
    found = ports(render({**NEEDED, plane: {"service": {"type": kind}}}), plane)
    assert all(("appProtocol" in port) is (kind != "LoadBalancer") for port in found.values())


def test_pods_with_ipv6_addresses_listen_on_them() -> None:
    objects = render({**NEEDED, "ipFamily": "IPv6"})
    assert variable(objects, "controlplane", "ADVERTISE") == "[$(POD_IP)]:8080"
    assert variable(objects, "controlplane", "GRPC_LISTEN") == "[::]:50051"
    for name in ("LISTEN", "STATUS_LISTEN"):
        assert variable(objects, "dataplane", name).startswith("[::]:")
    dual = render({**NEEDED, "dataplane": {"service": {"ipFamilyPolicy": "PreferDualStack"}}})
    assert variable(dual, "dataplane", "LISTEN") == "[::]:8000"
    assert variable(dual, "controlplane", "ADVERTISE") == "$(POD_IP):8080"


@pytest.mark.parametrize("plane", PLANES)
def test_no_pod_may_use_the_kubernetes_api(default: Objects, plane: str) -> None:
    assert pod(default, plane)["automountServiceAccountToken"] is False
    account = pod(default, plane)["serviceAccountName"]
    assert default[f"ServiceAccount/{account}"]["automountServiceAccountToken"] is False
    assert not [key for key in default if key.startswith(("Role", "Cluster"))]


def test_rules_give_control_planes_a_role_and_a_token() -> None:
    objects = render({**NEEDED, **MATRIX["load balancers"]})
    assert pod(objects, "controlplane")["automountServiceAccountToken"] is True
    assert pod(objects, "dataplane")["automountServiceAccountToken"] is False
    binding = objects["RoleBinding/demo-headgate-controlplane"]
    assert binding["subjects"][0]["name"] == pod(objects, "controlplane")["serviceAccountName"]


BEFORE = yaml.safe_load(
    """
    controlplane:
      image: {repository: registry.example.org/headgate-controlplane, tag: 0.1.0, pullPolicy: Always}
      env: {LOG_LEVEL: debug}
      adminTls: {secret: admin-tls, ca: true}
    dataplane:
      workers: 2
      service: {type: LoadBalancer, port: 8080, annotations: {a: b}}
      autoscaling: {enabled: true, minReplicas: 3, maxReplicas: 9, targetCPUUtilizationPercentage: 50}
    serviceAccount: {annotations: {iam: role}}
    scrapeAnnotations: true
    """
)
"""Values of the first chart, from before these templates."""


def test_values_of_the_first_chart_still_hold_and_selectors_stay() -> None:
    objects = render({**NEEDED, **BEFORE})
    for plane in PLANES:
        # Selectors of a Deployment cannot change.
        assert objects[f"Deployment/demo-headgate-{plane}"]["spec"]["selector"]["matchLabels"] == {
            "app.kubernetes.io/name": "headgate",
            "app.kubernetes.io/instance": "demo",
            "app.kubernetes.io/component": plane,
        }
        assert objects[f"ServiceAccount/demo-headgate-{plane}"]["metadata"]["annotations"] == {"iam": "role"}
    assert container(objects, "controlplane")["image"] == "registry.example.org/headgate-controlplane:0.1.0"
    assert variable(objects, "controlplane", "LOG_LEVEL") == "debug"
    assert ports(objects, "dataplane")["http"]["port"] == 8080


def test_an_upgrade_that_keeps_the_old_defaults_says_what_to_do() -> None:
    missing: dict[str, Any] = dict.fromkeys(("ipFamily", "image", "monitoring", "networkPolicy"))
    missing["dataplane"] = dict.fromkeys(("upstreamTls", "tls", "pdb", "probes", "http"))
    for _ in range(3):
        with pytest.raises(helm.HelmError, match="use --reset-then-reuse-values"):
            render({**NEEDED, **missing})
