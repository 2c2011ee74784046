"""The demo's tour comes out as it should, and leaves no process behind. One demo for all; the last test ends it."""

from __future__ import annotations

import json

import psutil
import pytest

from demo.ports import free_port
from demo.processes import StartError, require_free
from demo.tour import Tour
from demo.world import World, all_healthy
from tests.support.waiting import eventually_now


def test_every_step_of_the_tour(world: World) -> None:
    assert Tour(world).walk() == 0
    for dataplane in world.dataplanes:
        # What a data plane has measured before may still count as a failure.
        assert eventually_now(all_healthy(world, dataplane)), "every service has its instances again"
    assert world.processes["orders-1"].running


def test_secrets_are_in_no_log(world: World) -> None:
    secrets = world.controlplane.secrets
    world.controlplane.admin().close()
    for process in world.processes.values():
        text = process.log.read_text()
        for secret in (
            secrets.secret_key,
            secrets.dataplane_token,
            secrets.service_token,
            secrets.admin_password,
            world.cashier_password,
        ):
            assert secret not in text, process.name
    facts = world.folder / "demo.json"
    assert facts.stat().st_mode & 0o777 == 0o600
    assert json.loads(facts.read_text())["service_token"] == secrets.service_token


def test_a_second_demo_says_who_holds_the_ports(world: World) -> None:
    etcd, gateway = world.etcd.client_port, world.dataplanes[0].port
    holder = world.processes["etcd"].pid
    with pytest.raises(StartError) as caught:
        require_free({"etcd": etcd, "nobody": free_port(), "data plane": gateway})
    first, second = str(caught.value).splitlines()
    assert first == f"port {etcd} (etcd) is taken by etcd (process {holder})"
    assert second.startswith(f"port {gateway} (data plane) is taken by ")


def test_no_process_is_left(world: World) -> None:
    started = [psutil.Process(process.pid) for process in world.processes.values()]
    tree = [child for process in started for child in [process, *process.children(recursive=True)]]
    for process in reversed(list(world.processes.values())):
        # etcd ends by the signal itself.
        assert process.stop() == (-15 if process.name == "etcd" else 0), f"{process.name}:\n{process.tail()}"
    gone, alive = psutil.wait_procs(tree, timeout=5)
    assert not alive
    assert len(gone) >= 9  # etcd, control plane, two supervisors with a worker each, three services
