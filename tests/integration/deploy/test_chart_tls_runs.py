"""The chart's certificates in use: a data plane reaches a control plane with them, and nobody does without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from demo.processes import ControlPlane, DataPlane, Process
from tests.integration.controlplane.conftest import own_etcd, plane, start
from tests.support.chart import NEEDED, Objects, container, pod
from tests.support.chart_upgrades import decoded, release

__all__ = ["own_etcd", "plane", "start"]


def settings(objects: Objects, of: str, folder: Path) -> dict[str, str]:
    """The variables of a plane that name files below /etc/headgate, which are written to `folder`."""
    secrets = {
        each["name"]: each["secret"]["secretName"] for each in pod(objects, of)["volumes"] if "secret" in each
    }
    places = {
        mount["mountPath"]: secrets[mount["name"]]
        for mount in container(objects, of)["volumeMounts"]
        if mount["name"] in secrets
    }
    found: dict[str, str] = {}
    for entry in container(objects, of)["env"]:
        place, _, name = str(entry.get("value")).rpartition("/")
        if place in places:
            path = folder / of / places[place] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(decoded(objects[f"Secret/{places[place]}"])[name])
            found[entry["name"]] = str(path)
    return found


@pytest.fixture
def objects() -> Objects:
    """A release with TLS between the planes."""
    values: dict[str, Any] = {**NEEDED, "grpcTls": {"enabled": True}}
    with release() as installed:
        return installed.upgrade(values)


def test_planes_meet_over_tls(
    objects: Objects, plane: ControlPlane, start: Callable[..., Process], tmp_path: Path
) -> None:
    server = ControlPlane(plane.etcd_url, plane.secrets, settings=settings(objects, "controlplane", tmp_path))
    assert set(server.settings) == {"GRPC_CERT", "GRPC_KEY", "GRPC_CLIENT_CA"}
    start(server)
    own = settings(objects, "dataplane", tmp_path)
    assert set(own) == {"CONTROLPLANE_CA", "CONTROLPLANE_CERT", "CONTROLPLANE_KEY"}
    process = DataPlane(server.grpc, plane.secrets, settings=own).start(tmp_path / "gateway")
    assert process.running
    assert process.stop() == 0

    authority = Path(own["CONTROLPLANE_CA"]).read_bytes()
    with grpc.secure_channel(server.grpc, grpc.ssl_channel_credentials(authority)) as channel:
        health = channel.unary_unary("/grpc.health.v1.Health/Check", bytes, bytes)
        with pytest.raises(grpc.RpcError):
            health(b"", timeout=10)
