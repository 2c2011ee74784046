"""The demo's tour comes out as it should, and leaves no process behind."""

from __future__ import annotations

import psutil
import pytest

from demo.ports import free_port
from demo.processes import StartError, require_free
from demo.tour import Tour
from demo.world import World


def test_every_step_of_the_tour(own_world: World) -> None:
    assert Tour(own_world).walk() == 0


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


def test_a_second_demo_says_who_holds_the_port(own_world: World) -> None:
    port = own_world.etcd.client_port
    holder = own_world.processes["etcd"].pid
    with pytest.raises(StartError, match=rf"port {port} \(etcd\) is taken by etcd \(process {holder}\)"):
        require_free({"etcd": port, "nobody": free_port()})
