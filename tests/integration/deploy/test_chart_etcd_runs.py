"""The chart's etcd as real processes: three members with TLS, a backup, the loss of all data, and the restore."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from controlplane.store import EtcdSettings, EtcdStore, StoreError
from demo.processes import ControlPlane, Process, Secrets
from tests.integration.controlplane.conftest import log_in
from tests.support.chart import Objects
from tests.support.chart_etcd import MEMBERS, NAME, ChartEtcd, program, running
from tests.support.chart_upgrades import Release, release
from tests.support.waiting import eventually_now

DEMO = Path(__file__).parents[3] / "examples" / "demo.yaml"
YAML = {"Content-Type": "application/yaml"}
VALUES: dict[str, Any] = {"existingSecret": "secrets", "etcd": {"enabled": True}}
SNAPSHOT = "gate-backup-1.db"


@pytest.fixture
def installed() -> Iterator[Release]:
    """A release in a fake cluster."""
    with release() as found:
        yield found


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[ChartEtcd]:
    """Folders and ports for its members."""
    program("etcdctl"), program("etcdutl")
    with running(tmp_path / "etcd") as found:
        yield found


@pytest.fixture
def plane(installed: Release, etcd: ChartEtcd) -> ControlPlane:
    """A control plane as rendered, on the members, which run."""
    objects = installed.upgrade(VALUES)
    etcd.write_secrets(objects)
    etcd.start(objects)
    entries = objects["Deployment/demo-headgate-controlplane"]["spec"]["template"]["spec"]["containers"][0]
    given = {each["name"]: each["value"] for each in entries["env"] if each["name"].startswith("ETCD_")}
    files = etcd.secret(f"{NAME}-client-tls")
    settings = {name: value.replace("/etc/headgate/etcd", str(files)) for name, value in given.items()}
    return ControlPlane(etcd.urls(settings.pop("ETCD_ENDPOINTS")), Secrets(), settings=settings)


@pytest.fixture
def process(plane: ControlPlane, tmp_path: Path) -> Iterator[Process]:
    """It runs."""
    started = plane.start(tmp_path / "run")
    yield started
    started.stop()


def pod(objects: Objects, job: str) -> dict[str, Any]:
    """The pod of a CronJob or Job."""
    spec = objects[job]["spec"]
    found: dict[str, Any] = spec.get("jobTemplate", {"spec": spec})["spec"]["template"]["spec"]
    return found


async def test_etcd_refuses_clients_without_certificate(plane: ControlPlane, process: Process) -> None:
    ca = Path(plane.settings["ETCD_CA"])
    settings = EtcdSettings(endpoints=tuple(plane.etcd_url.split(",")), ca=ca, timeout=2.0)
    store = EtcdStore(settings)
    with pytest.raises(StoreError):
        await store.get("/headgate/v1/")
    await store.close()


@pytest.mark.usefixtures("process")
def test_after_a_restore_the_control_plane_serves_the_configuration_of_the_snapshot(
    plane: ControlPlane, installed: Release, etcd: ChartEtcd, tmp_path: Path
) -> None:
    with httpx.Client(base_url=plane.url, timeout=30, trust_env=False) as client:
        log_in(client, plane)
        client.post("/api/v1/apply", content=DEMO.read_bytes(), headers=YAML).raise_for_status()
        saved = configuration(client)
        back_up(installed, etcd)
        client.post("/api/v1/apply", json={"scopes": [{"name": "late"}]}).raise_for_status()
        lose_everything(etcd, tmp_path)

        objects = installed.upgrade(
            restoring := with_etcd(restore={"snapshot": SNAPSHOT}, dataDir="restored")
        )
        assert objects[f"StatefulSet/{NAME}"]["spec"]["replicas"] == 0
        jobs = [each for each in objects if each.startswith(f"Job/{NAME}-")]
        for number, job in enumerate(sorted(jobs)):
            etcd.run(pod(objects, job), "restore", number)
        assert len(jobs) == MEMBERS
        del restoring["etcd"]["restore"]
        etcd.start(installed.upgrade(restoring))

        eventually_now(lambda: client.get("/api/v1/store").json()["frozen"], within=60)
        client.post("/api/v1/store/confirm").raise_for_status()
        eventually_now(lambda: configuration(client) == saved)


def test_a_restore_may_change_the_number_of_members(installed: Release, etcd: ChartEtcd) -> None:
    alone = with_etcd(replicas=1)
    objects = installed.upgrade(alone)
    etcd.write_secrets(objects)
    etcd.start(objects)
    eventually_now(lambda: etcd.etcdctl(objects, "put", "kept", "yes"), within=120)
    back_up(installed, etcd, alone)
    etcd.kill()

    moved = {"replicas": MEMBERS, "dataDir": "restored"}
    objects = installed.upgrade(with_etcd(restore={"snapshot": SNAPSHOT}, **moved))
    for number, job in enumerate(sorted(each for each in objects if each.startswith(f"Job/{NAME}-"))):
        etcd.run(pod(objects, job), "restore", number)
    objects = installed.upgrade(with_etcd(**moved))
    etcd.start(objects)
    eventually_now(lambda: etcd.etcdctl(objects, "endpoint", "health", "--cluster"), within=120)
    assert etcd.etcdctl(objects, "member", "list").count("started") == MEMBERS
    assert "yes" in etcd.etcdctl(objects, "get", "kept", number=2)


def test_a_member_that_lost_its_volume_is_replaced(installed: Release, etcd: ChartEtcd) -> None:
    objects = installed.upgrade(VALUES)
    etcd.write_secrets(objects)
    etcd.start(objects)
    eventually_now(lambda: etcd.etcdctl(objects, "endpoint", "health", "--cluster"), within=120)
    etcd.kill_member(2)
    etcd.lose_data(2)
    refused = etcd.start_member(objects, 2)
    eventually_now(lambda: not refused.running, within=120)
    assert "has already been bootstrapped" in refused.log.read_text()

    (lost,) = (line for line in etcd.etcdctl(objects, "member", "list").splitlines() if f"{NAME}-2" in line)
    etcd.etcdctl(objects, "member", "remove", lost.partition(",")[0])
    url = f"https://{NAME}-2.{NAME}.prod.svc:2380"
    # etcd refuses it until the others have been connected for five seconds.
    eventually_now(lambda: etcd.etcdctl(objects, "member", "add", f"{NAME}-2", f"--peer-urls={url}"))
    etcd.start_member(installed.upgrade(with_etcd(initialClusterState="existing")), 2)
    eventually_now(lambda: etcd.etcdctl(objects, "endpoint", "health", number=2), within=120)
    assert etcd.etcdctl(objects, "member", "list").count("started") == MEMBERS


def configuration(client: httpx.Client) -> dict[str, Any]:
    """What an operator has written."""
    kinds = ("routes", "scopes", "users", "rate-limits")
    return {kind: client.get(f"/api/v1/config/{kind}").raise_for_status().json() for kind in kinds[:3]}


def back_up(installed: Release, etcd: ChartEtcd, values: dict[str, Any] = VALUES) -> None:
    """Run the two CronJobs once."""
    objects = installed.upgrade(values)
    etcd.run(pod(objects, f"CronJob/{NAME}-defragment"), "defragment")
    job = pod(objects, f"CronJob/{NAME}-backup")
    for container in ("save", "check", "keep-newest"):
        printed = etcd.run(job, container, POD_NAME=SNAPSHOT.removesuffix(".db"))
    assert printed.startswith(f"kept {SNAPSHOT}: ")


def lose_everything(etcd: ChartEtcd, tmp_path: Path) -> None:
    """The members and their data."""
    etcd.kill()
    for folder in (tmp_path / "etcd").glob("data-*/data"):
        folder.rename(folder.with_name("lost"))


def with_etcd(**values: Any) -> dict[str, Any]:
    """The values of the release with these of etcd."""
    return {**VALUES, "etcd": {**VALUES["etcd"], **values}}
