"""The demo's tour comes out as it should, and leaves no process behind."""

from __future__ import annotations

import psutil

from demo.tour import Tour
from demo.world import World, running


def test_every_step_of_the_tour(own_world: World) -> None:
    assert Tour(own_world).walk() == 0


def test_no_process_is_left(own_world: World) -> None:
    started = [psutil.Process(process.pid) for process in own_world.processes.values()]
    tree = [child for process in started for child in [process, *process.children(recursive=True)]]
    for process in reversed(list(own_world.processes.values())):
        assert process.stop() == 0, f"{process.name}:\n{process.tail()}"
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


def test_a_second_demo_says_which_port_is_taken(own_world: World) -> None:
    clash = World(
        own_world.folder / "second",
        own_world.etcd,
        own_world.controlplane,
        own_world.dataplanes,
        own_world.instances,
    )
    clash.folder.mkdir()
    try:
        with running(clash):
            raise AssertionError("started on taken ports")
    except Exception as error:
        assert "etcd ended with code" in str(error)
