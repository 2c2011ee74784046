"""The parts of the demo: etcd, one control plane, two data planes and three service instances."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from demo.ports import free_port
from demo.processes import (
    ROOT,
    ControlPlane,
    DataPlane,
    Etcd,
    Process,
    Secrets,
    StartError,
    answers,
    require_free,
    start,
    wait_until,
)
from demo.running import usable
from demo.service import REGISTERED

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
    """The running demo. It writes only to `folder`."""

    folder: Path
    etcd: Etcd
    controlplane: ControlPlane
    dataplanes: tuple[DataPlane, ...]
    instances: tuple[ServiceInstance, ...]
    cashier_password: str = field(default_factory=lambda: secrets.token_urlsafe(12), repr=False)
    processes: dict[str, Process] = field(default_factory=dict)

    @property
    def gateway(self) -> str:
        return self.dataplanes[0].url.replace("127.0.0.1", "localhost")

    def instance(self, instance_id: str) -> ServiceInstance:
        return next(instance for instance in self.instances if instance.instance_id == instance_id)

    def restart(self, instance_id: str) -> None:
        """Start an instance again, and wait until every data plane finds it healthy."""
        instance = self.instance(instance_id)
        process = instance.start(self.folder / "run", self.controlplane)
        self.processes[instance_id] = process
        # Until then the data planes may not have noticed its absence.
        wait_until(lambda: REGISTERED.format(pid=process.pid) in process.lines(), process)
        for dataplane in self.dataplanes:
            wait_until(all_healthy(self, dataplane), process)

    def configure(self) -> None:
        """Apply examples/demo.yaml, and add a user with the scope for payments and a random password."""
        with self.controlplane.admin() as admin:
            yaml = {"Content-Type": "application/yaml"}
            admin.post("/api/v1/apply", content=CONFIG.read_bytes(), headers=yaml).raise_for_status()
            cashier = {
                "username": CASHIER,
                "password": self.cashier_password,
                "scopes": ["orders:read", "payments:write"],
            }
            admin.post("/api/v1/apply", json={"users": [cashier]}).raise_for_status()

    def facts(self) -> dict[str, str]:
        """The facts for users of the demo."""
        return {
            "gateway": self.gateway,
            "second_gateway": self.dataplanes[1].url,
            "status": self.dataplanes[0].status_url,
            "controlplane": self.controlplane.url,
            "grpc": self.controlplane.grpc,
            "logs": str(self.folder / "run"),
            "admin_username": self.controlplane.secrets.admin_username,
            "admin_password": self.controlplane.secrets.admin_password,
            "service_token": self.controlplane.secrets.service_token,
            "cashier_password": self.cashier_password,
        }

    def write_facts(self) -> None:
        """Write them to demo.json, readable only by its owner."""
        path = self.folder / "demo.json"
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(self.facts(), file, indent=2)


def demo_world(base: int | None = None) -> World:
    """The demo on its documented ports, or on those from `base` on. Raises StartError with all taken ports."""
    ports = demo_ports(base)
    try:
        require_free(ports)
    except StartError as error:
        raise StartError(
            f"{error}\nEnd what holds them, or move the demo: make demo PORT_BASE=18000"
        ) from None
    return make_world(FOLDER, list(ports.values()))


def demo_ports(base: int | None = None) -> dict[str, int]:
    """The port of each process, in the order of `make_world`. With a `base`, all are between it and base + 80."""
    if base is None:
        base, etcd, peers, grpc = 8000, 2379, 2380, 50051
    else:
        etcd, peers, grpc = base + 79, base + 78, base + 51
    return {
        "etcd": etcd,
        "etcd peers": peers,
        "control plane": base + 80,
        "control plane gRPC": grpc,
        "data plane": base,
        "status": base + 1,
        "second data plane": base + 10,
        "its status": base + 11,
    }


def make_world(folder: Path, ports: list[int]) -> World:
    """The demo on these ports, with new secrets."""
    etcd_port, peer_port, admin_port, grpc_port, *traffic = ports
    etcd = Etcd(etcd_port, peer_port)
    # Only the demo opens reads of the admin API, and the metrics on the traffic port.
    controlplane = ControlPlane(
        etcd.url,
        Secrets(),
        admin_port=admin_port,
        grpc_port=grpc_port,
        settings={"ANONYMOUS_READ": "true"},
    )
    dataplanes = tuple(
        DataPlane(
            controlplane.grpc,
            controlplane.secrets,
            f"gateway-{number}",
            port,
            status_port,
            {"EXPOSE_METRICS": "true"},
        )
        for number, (port, status_port) in enumerate(zip(traffic[::2], traffic[1::2], strict=True), 1)
    )
    instances = (
        ServiceInstance("orders", "orders-1"),
        ServiceInstance("orders", "orders-2"),
        ServiceInstance("payments", "payments-1"),
    )
    return World(folder, etcd, controlplane, dataplanes, instances)


@contextlib.contextmanager
def running(world: World) -> Iterator[World]:
    """Start everything, yield it, and end every process in reverse order."""
    folder = world.folder / "run"
    with usable(world.folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        world.folder.chmod(0o700)
    with contextlib.ExitStack() as stack:
        # Stops the processes that are in `processes` at the end, because a test may have restarted some of them.
        stack.callback(stop_all, world)
        world.processes["etcd"] = world.etcd.start(folder)
        world.processes["controlplane"] = world.controlplane.start(folder, wait=False)
        for dataplane in world.dataplanes:
            world.processes[dataplane.name] = dataplane.start(folder, wait=False)
        # Last, and so ended first: while data planes are connected, an instance need not wait for them.
        for instance in world.instances:
            world.processes[instance.instance_id] = instance.start(folder, world.controlplane)
        wait_until(answers(f"{world.controlplane.url}/ready"), world.processes["controlplane"])
        world.write_facts()
        world.configure()
        for dataplane in world.dataplanes:
            wait_until(all_healthy(world, dataplane), world.processes[dataplane.name])
        yield world


def all_healthy(world: World, dataplane: DataPlane) -> Callable[[], bool]:
    """A condition for wait_until: this data plane has found every instance of the world healthy."""
    expected = Counter(instance.service for instance in world.instances)

    def settled() -> bool:
        seen = httpx.get(f"{dataplane.status_url}/health", trust_env=False).json()["services"]
        return all(seen.get(name, {}).get("healthy") == count for name, count in expected.items())

    return settled


def stop_all(world: World) -> None:
    """End every process in reverse order."""
    with contextlib.ExitStack() as stack:
        # Each of them, even if one does not end.
        for process in world.processes.values():
            stack.callback(process.stop)
