"""A fleet with one limit: etcd, two control planes, ten data planes, and a service whose log says what reached it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from demo.ports import free_port
from demo.processes import (
    ControlPlane,
    DataPlane,
    Etcd,
    Process,
    Secrets,
    answers,
    start,
    wait_until,
)
from tests.benchmarks.contenders import find, write_configuration
from tests.benchmarks.machine import OTHER_CPUS, PROXY_CPUS, pin
from tests.benchmarks.stack import as_shipped

DATAPLANES = 10
RATE, BURST = 300.0, 300
"""Of the limit; what the simulation of the leases has (tests/unit/headgate_api/test_simulation.py)."""


@dataclass
class Fleet:
    """What runs, and how to reach it."""

    ports: list[int]
    """Of the data planes' traffic."""
    log: Path
    """Of the service."""
    admin: httpx.Client

    def limit(self, name: str) -> str:
        """A path, new and served by all data planes, whose requests share the one bucket of a limit of the fleet."""
        limit = {"name": name, "per_second": RATE, "burst": BURST, "key": "route", "mode": "fleet"}
        route = {
            "name": name,
            "prefix": f"/{name}",
            "service_name": "orders",
            "public": True,
            "rate_limits": [name],
        }
        document = {"rate_limits": [limit], "routes": [route]}
        self.admin.post("/api/v1/apply?wait=60", json=document, timeout=90).raise_for_status()
        return f"/{name}"

    def lines(self) -> list[str]:
        """What the service has logged."""
        return self.log.read_text().splitlines()


@contextlib.contextmanager
def running(folder: Path, count: int = DATAPLANES) -> Iterator[Fleet]:
    """Start everything. Each process may run on every CPU."""
    with contextlib.ExitStack() as cleanup:

        def kept(process: Process) -> Process:
            cleanup.callback(process.kill)
            pin(process.pid, PROXY_CPUS | OTHER_CPUS)
            return process

        folder.mkdir(parents=True)
        folder.chmod(0o755)
        service, port = start_service(folder)
        kept(service)
        etcd, secrets = Etcd(), Secrets()
        kept(etcd.start(folder))
        controlplanes = [ControlPlane(etcd.url, secrets, f"controlplane-{name}") for name in ("a", "b")]
        for controlplane in controlplanes:
            kept(controlplane.start(folder))
        planes = dataplanes(controlplanes, count)
        started = [kept(plane.start(folder, wait=False)) for plane in planes]
        for plane, process in zip(planes, started, strict=True):
            wait_until(answers(f"{plane.status_url}/ready"), process)
        admin = cleanup.enter_context(controlplanes[0].admin())
        instance = {"instance_id": "orders-0", "host": "127.0.0.1", "port": port}
        orders = {"service_name": "orders", "check_path": "/", "instances": [instance]}
        admin.post("/api/v1/apply?wait=60", json={"services": [orders]}, timeout=90).raise_for_status()
        yield Fleet([plane.port for plane in planes], folder / "admitted.log", admin)


def start_service(folder: Path) -> tuple[Process, int]:
    """nginx that logs what reaches it."""
    port = free_port()
    path = write_configuration("logged.conf", folder, {"PORT": port})
    process = start("service", [find("nginx") or "nginx", "-p", str(folder), "-c", str(path)], {}, folder)
    wait_until(answers(f"http://127.0.0.1:{port}/"), process)
    return process, port


def dataplanes(controlplanes: list[ControlPlane], count: int) -> list[DataPlane]:
    """So many. Each connects to the control plane that comes first in its own order."""
    addresses = ",".join(one.grpc for one in controlplanes)
    settings = {"RATE_LIMIT_PER_SECOND": "0", **as_shipped()}
    secrets = controlplanes[0].secrets
    return [DataPlane(addresses, secrets, f"node-{number}", settings=settings) for number in range(count)]
