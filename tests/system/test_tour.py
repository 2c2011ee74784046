"""The demo's tour comes out as it should, and leaves no process behind."""

from __future__ import annotations

import json

import psutil
import pytest

from demo.ports import free_port
from demo.processes import StartError, require_free
from demo.tour import Tour
from demo.world import World, all_healthy
from tests.support.waiting import eventually_now


def test_every_step_of_the_tour(own_world: World) -> None:
    assert Tour(own_world).walk() == 0
    for dataplane in own_world.dataplanes:
        # What a data plane has measured before may still count as a failure.
        assert eventually_now(all_healthy(own_world, dataplane)), "every service has its instances again"
    assert own_world.processes["orders-1"].running


def test_no_process_is_left(own_world: World) -> None:
    started = [psutil.Process(process.pid) for process in own_world.processes.values()]
    tree = [child for process in started for child in [process, *process.children(recursive=True)]]
    for process in reversed(list(own_world.processes.values())):
        # etcd ends by the signal itself.
        assert process.stop() == (-15 if process.name == "etcd" else 0), f"{process.name}:\n{process.tail()}"
    gone, alive = psutil.wait_procs(tree, timeout=5)
    assert not alive
    assert len(gone) >= 9  # etcd, control plane, two supervisors with a worker each, three services


def test_secrets_are_in_no_log(own_world: World) -> None:
    secrets = own_world.controlplane.secrets
    own_world.controlplane.admin().close()
    for process in own_world.processes.values():
        text = process.log.read_text()
        for secret in (
            secrets.secret_key,
            secrets.dataplane_token,
            secrets.service_token,
            secrets.admin_password,
            own_world.cashier_password,
        ):
            assert secret not in text, process.name
    facts = own_world.folder / "demo.json"
    assert facts.stat().st_mode & 0o777 == 0o600
    assert json.loads(facts.read_text())["service_token"] == secrets.service_token


def test_a_second_demo_says_who_holds_the_ports(own_world: World) -> None:
    etcd, gateway = own_world.etcd.client_port, own_world.dataplanes[0].port
    holder = own_world.processes["etcd"].pid
    with pytest.raises(StartError) as caught:
        require_free({"etcd": etcd, "nobody": free_port(), "data plane": gateway})
    first, second = str(caught.value).splitlines()
    assert first == f"port {etcd} (etcd) is taken by etcd (process {holder})"
    assert second.startswith(f"port {gateway} (data plane) is taken by ")
