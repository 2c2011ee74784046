"""A whole gateway on the certificates that `headgate certs init` makes, with the settings that it prints."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

import headgate
from controlplane.model.stored import key_of
from demo.ports import free_port
from demo.processes import ControlPlane, DataPlane, Etcd, Process, Secrets, answers, start, wait_until
from headgate import Forbidden, HeadgateError
from tests.support.etcd import base64_of
from tests.support.waiting import eventually_now

NO_TOKENS = {"DATAPLANE_TOKEN": "", "SERVICE_TOKEN": ""}
ROUTE = {"routes": [{"name": "orders", "prefix": "/orders", "service_name": "orders", "public": True}]}


def certs(*arguments: str) -> str:
    """Run `headgate certs`; what it prints."""
    argv = [sys.executable, "-m", "headgate.cli", "certs", *arguments]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def settings_in(text: str) -> Mapping[str, str]:
    """The settings among the lines."""
    pairs = (line.strip().partition("=") for line in text.splitlines())
    return {name: value for name, equals, value in pairs if equals}


@dataclass
class Gateway:
    """One process of each kind."""

    folder: Path
    settings: Mapping[str, str]
    controlplane: ControlPlane
    dataplane: DataPlane
    processes: dict[str, Process] = field(default_factory=dict)

    def start(self, etcd: Etcd) -> None:
        run = self.folder / "run"
        self.processes["etcd"] = etcd.start(run)
        self.processes["controlplane"] = self.controlplane.start(run)
        self.processes["orders-1"] = self._start_service()
        with self.controlplane.admin() as admin:
            eventually_now(lambda: admin.post("/api/v1/apply", json=ROUTE).status_code == 200)
        self.processes["dataplane"] = self.dataplane.start(run)
        eventually_now(lambda: self.get().status_code == 200)

    def get(self) -> httpx.Response:
        return httpx.get(f"{self.dataplane.url}/orders/1", timeout=5, trust_env=False)

    def applied(self) -> int:
        """The revision that the data plane serves."""
        answer = httpx.get(f"{self.dataplane.status_url}/debug/config", timeout=5, trust_env=False)
        return int(answer.json()["revision"])

    def registration(self, name: str) -> dict[str, Any]:
        """What etcd holds of an instance."""
        (found,) = self.etcd("kv/range", key=base64_of(key_of("instance", name)))["kvs"]
        return dict(found)

    def etcd(self, path: str, **body: str) -> dict[str, Any]:
        """Ask etcd itself."""
        url = f"{self.controlplane.etcd_url}/v3/{path}"
        return dict(httpx.post(url, json=body, timeout=5, trust_env=False).raise_for_status().json())

    def _start_service(self) -> Process:
        port = free_port()
        # The control plane is restarted here, which may take a busy machine longer than the usual 15 seconds.
        argv = [sys.executable, "-m", "demo.service", "orders", "orders-1", str(port), "60"]
        environment = {"HEADGATE_CONTROLPLANE": self.controlplane.grpc, **self.settings}
        process = start("orders-1", argv, environment, self.folder / "run")
        wait_until(answers(f"http://127.0.0.1:{port}/health"), process)
        return process


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for both tests: the second one leaves it with other certificates."""
    tmp_path = tmp_path_factory.mktemp("gateway")
    settings = settings_in(certs("init", "--out", str(tmp_path / "certs")))
    etcd, run_settings = Etcd(), {**NO_TOKENS, **settings}
    controlplane = ControlPlane(etcd.url, Secrets(), settings=run_settings)
    dataplane = DataPlane(
        controlplane.grpc, Secrets(), settings={**run_settings, "RATE_LIMIT_PER_SECOND": "0"}
    )
    made = Gateway(tmp_path, settings, controlplane, dataplane)
    try:
        made.start(etcd)
        yield made
    finally:
        for process in reversed(made.processes.values()):
            process.stop()


class Traffic:
    """Requests, one after the other, from a thread of their own; `failures` are those not answered 200."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0
        self.failures: list[str] = []

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def get(self) -> httpx.Response:
        """One of the requests."""
        return self._gateway.get()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                answer = self.get()
            except httpx.HTTPError as error:
                self.failures.append(repr(error))
            else:
                self.sent += 1
                if answer.status_code != 200:
                    self.failures.append(answer.text)


def test_certificates_are_all_that_is_needed(gateway: Gateway) -> None:
    assert gateway.get().json()["instance"] == "orders-1"
    # Who has no certificate is not even let in, and who has another's may do no more than that one.
    folder = gateway.folder / "certs"

    async def register(stem: str, service: str = "orders") -> None:
        async with headgate.register(
            service,
            port=9,
            controlplane=gateway.controlplane.grpc,
            ca=folder / "ca.pem",
            cert=folder / f"{stem}.pem" if stem else None,
            key=folder / f"{stem}.key" if stem else None,
            deadline=1,
            handle_sigterm=False,
        ):
            pass

    with pytest.raises(HeadgateError, match="does not answer"):
        asyncio.run(register(""))
    with pytest.raises(Forbidden, match="Not enough permissions"):
        asyncio.run(register("dataplane"))
    certs("issue", "service", "payments", "--dir", str(folder))
    with pytest.raises(Forbidden, match="is for service 'payments', not for 'orders'"):
        asyncio.run(register("service-payments"))
    asyncio.run(register("service"))


def test_everything_is_renewed_under_load(gateway: Gateway) -> None:
    folder, successor = gateway.folder / "certs", gateway.folder / "successor"
    certs("init", "--out", str(successor))
    old, new = (folder / "ca.pem").read_bytes(), (successor / "ca.pem").read_bytes()
    steps = itertools.count(1)
    traffic = Traffic(gateway)

    def change() -> int:
        """A change arrives at the data plane, and requests are answered after it; its revision."""
        scope = {"scopes": [{"name": f"step:{next(steps)}"}]}
        with gateway.controlplane.admin() as admin:
            revision = int(admin.post("/api/v1/apply", json=scope).raise_for_status().json()["revision"])
        eventually_now(lambda: gateway.applied() >= revision)
        before = traffic.sent
        # The first may have been under way; the second was sent at this revision.
        eventually_now(lambda: traffic.sent >= before + 2)
        return revision

    def replace_all() -> None:
        for stem in ("controlplane", "dataplane", "service"):
            for kind in ("key", "pem"):
                (folder / f"{stem}.{kind}").write_bytes((successor / f"{stem}.{kind}").read_bytes())

    def log(name: str) -> str:
        return (gateway.folder / "run" / f"{name}.log").read_text()

    with traffic:
        (folder / "ca.pem").write_bytes(old + new)
        change()
        replace_all()
        change()
        (folder / "ca.pem").write_bytes(new)
        change()
        # Nobody was restarted, and no stream was dropped.
        assert log("dataplane").count("config stream open to control plane") == 1
        # Who connects now believes the new authority only.
        assert asyncio.run(_services(gateway, successor)) == ["orders"]
        with pytest.raises(HeadgateError):
            (gateway.folder / "old.pem").write_bytes(old)
            asyncio.run(_services(gateway, successor, ca=gateway.folder / "old.pem"))
        # Now everybody has to connect anew.
        gateway.processes["controlplane"].stop()
        gateway.processes["controlplane"] = gateway.controlplane.start(gateway.folder / "run")
        change()
        assert log("dataplane").count("config stream open to control plane") == 2
        assert asyncio.run(_services(gateway, successor)) == ["orders"]
    assert traffic.failures == []
    # The service, which was never restarted either, notices that its lease has ended, and registers again.
    lost = gateway.registration("orders/orders-1")
    gateway.etcd("lease/revoke", ID=lost["lease"])
    found = eventually_now(lambda: gateway.registration("orders/orders-1"))
    assert found["lease"] != lost["lease"]
    eventually_now(lambda: gateway.applied() >= int(found["mod_revision"]))
    assert gateway.get().json()["instance"] == "orders-1"


def _connect(gateway: Gateway, folder: Path, ca: Path | None = None) -> headgate.Gateway:
    return headgate.connect(
        gateway.controlplane.grpc,
        ca=ca or folder / "ca.pem",
        cert=folder / "service.pem",
        key=folder / "service.key",
        timeout=3,
    )


async def _services(gateway: Gateway, folder: Path, ca: Path | None = None) -> list[str]:
    async with _connect(gateway, folder, ca) as connection:
        found = await connection.registry.get_services()
        return [service.service_name for service in found if service.service_name != "controlplane"]
