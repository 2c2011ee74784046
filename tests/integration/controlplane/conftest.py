"""A real etcd of the test's own, and control planes as processes on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from demo.processes import ControlPlane, Process, Secrets
from tests.support.etcd import Etcd

Start = Callable[..., Process]


@pytest.fixture
def own_etcd(tmp_path: Path) -> Iterator[Etcd]:
    """An etcd that the test may kill."""
    with Etcd(tmp_path / "etcd") as server:
        yield server


@pytest.fixture
def plane(own_etcd: Etcd) -> ControlPlane:
    """How to start a control plane on it."""
    return ControlPlane(own_etcd.url, Secrets())


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a control plane and ends it after the test."""
    running: list[Process] = []

    def begin(plane: ControlPlane, *, wait: bool = True) -> Process:
        running.append(plane.start(tmp_path / "run", wait=wait))
        return running[-1]

    yield begin
    for process in running:
        process.stop()


@pytest.fixture
def client(plane: ControlPlane) -> Iterator[httpx.Client]:
    """Asks the control plane, without credentials."""
    with httpx.Client(base_url=plane.url, timeout=10, trust_env=False) as client:
        yield client


def log_in(client: httpx.Client, plane: ControlPlane) -> None:
    """Give the client an administrator's token."""
    form = {"username": plane.secrets.admin_username, "password": plane.secrets.admin_password}
    tokens = client.post("/api/v1/auth/token", data=form).raise_for_status().json()
    client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
