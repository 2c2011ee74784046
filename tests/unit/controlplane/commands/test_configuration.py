"""Commands on the configuration, on the working fake of the store: all or nothing, and never on stale knowledge."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from controlplane.commands.commands import Commands
from controlplane.commands.errors import AlreadyExists, NotFound, StaleWrite
from controlplane.commands.executor import read_configuration
from controlplane.commands.staging import MOST_CHANGES
from controlplane.distribute.watcher import Watcher
from controlplane.identity import Hasher
from controlplane.model.config import View
from controlplane.model.problems import InconsistentConfig, InvalidConfig
from controlplane.model.resources import Route, Scope, User
from controlplane.model.stored import CHANGE, PREFIX, Stamped, encode, key_of, shown
from controlplane.store import Conflict, Entry, Listing, MemoryStore, Put, StoreUnavailable, Write
from tests.support.waiting import eventually

NOW = 1_700_000_000.0


class RacedStore(MemoryStore):
    """A store in which somebody else gets in between a command's reading and its writing."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: 0.0)
        self.rivals: list[Callable[[], Awaitable[object]]] = []
        self.commits = 0

    async def commit(self, expected: Mapping[str, int], writes: Sequence[Write]) -> int:
        self.commits += 1
        if self.rivals:
            await self.rivals.pop(0)()
        return await super().commit(expected, writes)


class CountingHasher(Hasher):
    """Cheap, and counts what would be dear."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.hashed = 0

    async def hash(self, password: str) -> str:
        self.hashed += 1
        return await super().hash(password)


@pytest.fixture
def store() -> RacedStore:
    return RacedStore()


@pytest.fixture
def hasher() -> CountingHasher:
    return CountingHasher()


@pytest.fixture
def commands(store: RacedStore, hasher: CountingHasher) -> Commands:
    return Commands(store, hasher, lambda: NOW)


def elsewhere(store: MemoryStore) -> Commands:
    """Another control plane's commands, which do not wait for the turn of ours."""
    return Commands(store, CountingHasher(), lambda: NOW)


SERVICE = {"service_name": "orders"}
SCOPE = {"name": "orders:read"}
ROUTE = {"name": "orders", "prefix": "/orders", "service_name": "orders", "scopes": ["orders:read"]}
LIMIT = {"name": "few", "per_second": 1, "burst": 1}
DOCUMENT = {"services": [SERVICE], "scopes": [SCOPE], "routes": [ROUTE]}


async def refused(attempt: Awaitable[object]) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        await attempt
    return [str(problem) for problem in caught.value.problems]


def actions(receipt: Any) -> list[str]:
    return [f"{change.action} {change.kind}/{change.name}" for change in receipt.changes]


async def change(store: MemoryStore) -> dict[str, object]:
    entry = await store.get(CHANGE)
    assert entry is not None
    found: dict[str, object] = json.loads(entry.value)
    return found


# A document


async def test_a_document_is_written_in_one_transaction(store: RacedStore, commands: Commands) -> None:
    before = store.revision
    receipt = await commands.apply(DOCUMENT, author="me")
    assert actions(receipt) == ["create service/orders", "create route/orders", "create scope/orders:read"]
    assert receipt.revision == store.revision == before + 1
    assert {entry.revision for entry in (await store.list("/headgate/v1/")).entries} == {receipt.revision}
    assert await change(store) == {
        "author": "me",
        "time": NOW,
        "summary": "create service/orders, create route/orders, create scope/orders:read",
    }


async def test_what_is_there_already_is_not_written_again(store: RacedStore, commands: Commands) -> None:
    first = await commands.apply(DOCUMENT, author="me")
    again = await commands.apply(DOCUMENT, author="you")
    assert {change.action for change in again.changes} == {"unchanged"}
    assert (again.revision, store.revision) == (first.revision, first.revision)

    partly = await commands.apply({**DOCUMENT, "scopes": [{**SCOPE, "description": "Look"}]}, author="you")
    assert actions(partly) == [
        "unchanged service/orders",
        "unchanged route/orders",
        "update scope/orders:read",
    ]
    assert (await commands.get("route", "orders")).revision == first.revision
    assert (await commands.get("scope", "orders:read")).revision == partly.revision


async def test_what_a_document_leaves_out_is_left_alone(commands: Commands) -> None:
    await commands.apply(DOCUMENT, author="me")
    await commands.apply({"rate_limits": [LIMIT]}, author="me")
    assert [stamped.resource.name for stamped in await commands.list("route")] == ["orders"]


async def test_references_may_lead_to_the_store(commands: Commands) -> None:
    await commands.apply({"services": [SERVICE], "scopes": [SCOPE]}, author="me")
    await commands.apply({"routes": [ROUTE]}, author="me")


async def test_a_wrong_document_writes_nothing_and_tells_everything(
    store: RacedStore, commands: Commands, hasher: CountingHasher
) -> None:
    await commands.apply(DOCUMENT, author="me")
    before = await store.list("/")
    said = await refused(
        commands.apply(
            {
                "services": [{"service_name": "fine"}, {"service_name": "Not fine"}],
                "routes": [
                    {"name": "other", "prefix": "/orders", "service_name": "orders"},
                    {"name": "lost", "prefix": "/lost", "service_name": "lost", "scopes": ["x"]},
                ],
                "users": [{"username": "u", "password": "testpass", "scopes": ["orders:write"]}],
            },
            author="me",
        )
    )
    assert [text.split(": ")[0] for text in said] == [
        "services[1].service_name",
        "routes[1].service_name",
        "routes[1].scopes[0]",
        "users[0].scopes[0]",
        "routes[0].prefix",
    ]
    assert await store.list("/") == before
    assert hasher.hashed == 0


async def test_very_many_problems_are_cut_short(commands: Commands) -> None:
    said = await refused(commands.apply({"routes": [5] * 1000}, author="me"))
    assert len(said) == 201
    assert said[-1] == "and 800 more problems"


async def test_a_dry_run_checks_the_same_and_writes_nothing(
    store: RacedStore, commands: Commands, hasher: CountingHasher
) -> None:
    user = {"username": "u", "password": "testpass"}
    receipt = await commands.apply({**DOCUMENT, "users": [user]}, author="me", dry_run=True)
    assert "create user/u" in actions(receipt)
    assert (await store.list("/")).entries == ()
    assert hasher.hashed == 0
    await refused(commands.apply({"routes": [ROUTE]}, author="me", dry_run=True))

    await commands.apply({"users": [user]}, author="me")
    assert actions(await commands.apply({"users": [user]}, author="me", dry_run=True)) == ["unchanged user/u"]
    other = {"username": "u", "password": "otherpass"}
    assert actions(await commands.apply({"users": [other]}, author="me", dry_run=True)) == ["update user/u"]


async def test_a_change_is_bounded(store: RacedStore, commands: Commands) -> None:
    scopes = [{"name": f"s{number}"} for number in range(MOST_CHANGES + 1)]
    said = await refused(commands.apply({"scopes": scopes}, author="me"))
    assert said == ["would change 20001 resources; one change carries at most 20000: apply it in parts"]
    assert (await store.list("/")).entries == ()


async def test_a_change_is_no_larger_than_one_request(store: RacedStore, commands: Commands) -> None:
    instance = {"host": "h", "port": 1, "metadata": {f"key{number}": "x" * 256 for number in range(32)}}
    instances = [{"instance_id": str(number), **instance} for number in range(256)]
    (said,) = await refused(commands.apply({"services": [{**SERVICE, "instances": instances}]}, author="me"))
    assert said.startswith("does not fit into one transaction")
    assert (await store.list("/")).entries == ()


async def test_very_many_passwords_are_refused_before_any_is_compared(commands: Commands) -> None:
    users = [{"username": f"u{number}", "password": "testpass"} for number in range(128)]
    assert await refused(commands.apply({"users": users}, author="me")) == [
        "users: 128 passwords; one change carries at most 127"
    ]


async def test_somebody_s_name_is_bounded(store: RacedStore, commands: Commands) -> None:
    await commands.apply(DOCUMENT, author="x" * 1000)
    assert (await change(store))["author"] == "x" * 128


# Passwords


async def password_of(commands: Commands, username: str) -> str | None:
    user = await commands.find_user(username)
    assert user is not None
    return user.password_hash.get_secret_value() if user.password_hash else None


async def test_a_password_is_stored_as_a_hash(
    store: RacedStore, commands: Commands, hasher: CountingHasher
) -> None:
    await commands.apply({"users": [{"username": "u", "password": "testpass"}]}, author="me")
    entry = await store.get(key_of("user", "u"))
    assert entry is not None
    assert b"testpass" not in entry.value
    assert await hasher.verify("testpass", await password_of(commands, "u"))


async def test_the_same_password_changes_nothing_and_another_one_does(
    commands: Commands, hasher: CountingHasher
) -> None:
    user = {"username": "u", "password": "testpass"}
    await commands.apply({"users": [user]}, author="me")
    first = await password_of(commands, "u")
    assert actions(await commands.apply({"users": [user]}, author="me")) == ["unchanged user/u"]
    assert hasher.hashed == 1

    await commands.apply({"users": [{**user, "disabled": True}]}, author="me")
    assert await password_of(commands, "u") == first

    changed = await commands.apply({"users": [{**user, "password": "otherpass"}]}, author="me")
    assert actions(changed) == ["update user/u"]
    assert await hasher.verify("otherpass", await password_of(commands, "u"))


async def test_a_password_that_is_left_out_stays(commands: Commands) -> None:
    await commands.apply({"users": [{"username": "u", "password": "testpass"}]}, author="me")
    first = await password_of(commands, "u")
    await commands.put("user", {"username": "u", "disabled": True}, author="me")
    assert await password_of(commands, "u") == first


async def test_a_user_without_a_password_and_one_with_a_hash(
    commands: Commands, hasher: CountingHasher
) -> None:
    known = await hasher.hash("elsewhere")
    users = [{"username": "nobody"}, {"username": "moved", "password_hash": known}]
    await commands.apply({"users": users}, author="me")
    assert await password_of(commands, "nobody") is None
    assert await password_of(commands, "moved") == known
    again = await commands.apply({"users": users}, author="me")
    assert {change.action for change in again.changes} == {"unchanged"}


async def test_a_password_is_hashed_once_though_the_change_is_tried_again(
    store: RacedStore, commands: Commands, hasher: CountingHasher
) -> None:
    async def rival() -> None:
        await MemoryStore.commit(store, {}, [Put(CHANGE, b"{}")])

    store.rivals = [rival, rival]
    await commands.apply({"users": [{"username": "u", "password": "testpass"}]}, author="me")
    assert hasher.hashed == 1
    assert store.commits == 3


# Somebody else at the same time


async def test_writers_at_the_same_time_all_succeed(commands: Commands) -> None:
    names = [f"s{number:02}" for number in range(30)]
    await asyncio.gather(*(commands.create("scope", {"name": name}, author=name) for name in names))
    assert [stamped.resource.name for stamped in await commands.list("scope")] == names


async def test_a_scope_that_is_deleted_meanwhile_is_missed(store: RacedStore, commands: Commands) -> None:
    await commands.apply({"services": [SERVICE], "scopes": [SCOPE]}, author="me")
    store.rivals = [lambda: elsewhere(store).delete("scope", "orders:read", author="rival")]
    assert await refused(commands.apply({"routes": [ROUTE]}, author="me")) == [
        "routes[0].scopes[0]: scope 'orders:read' does not exist"
    ]


async def test_a_scope_that_is_needed_meanwhile_is_not_deleted(store: RacedStore, commands: Commands) -> None:
    await commands.apply({"services": [SERVICE], "scopes": [SCOPE]}, author="me")
    store.rivals = [lambda: elsewhere(store).apply({"routes": [ROUTE]}, author="rival")]
    assert await refused(commands.delete("scope", "orders:read", author="me")) == [
        "scope 'orders:read' is needed by route 'orders'"
    ]


async def test_trying_again_ends(store: RacedStore, commands: Commands) -> None:
    async def rival() -> None:
        await MemoryStore.commit(store, {}, [Put(CHANGE, b"{}")])

    store.rivals = [rival] * 100
    with pytest.raises(Conflict):
        await commands.apply(DOCUMENT, author="me")
    assert store.commits == 8


async def test_without_the_store_nothing_happens(store: RacedStore, commands: Commands) -> None:
    store.available = False
    for attempt in (
        commands.apply(DOCUMENT, author="me"),
        commands.create("scope", SCOPE, author="me"),
        commands.delete("scope", "a", author="me"),
        commands.get("scope", "a"),
        commands.list("scope"),
        commands.find_user("u"),
    ):
        with pytest.raises(StoreUnavailable):
            await attempt


# One resource


async def test_create_read_update_delete(commands: Commands) -> None:
    created = await commands.create("scope", SCOPE, author="me")
    assert created.resource == Scope(name="orders:read")
    assert await commands.get("scope", "orders:read") == created
    updated = await commands.put("scope", {**SCOPE, "description": "Look"}, author="me")
    assert updated.revision > created.revision
    assert await commands.list("scope") == (updated,)
    assert await commands.delete("scope", "orders:read", author="me") > updated.revision
    with pytest.raises(NotFound):
        await commands.get("scope", "orders:read")


async def test_creating_what_exists(commands: Commands) -> None:
    await commands.create("scope", SCOPE, author="me")
    with pytest.raises(AlreadyExists, match="scope 'orders:read' exists already"):
        await commands.create("scope", SCOPE, author="me")


async def test_putting_the_same_again_keeps_the_revision(store: RacedStore, commands: Commands) -> None:
    first = await commands.put("scope", SCOPE, author="me")
    assert await commands.put("scope", SCOPE, author="me") == first
    assert store.revision == first.revision


async def test_the_name_may_come_from_the_address(commands: Commands) -> None:
    await commands.create("service", SERVICE, author="me")
    body = {"prefix": "/x", "service_name": "orders"}
    put = await commands.put("route", body, name="x", author="me")
    assert isinstance(put.resource, Route)
    assert put.resource.name == "x"
    await commands.put("user", {}, name="u", author="me")
    assert await refused(
        commands.put("route", {**body, "name": "y", "prefix": "/y"}, name="x", author="me")
    ) == ["name: must be 'x', as in the address"]
    assert await refused(commands.put("route", [], name="x", author="me")) == [
        "must be an object, not a list"
    ]
    assert await refused(commands.put("scope", {}, name="A b", author="me")) != []


async def test_a_single_resource_has_plain_field_paths(commands: Commands) -> None:
    said = await refused(commands.create("route", {**ROUTE, "methods": ["get"], "nonsense": 1}, author="me"))
    assert [text.split(": ")[0] for text in said] == ["methods[0]", "nonsense", "service_name", "scopes[0]"]


async def test_issuers_are_refused_and_there_are_none(commands: Commands) -> None:
    assert await refused(commands.create("issuer", {"issuer": "x"}, author="me")) == [
        "trusting outside issuers is not built yet"
    ]
    assert await commands.list("issuer") == ()
    with pytest.raises(NotFound):
        await commands.get("issuer", "x")


async def test_a_stale_write_is_refused(commands: Commands) -> None:
    first = await commands.create("scope", SCOPE, author="me")
    second = await commands.put("scope", {**SCOPE, "description": "2"}, if_match=first.revision, author="me")
    for attempt in (
        commands.put("scope", {**SCOPE, "description": "3"}, if_match=first.revision, author="me"),
        commands.delete("scope", "orders:read", if_match=first.revision, author="me"),
    ):
        with pytest.raises(StaleWrite, match=f"is at revision {second.revision} now"):
            await attempt
    for attempt in (
        commands.put("scope", {"name": "gone"}, if_match=first.revision, author="me"),
        commands.delete("scope", "gone", if_match=first.revision, author="me"),
    ):
        with pytest.raises(StaleWrite, match="does not exist"):
            await attempt
    assert await commands.get("scope", "orders:read") == second
    await commands.delete("scope", "orders:read", if_match=second.revision, author="me")


async def test_a_write_that_became_stale_meanwhile_is_refused(store: RacedStore, commands: Commands) -> None:
    first = await commands.create("scope", SCOPE, author="me")
    store.rivals = [lambda: elsewhere(store).put("scope", {**SCOPE, "description": "rival"}, author="rival")]
    with pytest.raises(StaleWrite):
        await commands.put("scope", {**SCOPE, "description": "mine"}, if_match=first.revision, author="me")
    assert shown((await commands.get("scope", "orders:read")).resource)["description"] == "rival"


async def test_a_write_elsewhere_does_not_make_a_write_stale(store: RacedStore, commands: Commands) -> None:
    first = await commands.create("scope", SCOPE, author="me")
    store.rivals = [lambda: elsewhere(store).create("scope", {"name": "other"}, author="rival")]
    await commands.put("scope", {**SCOPE, "description": "mine"}, if_match=first.revision, author="me")
    assert shown((await commands.get("scope", "orders:read")).resource)["description"] == "mine"


async def test_what_is_wrong_is_told_before_what_is_stale(commands: Commands) -> None:
    await commands.create("scope", SCOPE, author="me")
    await refused(commands.create("scope", {**SCOPE, "description": 5}, author="me"))
    await refused(commands.put("scope", {**SCOPE, "description": 5}, if_match=1, author="me"))


async def test_what_is_needed_is_not_deleted(commands: Commands) -> None:
    limited = {**ROUTE, "rate_limits": ["few"]}
    user = {"username": "u", "scopes": ["orders:read"]}
    await commands.apply(
        {**DOCUMENT, "routes": [limited], "rate_limits": [LIMIT], "users": [user]}, author="me"
    )
    assert await refused(commands.delete("scope", "orders:read", author="me")) == [
        "scope 'orders:read' is needed by route 'orders'",
        "scope 'orders:read' is needed by user 'u'",
    ]
    assert await refused(commands.delete("service", "orders", author="me")) == [
        "service 'orders' is needed by route 'orders'"
    ]
    assert await refused(commands.delete("rate_limit", "few", author="me")) == [
        "rate limit 'few' is needed by route 'orders'"
    ]
    for kind, name in (("user", "u"), ("route", "orders"), ("scope", "orders:read"), ("service", "orders")):
        await commands.delete(kind, name, author="me")


ADMIN = "gateway:admin"
LAST = [
    "would leave nobody who can change the configuration: no user who is enabled and has a password would hold "
    "gateway:admin. Give gateway:admin to another user first"
]


@pytest.fixture
async def admins(commands: Commands) -> Commands:
    """Commands on a store with one administrator, and with users who would be if they were not kept from it."""
    users = [
        {"username": "root", "password": "testpass", "scopes": [ADMIN]},
        {"username": "disabled", "password": "testpass", "scopes": [ADMIN], "disabled": True},
        {"username": "no-password", "scopes": [ADMIN]},
        {"username": "reader", "password": "testpass"},
    ]
    await commands.apply({"scopes": [{"name": ADMIN}], "users": users}, author="root")
    return commands


async def test_the_last_administrator_stays(store: RacedStore, admins: Commands) -> None:
    before = store.revision
    assert await refused(admins.delete("user", "root", author="root")) == LAST
    losses: tuple[dict[str, object], ...] = ({"disabled": True, "scopes": [ADMIN]}, {"scopes": []})
    for user in losses:
        assert await refused(admins.put("user", user, name="root", author="root")) == LAST
        assert await refused(admins.apply({"users": [{**user, "username": "root"}]}, author="root")) == LAST
    dry = admins.apply({"users": [{"username": "root"}]}, author="root", dry_run=True)
    assert await refused(dry) == LAST
    assert store.revision == before


async def test_an_administrator_may_go_where_another_one_is(admins: Commands) -> None:
    users = [
        {"username": "root", "scopes": []},
        {"username": "next", "password": "testpass", "scopes": [ADMIN]},
    ]
    await admins.apply({"users": users}, author="root")
    await admins.delete("user", "root", author="next")
    await admins.put("user", {"scopes": [ADMIN]}, name="next", author="next")


async def test_of_two_administrators_who_delete_each_other_one_stays(admins: Commands) -> None:
    await admins.create("user", {"username": "two", "password": "testpass", "scopes": [ADMIN]}, author="root")
    said = await asyncio.gather(
        admins.delete("user", "two", author="root"),
        admins.delete("user", "root", author="two"),
        return_exceptions=True,
    )
    assert sorted(isinstance(one, InvalidConfig) for one in said) == [False, True]


async def test_a_rollback_keeps_an_administrator(admins: Commands) -> None:
    first = await admins.put("user", {"scopes": []}, name="reader", author="root")
    users = [{"username": "next", "password": "testpass", "scopes": [ADMIN]}, {"username": "root"}]
    await admins.apply({"users": users}, author="root")
    await admins.delete("user", "root", author="next")
    # Then there was no `next`, and `root` would come back without a password.
    assert await refused(admins.rollback(first.revision, author="next", users=True)) == LAST


async def test_where_there_is_no_administrator_anything_goes(commands: Commands) -> None:
    await commands.create("user", {"username": "u", "password": "testpass"}, author="me")
    await commands.delete("user", "u", author="me")


async def test_deleting_what_is_not_there(store: RacedStore, commands: Commands) -> None:
    before = store.revision
    with pytest.raises(NotFound, match="route 'x' does not exist"):
        await commands.delete("route", "x", author="me")
    assert store.revision == before


# Nonsense that somebody wrote past us


async def test_nonsense_in_the_store_can_be_mended_through_commands(
    store: RacedStore, commands: Commands
) -> None:
    await store.commit(
        {}, [Put(key_of("scope", "orders:read"), b"nonsense"), Put(key_of("user", "u"), b"[]")]
    )
    assert await commands.list("scope") == ()
    with pytest.raises(InconsistentConfig):
        await commands.get("scope", "orders:read")
    assert await commands.find_user("u") is None
    # It counts as existing, so that it does not block others, and can be replaced and deleted.
    await commands.apply({"services": [SERVICE], "routes": [ROUTE]}, author="me")
    assert actions(await commands.apply({"scopes": [SCOPE]}, author="me")) == ["update scope/orders:read"]
    await commands.delete("user", "u", author="me")


@pytest.mark.parametrize("username", ["nobody", "", "a/b", "x" * 10_000, "../scope/a", "\ud800"])
async def test_finding_nobody(commands: Commands, username: str) -> None:
    assert await commands.find_user(username) is None


async def test_finding_somebody(commands: Commands) -> None:
    await commands.apply({"users": [{"username": "u"}]}, author="me")
    assert await commands.find_user("u") == User(username="u")


# With somebody who follows the store


@asynccontextmanager
async def followed(store: MemoryStore) -> AsyncIterator[tuple[Commands, Watcher]]:
    """Commands that read what a watcher has."""
    watcher = Watcher(store, retry=(0.01, 0.05))
    task = asyncio.create_task(watcher.run())
    await eventually(watcher.caught_up.is_set)
    try:
        yield Commands(store, CountingHasher(), lambda: NOW, watcher), watcher
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class ListingStore(RacedStore):
    """Counts how often everything is read, and single keys."""

    def __init__(self) -> None:
        super().__init__()
        self.listed = 0
        self.asked: list[str] = []

    async def get(self, key: str) -> Entry | None:
        self.asked.append(key)
        return await super().get(key)

    async def list(self, prefix: str) -> Listing:
        self.listed += prefix == PREFIX
        return await super().list(prefix)


async def test_commands_do_not_list_the_store_that_somebody_follows() -> None:
    store = ListingStore()
    async with followed(store) as (commands, _):
        for number in range(5):
            await commands.create("scope", {"name": f"s{number}"}, author="me")
        await commands.delete("scope", "s0", author="me")
        assert [one.resource.name for one in await commands.list("scope")] == ["s1", "s2", "s3", "s4"]
    assert store.listed == 1


async def test_a_change_of_one_resource_is_one_question_to_the_store() -> None:
    store = ListingStore()
    async with followed(store) as (commands, _):
        await commands.create("scope", {"name": "first"}, author="me")
        store.asked.clear()
        store.commits = 0
        for number in range(5):
            await commands.create("scope", {"name": f"s{number}"}, author="me")
        await commands.delete("scope", "s0", author="me")
        assert (store.asked, store.commits) == ([], 6)
        assert len(await commands.changes(list)) == 7


class Behind:
    """A follower who does not know yet what others have changed, unless he is told that there is something."""

    def __init__(self, store: MemoryStore, known: View) -> None:
        self._store, self._known = store, known

    def registration(self, name: str) -> Stamped | None:
        return None

    async def view(self, after: int, within: float) -> View | None:
        return self._known if after <= self._known.change else await read_configuration(self._store)


async def test_what_somebody_else_changed_a_moment_ago_counts() -> None:
    store = ListingStore()
    await elsewhere(store).apply({"scopes": [SCOPE]}, author="other")
    follower = Behind(store, await read_configuration(store))
    commands = Commands(store, CountingHasher(), lambda: NOW, follower)
    newer = {**SCOPE, "description": "new"}
    other = await elsewhere(store).put("scope", newer, author="other")
    # To him who is behind it is as it was, and nothing would have to be written.
    back = await commands.put("scope", SCOPE, author="me")
    assert back.revision == store.revision > other.revision
    # And this is not refused for being there, for it is not any more.
    await elsewhere(store).delete("scope", SCOPE["name"], author="other")
    assert (await commands.create("scope", SCOPE, author="me")).revision == store.revision


async def test_a_change_that_the_follower_never_sees_is_waited_for_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after a restored store, whose revisions are lower."""
    monkeypatch.setattr("controlplane.commands.executor.KNOWN_WITHIN", 0.01)
    store = MemoryStore(clock=lambda: 0.0)
    waited: list[int] = []

    class Lost:
        def registration(self, name: str) -> Stamped | None:
            return None

        async def view(self, after: int, within: float) -> View | None:
            waited.append(after)
            return None if after > 1000 else await read_configuration(store)

    commands = Commands(store, CountingHasher(), lambda: NOW, Lost())
    commands.executor._latest = 5000
    await commands.put("scope", SCOPE, author="me")
    await commands.put("scope", {**SCOPE, "description": "new"}, author="me")
    assert [after for after in waited if after > 1000] == [5000]


async def test_what_another_control_plane_wrote_is_seen_before_it_is_judged() -> None:
    store = ListingStore()
    async with followed(store) as (commands, _):
        await elsewhere(store).apply({"services": [SERVICE], "scopes": [SCOPE]}, author="other")
        # Not refused for what the watcher has not seen yet.
        await commands.apply({"routes": [ROUTE]}, author="me")
        await elsewhere(store).delete("route", "orders", author="other")
        with pytest.raises(NotFound):
            await commands.delete("route", "orders", author="me")
    assert store.listed == 1 + 2  # the watcher's own, and those of the other one


async def test_what_was_written_by_hand_is_met_and_then_read() -> None:
    store = ListingStore()
    async with followed(store) as (commands, _):
        await commands.apply({"scopes": [SCOPE]}, author="me")

        async def by_hand() -> None:
            await MemoryStore.commit(
                store, {}, [Put(key_of("scope", "orders:read"), encode(Scope(name="orders:read")))]
            )

        store.rivals = [by_hand]
        changed = await commands.put("scope", {**SCOPE, "description": "new"}, author="me")
        assert changed.revision == store.revision


async def test_a_follower_that_fell_silent_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("controlplane.commands.executor.SEEN_WITHIN", 0.01)
    store = ListingStore()
    async with followed(store) as (commands, watcher):
        watcher._advance = lambda revision: None  # type: ignore[method-assign]
        await elsewhere(store).apply({"scopes": [SCOPE]}, author="other")
        await commands.put("scope", {**SCOPE, "description": "new"}, author="me")


async def test_many_at_once_take_turns() -> None:
    store = ListingStore()
    async with followed(store) as (commands, _):
        await asyncio.gather(
            *(commands.create("scope", {"name": f"s{number}"}, author="me") for number in range(50))
        )
        assert len(await commands.list("scope")) == 50
    assert store.commits == 50
