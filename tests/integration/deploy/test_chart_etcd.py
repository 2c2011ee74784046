"""The etcd of the chart as rendered: members, their certificates, who may connect, jobs and restores."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.support.chart import CHART, NEEDED, Objects, environment, helm, pod, problems, render
from tests.support.chart_upgrades import Release, decoded, release

NAME = "demo-headgate-etcd"
MEMBERS = [f"{NAME}-{number}.{NAME}.prod.svc" for number in range(3)]


@pytest.fixture
def installed() -> Iterator[Release]:
    """A release in a fake cluster."""
    with release() as found:
        yield found


def plain(**etcd: Any) -> dict[str, Any]:
    """Values of an etcd without TLS, which need no cluster."""
    return {**NEEDED, "etcd": {"enabled": True, "tls": {"enabled": False}, **etcd}}


def command(objects: Objects) -> list[str]:
    """The command of the members."""
    (found,) = objects[f"StatefulSet/{NAME}"]["spec"]["template"]["spec"]["containers"]
    argv: list[str] = found["command"]
    return argv


def test_control_planes_use_every_member(installed: Release) -> None:
    objects = installed.upgrade({**NEEDED, "etcd": {"enabled": True}})
    found = environment(objects, "controlplane")
    assert found["ETCD_ENDPOINTS"]["value"].split(",") == [f"https://{member}:2379" for member in MEMBERS]
    assert {"ETCD_CA", "ETCD_CERT", "ETCD_KEY"} <= found.keys()
    (volume,) = (each for each in pod(objects, "controlplane")["volumes"] if each["name"] == "etcd-tls")
    assert volume["secret"]["secretName"] == f"{NAME}-client-tls"
    assert not list(problems(objects))


def test_members_have_certificates_for_their_names_of_an_authority_of_their_own(installed: Release) -> None:
    objects = installed.upgrade({**NEEDED, "etcd": {"enabled": True}, "grpcTls": {"enabled": True}})
    server, client = decoded(objects[f"Secret/{NAME}-tls"]), decoded(objects[f"Secret/{NAME}-client-tls"])
    names = x509.load_pem_x509_certificate(server["tls.crt"]).extensions
    dns = names.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    assert {*MEMBERS, f"{NAME}-client.prod.svc"} <= set(dns)
    assert server["ca.crt"] == client["ca.crt"]
    # A data plane's certificate must not open etcd.
    assert server["ca.crt"] != decoded(objects["Secret/demo-headgate-dataplane-tls"])["ca.crt"]
    assert {"--client-cert-auth=true", "--peer-client-cert-auth=true"} <= set(command(objects))


def test_members_listen_on_the_addresses_that_pods_have() -> None:
    for family, host in (("IPv4", "0.0.0.0"), ("IPv6", "[::]")):
        listening = [each for each in command(render({**plain(), "ipFamily": family})) if "--listen" in each]
        assert len(listening) == 3
        assert all(f"://{host}:" in each for each in listening)


def test_the_number_of_members_stays_except_for_a_restore(installed: Release) -> None:
    installed.upgrade(plain())
    with pytest.raises(helm.HelmError, match=r"has 3 members.*restore a snapshot"):
        installed.upgrade(plain(replicas=5))
    installed.upgrade(plain())
    restored = {"dataDir": "restored", "replicas": 5}
    assert len(installed.upgrade(plain(restore={"snapshot": "a.db"}, **restored))) > 0
    assert installed.upgrade(plain(**restored))[f"StatefulSet/{NAME}"]["spec"]["replicas"] == 5


def test_members_are_kept_apart_and_their_majority_is_protected() -> None:
    objects = render(plain())
    spec = objects[f"StatefulSet/{NAME}"]["spec"]
    assert (spec["replicas"], spec["podManagementPolicy"]) == (3, "Parallel")
    affinity = spec["template"]["spec"]["affinity"]["podAntiAffinity"]
    assert "preferredDuringSchedulingIgnoredDuringExecution" in affinity
    required = render(plain(antiAffinity="required"))[f"StatefulSet/{NAME}"]["spec"]["template"]["spec"]
    (term,) = required["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["labelSelector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert objects[f"PodDisruptionBudget/{NAME}"]["spec"]["maxUnavailable"] == 1
    headless = objects[f"Service/{NAME}"]["spec"]
    assert (headless["clusterIP"], headless["publishNotReadyAddresses"]) == ("None", True)
    assert not list(problems(objects))
    assert not list(problems(render(plain(antiAffinity="required", replicas=5))))


def test_no_pod_of_etcd_has_a_token_or_rights() -> None:
    for document in render(plain()).values():
        if document["kind"] in ("StatefulSet", "CronJob"):
            spec = document["spec"].get("jobTemplate", document)["spec"]["template"]["spec"]
            assert spec["automountServiceAccountToken"] is False
            assert spec["securityContext"]["runAsNonRoot"] is True
            for each in itertools.chain(spec.get("initContainers", []), spec["containers"]):
                assert each["securityContext"]["readOnlyRootFilesystem"] is True
                assert "sh" not in each["command"]


def test_only_control_planes_members_and_jobs_can_connect() -> None:
    objects = render(plain())
    rules = objects[f"NetworkPolicy/{NAME}"]["spec"]["ingress"]
    clients = [each["podSelector"]["matchLabels"] for each in rules[0]["from"]]
    assert rules[0]["ports"] == [{"port": 2379}]

    def admitted(labels: dict[str, str]) -> bool:
        return any(each.items() <= labels.items() for each in clients)

    for plane, may in (("controlplane", True), ("dataplane", False)):
        labels = objects[f"Deployment/demo-headgate-{plane}"]["spec"]["template"]["metadata"]["labels"]
        assert admitted(labels) is may
    for job in ("backup", "defragment"):
        template = objects[f"CronJob/{NAME}-{job}"]["spec"]["jobTemplate"]["spec"]["template"]
        assert admitted(template["metadata"]["labels"])
    assert f"NetworkPolicy/{NAME}" not in render(plain(networkPolicy={"enabled": False}))


def test_pods_of_etcd_and_its_jobs_have_labels_and_annotations_of_ones_own(installed: Release) -> None:
    # As a mesh reads them: a Job does not complete beside a container that does not end.
    mesh = {"podLabels": {"inject": "no"}, "podAnnotations": {"note": "1"}}
    restoring = {"restore": {"snapshot": "a.db"}, "dataDir": "restored"}
    values = {"etcd": {"enabled": True, **mesh, **restoring}, "certificates": {"renewal": mesh}}
    objects = installed.upgrade({**NEEDED, **values})
    found = [one for key, one in objects.items() if key.startswith(("StatefulSet/", "CronJob/", "Job/"))]
    assert len(found) == 1 + 3 + 3
    for one in found:
        metadata = one["spec"].get("jobTemplate", one)["spec"]["template"]["metadata"]
        assert (metadata["labels"]["inject"], metadata["annotations"]["note"]) == ("no", "1")
    assert not list(problems(objects))


def test_prometheus_scrapes_the_members_once() -> None:
    def annotated(objects: Objects) -> bool:
        metadata = objects[f"StatefulSet/{NAME}"]["spec"]["template"]["metadata"]
        return "prometheus.io/scrape" in metadata.get("annotations", {})

    assert annotated(render(plain()))
    objects = render({**plain(), "monitoring": {"podMonitor": {"enabled": True}}})
    assert not annotated(objects)
    (endpoint,) = objects[f"PodMonitor/{NAME}"]["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["scheme"]) == ("metrics", "http")


def test_backups_go_to_any_volume() -> None:
    objects = render(plain())
    assert objects[f"PersistentVolumeClaim/{NAME}-backups"]["metadata"]["annotations"] == {
        "helm.sh/resource-policy": "keep"
    }
    share = {"nfs": {"server": "nas", "path": "/headgate"}}
    objects = render(plain(backup={"volume": share}))
    assert f"PersistentVolumeClaim/{NAME}-backups" not in objects
    spec = objects[f"CronJob/{NAME}-backup"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert {"name": "backups", **share} in spec["volumes"]
    assert not list(problems(objects))


def test_a_restore_stops_the_members_and_fills_a_new_folder(installed: Release) -> None:
    before = installed.upgrade(plain())
    restoring = plain(restore={"snapshot": "a.db"}, dataDir="restored")
    claim = {"kind": "PersistentVolumeClaim", "metadata": {"name": f"data-{NAME}-1"}}
    installed.cluster.put(claim)
    objects = installed.upgrade(restoring)
    assert objects[f"StatefulSet/{NAME}"]["spec"]["replicas"] == 0
    claims = {each for each in objects if each.startswith("PersistentVolumeClaim/data-")}
    assert claims == {f"PersistentVolumeClaim/data-{NAME}-{number}" for number in (0, 2)}
    (job,) = (each for name, each in objects.items() if name.startswith(f"Job/{NAME}-1-"))
    (found,) = job["spec"]["template"]["spec"]["containers"]
    assert found["command"][:4] == ["etcdutl", "snapshot", "restore", "/backups/a.db"]
    assert "--data-dir=/var/lib/etcd/restored" in found["command"]
    # Another token, hence another cluster: clients notice that it is not the former one.
    token = [each for each in found["command"] if each.startswith("--initial-cluster-token=")]
    after = installed.upgrade(plain(dataDir="restored"))
    assert set(token) <= set(command(after))
    assert not set(token) & set(command(before))
    assert not list(problems(objects))


def test_a_lost_member_is_replaced_without_a_restart_of_the_others() -> None:
    objects = [render(plain(initialClusterState=state)) for state in ("new", "existing")]
    assert objects[0][f"StatefulSet/{NAME}"] == objects[1][f"StatefulSet/{NAME}"]
    states = [each[f"ConfigMap/{NAME}"]["data"]["initial-cluster-state"] for each in objects]
    assert states == ["new", "existing"]


def test_names_stay_within_the_limits_of_kubernetes() -> None:
    objects = render({**plain(), "fullnameOverride": "x" * 50})
    for key in objects:
        kind, _, name = key.partition("/")
        assert len(name) <= {"CronJob": 52, "StatefulSet": 52}.get(kind, 63)
    assert not list(problems(objects))


def test_an_etcd_of_ones_own_may_ask_for_a_login() -> None:
    found = environment(render({**NEEDED, "etcd": {"authSecret": "etcd-login"}}), "controlplane")
    for name in ("ETCD_USERNAME", "ETCD_PASSWORD"):
        assert found[name]["valueFrom"]["secretKeyRef"] == {"name": "etcd-login", "key": name}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (plain(restore={"snapshot": "a.db"}), "needs a new folder"),
        (plain(restore={"snapshot": "a.db"}, dataDir="b", backup={"enabled": False}), "needs the volume"),
        ({**NEEDED, "etcd": {"restore": {"snapshot": "a.db"}, "dataDir": "b"}}, "needs etcd.enabled"),
        (plain(tls={"serverSecret": "a"}), "need each other"),
        (plain(replicas=2), "replicas"),
        (plain(dataDir="../x"), "dataDir"),
    ],
    ids=["the present folder", "no volume", "no etcd", "one Secret", "two members", "another folder"],
)
def test_what_cannot_work_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(helm.HelmError, match=message):
        render(values)


def test_the_newest_snapshots_are_kept(tmp_path: Path) -> None:
    for age, name in enumerate(["new.db", "middle.db", "old.db"]):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    (tmp_path / "other.txt").touch()
    (tmp_path / "broken.db.part").touch()
    script = CHART / "files" / "keep_newest.py"
    subprocess.run([sys.executable, "-I", str(script), str(tmp_path), "2"], check=True)
    assert {each.name for each in tmp_path.iterdir()} == {"new.db", "middle.db", "other.txt"}
