"""Registrations and resets: held by leases, on the working fake of the store with time handed in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence

import pytest

from controlplane.commands.commands import Commands
from controlplane.commands.errors import NotFound
from controlplane.identity import Hasher
from controlplane.model.config import build
from controlplane.model.problems import InconsistentConfig, InvalidConfig
from controlplane.model.resources import Instance, Service
from controlplane.model.stored import CHANGE, COMMITS, STAGED, encode, key_of
from controlplane.store import Conflict, LeaseGone, MemoryStore, Put, StoreUnavailable, Write


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(clock=lambda: 0.0)


@pytest.fixture
def commands(store: MemoryStore) -> Commands:
    return Commands(store, Hasher(time_cost=1, memory_cost=8, parallelism=1), lambda: 0.0)


ORDERS = Service(service_name="orders", check_interval=1.0)


def instance(instance_id: str = "1", port: int = 9001, service: str = "orders") -> Instance:
    return Instance(service_name=service, instance_id=instance_id, host="127.0.0.1", port=port)


async def instances(store: MemoryStore) -> dict[str, Instance]:
    listing = await store.list("/headgate/v1/")
    return build(listing.entries, listing.revision).of(Instance)


async def test_the_first_instance_brings_its_service(store: MemoryStore, commands: Commands) -> None:
    registration = await commands.register(instance(), ORDERS, 0)
    assert registration.ttl == 15
    assert registration.revision == store.revision
    assert await instances(store) == {"orders/1": instance()}
    service = await commands.get("service", "orders")
    assert service.resource == ORDERS
    # One transaction, and one of configuration: it shows in the change entry.
    change = await store.get(CHANGE)
    assert change is not None
    assert (service.revision, change.revision) == (registration.revision, registration.revision)
    assert json.loads(change.value)["author"] == "service orders"


async def test_an_operator_s_service_is_left_alone(commands: Commands) -> None:
    before = await commands.put("service", {"service_name": "orders", "check_interval": 7}, author="operator")
    await commands.register(instance(), ORDERS, 15)
    assert await commands.get("service", "orders") == before


async def test_an_instance_of_a_known_service_needs_no_definition(
    store: MemoryStore, commands: Commands
) -> None:
    await commands.put("service", {"service_name": "orders"}, author="operator")
    change = await store.get(CHANGE)
    await commands.register(instance(), None, 15)
    assert await store.get(CHANGE) == change, "a registration is no change of configuration"


async def test_an_unknown_service_is_refused(store: MemoryStore, commands: Commands) -> None:
    with pytest.raises(InvalidConfig) as caught:
        await commands.register(instance(), None, 15)
    assert [str(problem) for problem in caught.value.problems] == [
        "service_name: service 'orders' does not exist, and the registration does not declare it"
    ]
    assert (await store.list("/")).entries == ()
    with pytest.raises(LeaseGone):
        await store.keep_alive(1)


@pytest.mark.parametrize("ttl", [-1, 1, 4.9, 300.1, float("inf"), float("nan")])
async def test_a_lease_has_bounds(commands: Commands, ttl: float) -> None:
    with pytest.raises(InvalidConfig, match="must be 5 to 300 seconds, or 0 for 15"):
        await commands.register(instance(), ORDERS, ttl)


async def test_definition_and_instance_must_agree(commands: Commands) -> None:
    with pytest.raises(InvalidConfig) as caught:
        await commands.register(instance(), Service(service_name="payments"), 1)
    assert [problem.field for problem in caught.value.problems] == ["ttl", "service.service_name"]


async def test_an_instance_without_keep_alive_leaves_the_table(
    store: MemoryStore, commands: Commands
) -> None:
    registration = await commands.register(instance(), ORDERS, 10)
    store.advance(9)
    assert await commands.keep_alive(registration.lease) == 10
    store.advance(9)
    assert await instances(store) == {"orders/1": instance()}
    store.advance(2)
    assert await instances(store) == {}
    with pytest.raises(LeaseGone):
        await commands.keep_alive(registration.lease)
    # The service stays: routes may lead to it.
    assert (await commands.get("service", "orders")).resource == ORDERS


async def test_registering_again_takes_the_place_of_the_old_registration(
    store: MemoryStore, commands: Commands
) -> None:
    first = await commands.register(instance(), ORDERS, 10)
    second = await commands.register(instance(port=9002), ORDERS, 10)
    assert await instances(store) == {"orders/1": instance(port=9002)}
    with pytest.raises(LeaseGone):
        await commands.keep_alive(first.lease)
    assert await commands.keep_alive(second.lease) == 10


async def test_instances_that_register_at_the_same_time_are_all_there(
    store: MemoryStore, commands: Commands
) -> None:
    await asyncio.gather(*(commands.register(instance(str(number)), ORDERS, 10) for number in range(4)))
    assert list(await instances(store)) == [f"orders/{number}" for number in range(4)]


async def test_deregistering(store: MemoryStore, commands: Commands) -> None:
    registration = await commands.register(instance(), ORDERS, 10)
    other = await commands.register(instance("10"), ORDERS, 10)
    revision = await commands.deregister("orders", "1")
    assert revision > other.revision
    assert await instances(store) == {"orders/10": instance("10")}
    assert (await commands.keep("orders/1", registration.lease)).removed
    assert await commands.deregister("orders", "1") == store.revision == revision, "gone already is no error"
    assert await commands.deregister("nonsense", "1") == revision


async def test_the_revision_of_an_absence_is_one_at_which_the_instance_is_absent() -> None:
    class Raced(MemoryStore):
        """Another process registers between the look at the store and the answer."""

        armed = False

        async def commit(self, expected: Mapping[str, int], writes: Sequence[Write]) -> int:
            if self.armed and not writes:
                self.armed = False
                await rival.register(instance(), ORDERS, 10)
            return await super().commit(expected, writes)

    store = Raced(clock=lambda: 0.0)
    hasher = Hasher(time_cost=1, memory_cost=8, parallelism=1)
    commands, rival = (Commands(store, hasher, lambda: 0.0) for _ in range(2))
    store.armed = True
    revision = await commands.deregister("orders", "1")
    assert not store.armed
    assert (await instances(store), revision) == ({}, store.revision)


async def test_a_service_with_instances_is_not_deleted(commands: Commands) -> None:
    await commands.register(instance(), ORDERS, 10)
    with pytest.raises(InvalidConfig, match="service 'orders' is needed by instance 'orders/1'"):
        await commands.delete("service", "orders", author="me")
    await commands.deregister("orders", "1")
    await commands.delete("service", "orders", author="me")


async def test_a_registration_between_decision_and_move_finds_the_service_that_was_decided(
    store: MemoryStore, commands: Commands
) -> None:
    """A change in several transactions declares the service, and its values are not in place yet."""
    declared = Service(service_name="orders", check_path="/declared")
    part = json.dumps({key_of("service", "orders"): json.loads(encode(declared))}).encode()
    decided = [Put(COMMITS + "x", b"{}"), Put(f"{STAGED}x/00000", part), Put(CHANGE, b"{}")]
    await store.commit({}, decided)
    await commands.register(instance(), ORDERS, 15)
    assert (await commands.get("service", "orders")).resource == declared
    assert await commands.changes(list) == [], "it has created nothing"


async def test_a_lease_is_given_back_when_registering_fails(store: MemoryStore, commands: Commands) -> None:
    class Refusing(MemoryStore):
        async def commit(self, *_: object) -> int:
            raise Conflict(["k"])

    refusing = Refusing(clock=lambda: 0.0)
    with pytest.raises(Conflict):
        await Commands(refusing, Hasher(), lambda: 0.0).register(instance(), ORDERS, 10)
    with pytest.raises(LeaseGone):
        await refusing.keep_alive(1)


async def test_without_the_store(store: MemoryStore, commands: Commands) -> None:
    store.available = False
    for attempt in (
        commands.register(instance(), ORDERS, 10),
        commands.keep_alive(1),
        commands.deregister("orders", "1"),
        commands.reset_circuit("orders"),
        commands.reset_rate_limit("k"),
    ):
        with pytest.raises(StoreUnavailable):
            await attempt


async def test_a_reset_is_an_order_that_leaves_by_itself(store: MemoryStore, commands: Commands) -> None:
    await commands.create("service", {"service_name": "orders"}, author="me")
    first = await commands.reset_circuit("orders")
    second = await commands.reset_circuit("orders")
    listing = await store.list(key_of("reset", ""))
    assert [(entry.key, entry.revision) for entry in listing.entries] == [
        ("/headgate/v1/reset/circuit-orders", second)
    ]
    assert second > first, "every order has a revision of its own"
    store.advance(59)
    assert (await store.list(key_of("reset", ""))).entries
    store.advance(2)
    assert (await store.list(key_of("reset", ""))).entries == ()


async def test_only_a_service_that_exists_has_a_circuit(store: MemoryStore, commands: Commands) -> None:
    with pytest.raises(NotFound):
        await commands.reset_circuit("orders")
    assert (await store.list("/")).entries == ()


@pytest.mark.parametrize("key", ["subject:testuser", "a/b c", "ü", "x" * 512])
async def test_a_rate_limit_s_key_may_be_any_text(store: MemoryStore, commands: Commands, key: str) -> None:
    await commands.reset_rate_limit(key)
    (entry,) = (await store.list(key_of("reset", ""))).entries
    assert json.loads(entry.value)["rate_limit"] == key
    listing = await store.list("/headgate/v1/")
    build(listing.entries, listing.revision)


@pytest.mark.parametrize("key", ["", "x" * 513, "\ud800"])
async def test_a_rate_limit_s_key_has_bounds(commands: Commands, key: str) -> None:
    with pytest.raises(InvalidConfig):
        await commands.reset_rate_limit(key)


async def test_a_header_s_value_is_reset_by_its_digest(store: MemoryStore, commands: Commands) -> None:
    """The value itself may be a credential, and does not come to lie in the store."""
    for kind in ("header", "header:x-key", "api_key", "claim:email", "address,api_key"):
        with pytest.raises(InvalidConfig, match="digest"):
            await commands.reset_rate_limit(f"{kind}:sk_live_1234567890")
    await commands.reset_rate_limit(f"header:x-key:#{'0a' * 12}")
    await commands.reset_rate_limit("header:")
    assert all(b"sk_live" not in entry.value for entry in (await store.list("/")).entries)


async def test_draining_keeps_the_lease(store: MemoryStore, commands: Commands) -> None:
    made = await commands.register(instance("a"), ORDERS, 15)
    revision = await commands.drain("orders", "a")
    (entry,) = (await store.list(key_of("instance", ""))).entries
    assert (entry.revision, entry.lease) == (revision, made.lease)
    assert json.loads(entry.value)["draining"] is True
    await store.commit({}, [Put("/headgate/election/sweeper", b"elsewhere")])
    assert await commands.drain("orders", "a") == revision, (
        "once is enough, and what others write does not count"
    )
    await commands.keep_alive(made.lease)


async def test_draining_on_hold_needs_nobody_to_keep_it(store: MemoryStore, commands: Commands) -> None:
    made = await commands.register(instance("a"), ORDERS, 15)
    await commands.drain("orders", "a", hold=60)
    assert (await commands.keep("orders/a", made.lease)).removed
    store.advance(59)
    assert (await store.list(key_of("instance", ""))).entries
    store.advance(2)
    assert (await store.list(key_of("instance", ""))).entries == ()


async def test_only_what_is_registered_drains(store: MemoryStore, commands: Commands) -> None:
    with pytest.raises(NotFound):
        await commands.drain("orders", "a", hold=60)
    await store.commit({}, [Put(key_of("instance", "orders/a"), b"{}")])
    with pytest.raises(InconsistentConfig):
        await commands.drain("orders", "a")
