"""Probes by a real data plane of real instances, and what the router makes of them."""

from __future__ import annotations

import signal
import socket
from collections import Counter
from pathlib import Path
from typing import Any

from headgate_api.v1 import config_pb2
from tests.support import wire
from tests.support.data_plane import DataPlane
from tests.support.fake_controlplane import FakeControlPlane
from tests.support.instance import Instance
from tests.support.waiting import eventually

QUICK = {"check_interval": 0.1, "check_timeout": 5, "healthy_threshold": 2, "unhealthy_threshold": 2}


def snapshot(
    *instances: Instance, revision: int = 5, draining: str = "", **check: Any
) -> config_pb2.Snapshot:
    """Service and route "orders" over these instances."""
    return wire.snapshot(
        wire.service("orders", **{**QUICK, **check}),
        wire.route("orders", "orders"),
        *(
            wire.instance("orders", one.name, one.port, revision=revision, draining=one.name == draining)
            for one in instances
        ),
        revision=revision,
    )


async def served_by(node: DataPlane, requests: int = 20) -> Counter[str]:
    """Who answers, or what is said instead."""
    found: Counter[str] = Counter()
    for _ in range(requests):
        answer = await node.get("/orders")
        found[answer.text if answer.status_code == 200 else answer.json()["detail"]] += 1
    return found


async def reached(node: DataPlane, expected: dict[str, int]) -> None:
    """Wait until these answer. A worker may learn of a verdict after the control plane."""

    async def answered() -> bool:
        return await served_by(node) == expected

    await eventually(answered)


async def test_an_instance_that_fails_leaves_the_rotation_and_comes_back(
    tmp_path: Path, controlplane: FakeControlPlane
) -> None:
    async with (
        Instance("one") as one,
        Instance("two") as two,
        DataPlane(tmp_path, controlplane.address) as node,
    ):
        controlplane.publish(snapshot(one, two))
        await node.started()
        assert await served_by(node) == {"one": 10, "two": 10}
        one.healthy = False
        await eventually(lambda: controlplane.latest.statuses() == {"one": "unhealthy", "two": "healthy"})
        await reached(node, {"two": 20})
        one.healthy = True
        await eventually(lambda: controlplane.latest.statuses() == {"one": "healthy", "two": "healthy"})
        await reached(node, {"one": 10, "two": 10})


async def test_when_none_is_healthy_the_client_is_told_so(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    orders.healthy = False
    async with DataPlane(tmp_path, controlplane.address) as node:
        controlplane.publish(snapshot(orders))
        await node.started()
        answer = await node.get("/orders")
        assert (answer.status_code, answer.json()["detail"]) == (503, "No healthy instances available")
        assert "retry-after" in answer.headers
        await eventually(lambda: controlplane.latest.statuses() == {"orders-1": "unhealthy"})
        (health,) = controlplane.latest.health.instances  # type: ignore[union-attr]
        assert (health.reason, health.last_check > 0) == ("answered 503", True)
        orders.healthy = True
        await eventually(lambda: _serves(node))


async def test_a_new_instance_takes_traffic_once_it_answers_its_probe(
    tmp_path: Path, controlplane: FakeControlPlane
) -> None:
    """Also when the service's interval is long: one that is starting is asked again soon."""
    async with (
        Instance("one") as one,
        Instance("two") as two,
        DataPlane(tmp_path, controlplane.address) as node,
    ):
        controlplane.publish(snapshot(one, check_interval=60, unhealthy_threshold=50))
        await node.started()
        two.healthy = False
        controlplane.publish(snapshot(one, two, revision=6, check_interval=60, unhealthy_threshold=50))
        await node.serves(6)
        await eventually(lambda: two.probes >= 2)
        assert await served_by(node) == {"one": 20}
        assert (await _statuses(node)) == {"one": "healthy", "two": "starting"}
        two.healthy = True
        await eventually(lambda: _both_serve(node), within=30)


async def test_an_instance_that_drains_takes_nothing_new(
    tmp_path: Path, controlplane: FakeControlPlane
) -> None:
    async with (
        Instance("one") as one,
        Instance("two") as two,
        DataPlane(tmp_path, controlplane.address) as node,
    ):
        controlplane.publish(snapshot(one, two))
        await node.started()
        await eventually(lambda: controlplane.latest.statuses() == {"one": "healthy", "two": "healthy"})
        controlplane.publish(snapshot(one, two, revision=6, draining="one"))
        await node.serves(6)
        assert await served_by(node) == {"two": 20}
        await eventually(lambda: controlplane.latest.statuses() == {"one": "draining", "two": "healthy"})


async def test_health_is_reported_now_and_then_also_when_nothing_changes(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    controlplane.publish(snapshot(orders))
    async with DataPlane(tmp_path, controlplane.address) as node:
        await node.started()
        await eventually(lambda: controlplane.latest.statuses() == {"orders-1": "healthy"})
        controlplane.latest.health = None
        await eventually(lambda: controlplane.latest.health is not None, within=30)


async def test_a_worker_that_is_replaced_knows_who_is_unhealthy(
    tmp_path: Path, controlplane: FakeControlPlane
) -> None:
    async with (
        Instance("one") as one,
        Instance("two") as two,
        DataPlane(tmp_path, controlplane.address) as node,
    ):
        one.healthy = False
        controlplane.publish(snapshot(one, two))
        await node.started()
        await eventually(lambda: controlplane.latest.statuses() == {"one": "unhealthy", "two": "healthy"})
        node.workers()[0].kill()
        await eventually(lambda: _serves(node))
        assert await served_by(node) == {"two": 20}


async def test_traffic_is_counted_and_reported(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    controlplane.publish(snapshot(orders))
    async with DataPlane(tmp_path, controlplane.address, WORKERS="2") as node:
        await node.started()
        await served_by(node, 10)

        def reported() -> bool:
            stats = controlplane.latest.stats
            found = {one.service_name: one.total_requests for one in stats.circuits} if stats else {}
            return found == {"orders": 10}

        await eventually(reported)


async def test_the_access_log_has_a_line_for_every_request(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    controlplane.publish(snapshot(orders))
    async with DataPlane(tmp_path, controlplane.address) as node:
        await node.started()
        forwarded, refused = await node.get("/orders/1?secret=x"), await node.get("/nothing")
        assert await node.stop() == 0
        lines = {record["request_id"]: record for record in node.log() if "request_id" in record}
        line = lines[forwarded.headers["x-request-id"]]
        assert (line["path"], line["status"], line["decision"], line["revision"]) == (
            "/orders/1",
            200,
            "forwarded",
            5,
        )
        assert (line["route"], line["instance"]) == ("orders", "orders-1")
        line = lines[refused.headers["x-request-id"]]
        assert (line["path"], line["status"], line["decision"]) == ("/nothing", 404, "not_found")
        assert "secret" not in "".join(node.output())


async def test_the_access_log_is_a_file_that_can_be_rotated_and_keeps_secrets(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    file, rotated = tmp_path / "access.log", tmp_path / "access.log.1"
    controlplane.publish(snapshot(orders))
    variables = {"ACCESS_LOG_FILE": str(file), "ACCESS_LOG_FORMAT": "{status} {path}?{query}", "WORKERS": "2"}
    async with DataPlane(tmp_path, controlplane.address, **variables) as node:
        await node.started()
        await node.get("/orders/1?token=s3cret&page=2")
        await eventually(lambda: file.read_text() == "200 /orders/1?token=***&page=2\n")
        file.rename(rotated)
        node.send(signal.SIGUSR1)
        await eventually(file.exists)
        await node.get("/nothing")
        assert await node.stop() == 0
    assert file.read_text() == "404 /nothing?-\n"
    assert rotated.read_text() == "200 /orders/1?token=***&page=2\n"


async def test_without_an_access_log_there_are_no_lines(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    controlplane.publish(snapshot(orders))
    async with DataPlane(tmp_path, controlplane.address, ACCESS_LOG="false") as node:
        await node.started()
        await node.get("/orders/1")
        assert await node.stop() == 0
        assert not [record for record in node.log() if "request_id" in record]


async def test_metrics_are_on_the_traffic_port_only_when_wanted(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    controlplane.publish(snapshot(orders))
    for exposed, status in (("false", 404), ("true", 200)):
        async with DataPlane(tmp_path, controlplane.address, EXPOSE_METRICS=exposed) as node:
            await node.started()
            assert (await node.get("/metrics")).status_code == status
            assert (await node.get("/ready")).status_code == 404
            assert (await node.get("/health")).json()["status"] in ("ok", "degraded")


async def _serves(node: DataPlane) -> bool:
    return (await node.get("/orders")).status_code == 200


async def _both_serve(node: DataPlane) -> bool:
    return set(await served_by(node, 4)) == {"one", "two"}


async def _statuses(node: DataPlane) -> dict[str, str]:
    instances = (await node.status("/debug/config")).json()["services"]["orders"]["instances"]
    return {name: instance["status"] for name, instance in instances.items()}


async def test_instances_that_never_answer_do_not_delay_the_first_probes_of_others(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    """A thousand instances of twenty services. Half of them are black holes, which hold a probe until its time-out."""
    interval = 25.0  # 64 slots for 500 black holes would take 39 s
    with socket.create_server(("127.0.0.1", 0)) as hole:
        services, groups = [f"s{number}" for number in range(20)], range(25)
        controlplane.publish(
            wire.snapshot(
                *(wire.service(name, check_interval=interval, check_timeout=5) for name in services),
                *(wire.instance(name, f"good-{one}", orders.port) for name in services for one in groups),
                *(
                    wire.instance(name, f"hole-{one}", hole.getsockname()[1])
                    for name in services
                    for one in groups
                ),
                revision=5,
            )
        )
        async with DataPlane(tmp_path, controlplane.address) as node:
            node.start()
            await node.serves(5)

            async def all_found() -> bool:
                services = (await node.status("/health")).json()["services"]
                return [one["healthy"] for one in services.values()] == [25] * 20

            await eventually(all_found, within=interval)
