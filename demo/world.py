"""What the demo consists of: etcd, one control plane, two data planes and three service instances."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from demo.processes import (
    ROOT,
    ControlPlane,
    DataPlane,
    Etcd,
    Process,
    Secrets,
    answers,
    free_port,
    require_free,
    start,
    wait_until,
)

FOLDER = ROOT / ".headgate"
CONFIG = ROOT / "examples" / "demo.yaml"
CASHIER = "cashier"


@dataclass(frozen=True)
class ServiceInstance:
    """One process of a demo service."""

    service: str
    instance_id: str
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, folder: Path, controlplane: ControlPlane) -> Process:
        argv = [sys.executable, "-m", "demo.service", self.service, self.instance_id, str(self.port)]
        environment = {
            "HEADGATE_CONTROLPLANE": controlplane.grpc,
            "HEADGATE_TOKEN": controlplane.secrets.service_token,
        }
        return start(self.instance_id, argv, environment, folder)


@dataclass
class World:
    """The running demo."""

    controlplane: ControlPlane
    dataplanes: tuple[DataPlane, DataPlane]
    instances: tuple[ServiceInstance, ...]
    cashier_password: str = field(default_factory=lambda: secrets.token_urlsafe(12), repr=False)
    processes: dict[str, Process] = field(default_factory=dict)

    @property
    def gateway(self) -> str:
        return self.dataplanes[0].url.replace("127.0.0.1", "localhost")

    def instance(self, instance_id: str) -> ServiceInstance:
        return next(instance for instance in self.instances if instance.instance_id == instance_id)

    def admin(self) -> httpx.Client:
        """A client of the admin API with an administrator's token."""
        client = httpx.Client(base_url=self.controlplane.url, timeout=10, trust_env=False)
        credentials = self.controlplane.secrets
        form = {"username": credentials.admin_username, "password": credentials.admin_password}
        answer = client.post("/api/v1/auth/token", data=form).raise_for_status()
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return client

    def configure(self) -> None:
        """Apply examples/demo.yaml and add a user who may pay, whose password nobody has seen before."""
        with self.admin() as admin:
            yaml = {"Content-Type": "application/yaml"}
            admin.post("/api/v1/apply", content=CONFIG.read_bytes(), headers=yaml).raise_for_status()
            cashier = {
                "username": CASHIER,
                "password": self.cashier_password,
                "scopes": ["orders:read", "payments:write"],
            }
            admin.post("/api/v1/apply", json={"users": [cashier]}).raise_for_status()

    def write_facts(self) -> None:
        """Leave what a user needs in .headgate/demo.json, readable by its owner alone."""
        facts = {
            "gateway": self.gateway,
            "status": self.dataplanes[0].status_url,
            "controlplane": self.controlplane.url,
            "grpc": self.controlplane.grpc,
            "admin_username": self.controlplane.secrets.admin_username,
            "admin_password": self.controlplane.secrets.admin_password,
        }
        path = FOLDER / "demo.json"
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(facts, file, indent=2)


def make_world() -> World:
    """The demo on its documented ports, with secrets of its own; raises StartError when a port is taken."""
    etcd = Etcd(2379, 2380)
    require_free({"etcd": 2379, "etcd peers": 2380, "control plane": 8080, "control plane gRPC": 50051})
    require_free({"data plane": 8000, "status": 8001, "second data plane": 8010, "its status": 8011})
    controlplane = ControlPlane(
        etcd.url, Secrets(), admin_port=8080, grpc_port=50051, settings={"ANONYMOUS_READ": "true"}
    )
    open_metrics = {"EXPOSE_METRICS": "true"}
    first = DataPlane(controlplane.grpc, controlplane.secrets, "gateway-1", 8000, 8001, open_metrics)
    second = DataPlane(controlplane.grpc, controlplane.secrets, "gateway-2", 8010, 8011, open_metrics)
    instances = (
        ServiceInstance("orders", "orders-1"),
        ServiceInstance("orders", "orders-2"),
        ServiceInstance("payments", "payments-1"),
    )
    return World(controlplane, (first, second), instances)


@contextlib.contextmanager
def running(world: World) -> Iterator[World]:
    """Start everything, give it, and end every process again, last started first."""
    shutil.rmtree(FOLDER / "run", ignore_errors=True)
    folder = FOLDER / "run"
    folder.mkdir(parents=True, mode=0o700)
    FOLDER.chmod(0o700)
    with contextlib.ExitStack() as stack:

        def keep(process: Process) -> Process:
            world.processes[process.name] = process
            stack.callback(process.stop)
            return process

        keep(Etcd(2379, 2380).start(folder))
        controlplane = keep(world.controlplane.start(folder, wait=False))
        for instance in world.instances:
            keep(instance.start(folder, world.controlplane))
        dataplanes = [keep(dataplane.start(folder, wait=False)) for dataplane in world.dataplanes]
        wait_until(answers(f"{world.controlplane.url}/ready"), controlplane)
        world.write_facts()
        world.configure()
        for dataplane, process in zip(world.dataplanes, dataplanes, strict=True):
            wait_until(answers(f"{dataplane.status_url}/ready"), process)
        yield world
