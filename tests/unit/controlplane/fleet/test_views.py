"""What is said of the fleet when its data planes do not all say the same."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

import pytest

from controlplane.fleet import views
from controlplane.fleet.reports import (
    CircuitReport,
    CircuitState,
    InstanceHealth,
    InstanceStatus,
)
from controlplane.fleet.verdicts import Verdicts
from controlplane.model.resources import Circuit, Instance, Resource, Service
from controlplane.model.snapshot import EMPTY, Snapshot
from controlplane.model.stored import Stamped

HEALTHY, UNHEALTHY = InstanceStatus.HEALTHY, InstanceStatus.UNHEALTHY
STARTING, DRAINING = InstanceStatus.STARTING, InstanceStatus.DRAINING


def snapshot(*resources: Resource) -> Snapshot:
    stamped = {(resource.KIND, resource.name): Stamped(resource, 1) for resource in resources}
    return Snapshot(1, MappingProxyType(stamped))


def instance(instance_id: str, draining: bool = False) -> Instance:
    return Instance(
        service_name="orders", instance_id=instance_id, host="127.0.0.1", port=9001, draining=draining
    )


def verdicts(statuses: Iterable[InstanceStatus]) -> views.Votes:
    """Each said by another data plane."""
    return heard(
        *(InstanceHealth("orders", "a", status, last_check=at) for at, status in enumerate(statuses, 1))
    )


def heard(*reports: InstanceHealth) -> views.Votes:
    votes = Verdicts()
    for slot, report in enumerate(reports):
        votes.say(slot, [report])
    return [(votes.found, (1 << len(reports)) - 1)]


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ([], STARTING),
        ([STARTING, STARTING], STARTING),
        ([STARTING, HEALTHY], HEALTHY),
        ([STARTING, UNHEALTHY], UNHEALTHY),
        ([HEALTHY, HEALTHY, UNHEALTHY], HEALTHY),
        ([HEALTHY, UNHEALTHY, UNHEALTHY], UNHEALTHY),
        ([HEALTHY, UNHEALTHY], UNHEALTHY),
        # A data plane that has not heard of the draining flag yet, or no more.
        ([DRAINING, HEALTHY], HEALTHY),
    ],
)
def test_status_is_the_majority_of_verdicts(said: list[InstanceStatus], status: InstanceStatus) -> None:
    assert views.instance_view(instance("a"), verdicts(said)).status is status


def test_draining_outranks_every_verdict() -> None:
    assert views.instance_view(instance("a", draining=True), verdicts([HEALTHY])).status is DRAINING


def test_last_check_is_the_newest_of_any_data_plane() -> None:
    assert views.instance_view(instance("a"), verdicts([HEALTHY, HEALTHY])).last_check == 2
    assert views.instance_view(instance("a"), []).last_check == 0


def test_the_reason_is_the_newest_failure_and_only_while_there_is_one() -> None:
    failed = InstanceHealth("orders", "a", UNHEALTHY, 5, "refused")
    older = InstanceHealth("orders", "a", UNHEALTHY, 4, "timed out")
    well = InstanceHealth("orders", "a", HEALTHY, 6)
    assert views.instance_view(instance("a"), heard(older, failed)).reason == "refused"
    assert views.instance_view(instance("a"), heard(failed, well, well)).reason == ""


def test_services_with_their_instances_sorted_and_counted() -> None:
    config = snapshot(
        Service(service_name="payments"), Service(service_name="orders"), instance("b"), instance("a")
    )
    reports = InstanceHealth("orders", "a", HEALTHY), InstanceHealth("orders", "gone", HEALTHY)
    orders, payments = views.services(config, heard(*reports))
    assert [view.instance.instance_id for view in orders.instances] == ["a", "b"]
    assert [view.status for view in orders.instances] == [HEALTHY, STARTING]
    assert (orders.healthy, orders.total) == (1, 2)
    assert (payments.instances, payments.healthy, payments.total) == ((), 0, 0)


def circuit(state: str, at: float = 0, reason: str = "", failed: int = 0) -> CircuitReport:
    return CircuitReport("orders", CircuitState(state), at, 10, failed, 1, failed, reason)


@pytest.mark.parametrize(
    ("states", "worst"),
    [
        (["closed", "closed"], "closed"),
        (["closed", "half_open"], "half_open"),
        (["half_open", "open", "closed"], "open"),
        ([], "closed"),
    ],
)
def test_the_worst_state_is_the_fleets(states: list[str], worst: str) -> None:
    reports = {f"gw-{number}": circuit(state) for number, state in enumerate(states)}
    (view,) = views.circuits(snapshot(Service(service_name="orders")), lambda _: reports)
    assert view.circuit.state == worst
    assert set(view.dataplanes) == set(reports)


def test_counters_add_up_and_the_story_is_that_of_the_worst() -> None:
    config = snapshot(Service(service_name="orders", circuit=Circuit(failure_threshold=3)))
    reports = {
        "gw-1": circuit("open", at=50, reason="Circuit opened after 3 failures", failed=3),
        "gw-2": circuit("closed", at=90, reason="Circuit closed", failed=1),
    }
    (view,) = views.circuits(config, lambda _: reports)
    fleet = view.circuit
    assert (fleet.total_requests, fleet.failed_requests, fleet.rejected_requests) == (20, 4, 2)
    assert (fleet.last_state_change, fleet.reason) == (50, "Circuit opened after 3 failures")
    assert view.config.failure_threshold == 3
    assert view.dataplanes["gw-2"].state == "closed"


def test_reports_on_services_that_are_gone_are_left_out() -> None:
    assert views.circuits(EMPTY, lambda _: {"gw-1": circuit("open")}) == ()
