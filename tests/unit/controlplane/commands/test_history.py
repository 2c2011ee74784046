"""The history: every change on record, nothing secret in it, and the way back."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import Any

import pytest

from controlplane.commands.commands import Commands
from controlplane.commands.errors import NotFound
from controlplane.identity import Hasher
from controlplane.model import history
from controlplane.model.history import HEAD, RECORDS, Edit, Head, UnknownState, differences, undone
from controlplane.model.problems import InvalidConfig
from controlplane.model.resources import Instance, Service, User
from controlplane.model.stored import key_of
from controlplane.store import Conflict, Delete, MemoryStore, Put

SERVICE = {"service_name": "orders"}
SCOPE = {"name": "orders:read"}
ROUTE = {"name": "orders", "prefix": "/orders", "service_name": "orders", "scopes": ["orders:read"]}
DOCUMENT = {"services": [SERVICE], "scopes": [SCOPE], "routes": [ROUTE]}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(clock=lambda: 0.0)


@pytest.fixture
def commands(store: MemoryStore) -> Commands:
    return Commands(store, Hasher(time_cost=1, memory_cost=8, parallelism=1), lambda: 1_700_000_000.0)


async def apply(commands: Commands, **document: Any) -> int:
    return (await commands.apply(document, author="me")).revision


async def refused(attempt: Awaitable[object]) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        await attempt
    return [str(problem) for problem in caught.value.problems]


async def prefix(commands: Commands) -> str:
    found = (await commands.get("route", "orders")).resource
    return str(found.model_dump()["prefix"])


async def test_every_change_is_on_record(commands: Commands) -> None:
    first = await apply(commands, **DOCUMENT)
    second = (await commands.put("route", {**ROUTE, "prefix": "/o"}, author="you")).revision
    third = await commands.delete("route", "orders", author="her")
    records = await commands.changes(list)
    assert [(record.revision, record.author) for record in records] == [
        (third, "her"),
        (second, "you"),
        (first, "me"),
    ]
    assert [record.time for record in records] == [1_700_000_000.0] * 3
    assert records[0].actions == (("delete", "route", "orders"),)
    (edit,) = records[1].edits
    assert edit.before is not None
    assert edit.after is not None
    assert list(differences(edit.before, edit.after)) == [("prefix", "/orders", "/o")]
    assert [action for action, _, _ in records[2].actions] == ["create"] * 3


async def test_what_changes_nothing_leaves_no_record(commands: Commands) -> None:
    await apply(commands, **DOCUMENT)
    await apply(commands, **DOCUMENT)
    await commands.apply({"scopes": [{"name": "x"}]}, author="me", dry_run=True)
    await refused(apply(commands, routes=[{"name": "a"}]))
    assert len(await commands.changes(list)) == 1


async def test_what_services_do_pushes_out_nothing_that_people_did(commands: Commands) -> None:
    await apply(commands, scopes=[{"name": "orders:read"}])
    for number in range(20):
        name = f"service-{number}"
        instance = Instance(service_name=name, instance_id="a", host="10.0.0.1", port=80)
        await commands.register(instance, Service(service_name=name), 15)
    await apply(commands, scopes=[{"name": "orders:write"}])
    newest, oldest = await commands.changes(list)
    assert [one.actions[0][2] for one in (newest, oldest)] == ["orders:write", "orders:read"]


async def test_no_secret_is_on_record(commands: Commands, store: MemoryStore) -> None:
    await apply(commands, users=[{"username": "anna", "password": "secret-password"}])
    await apply(commands, users=[{"username": "anna", "password": "another-password"}])
    newest, oldest = await commands.changes(list)
    assert [newest.edits[0].password, oldest.edits[0].password] == [True, True]
    assert newest.edits[0].before == newest.edits[0].after
    for entry in (await store.list(RECORDS)).entries:
        assert b"argon2" not in entry.value
        assert b"password_hash" not in entry.value
        assert b"-password" not in entry.value


async def test_back_to_an_earlier_revision(commands: Commands) -> None:
    first = await apply(commands, **DOCUMENT)
    await commands.put("route", {**ROUTE, "prefix": "/o"}, author="me")
    await apply(commands, services=[{"service_name": "more"}])
    await commands.delete("service", "more", author="me")
    await apply(commands, services=[{"service_name": "payments"}])

    planned = await commands.rollback(first, author="me", dry_run=True)
    assert await prefix(commands) == "/o"
    receipt = await commands.rollback(first, author="her")
    assert receipt.changes == planned.changes
    assert [(c.action, c.kind, c.name) for c in receipt.changes] == [
        ("update", "route", "orders"),
        ("delete", "service", "payments"),
    ]
    assert await prefix(commands) == "/orders"
    with pytest.raises(NotFound):
        await commands.get("service", "payments")
    newest = (await commands.changes(list))[0]
    assert (newest.revision, newest.author) == (receipt.revision, "her")
    assert newest.summary == f"roll back to revision {first}"


async def test_a_rollback_can_be_rolled_back(commands: Commands) -> None:
    first = await apply(commands, **DOCUMENT)
    second = (await commands.put("route", {**ROUTE, "prefix": "/o"}, author="me")).revision
    await commands.rollback(first, author="me")
    await commands.rollback(second, author="me")
    assert await prefix(commands) == "/o"
    assert (await commands.rollback(second, author="me")).changes == ()


async def test_deletes_come_back(commands: Commands) -> None:
    first = await apply(commands, **DOCUMENT)
    for kind, name in (("route", "orders"), ("service", "orders"), ("scope", "orders:read")):
        await commands.delete(kind, name, author="me")
    receipt = await commands.rollback(first, author="me")
    assert {change.action for change in receipt.changes} == {"create"}
    assert await prefix(commands) == "/orders"


async def test_a_rollback_brings_no_right_back(commands: Commands) -> None:
    admin = {"username": "root", "password": "root-password", "scopes": ["gateway:admin"]}
    left = {"username": "anna", "password": "old-password", "scopes": ["gateway:admin"]}
    gone = {"username": "bert", "password": "old-password", "scopes": ["gateway:admin"]}
    first = await apply(
        commands, **{**DOCUMENT, "scopes": [SCOPE, {"name": "gateway:admin"}], "users": [admin, left, gone]}
    )
    await commands.put("user", {"username": "anna", "disabled": True}, author="root")
    await commands.delete("user", "bert", author="root")
    await apply(commands, users=[{"username": "cleo", "password": "new-password"}])
    await commands.put("route", {**ROUTE, "prefix": "/o"}, author="root")

    receipt = await commands.rollback(first, author="root")
    assert [(one.kind, one.name) for one in receipt.changes] == [("route", "orders")]
    anna = await commands.find_user("anna")
    assert anna is not None and (anna.disabled, anna.scopes) == (True, ())
    assert await commands.find_user("bert") is None
    assert await commands.find_user("cleo") is not None

    await commands.rollback(first, author="root", users=True)
    anna = await commands.find_user("anna")
    assert anna is not None and (anna.disabled, anna.scopes) == (False, ("gateway:admin",))
    assert await commands.find_user("bert") is not None
    assert await commands.find_user("cleo") is None


async def test_a_rollback_that_would_take_a_scope_from_a_user(commands: Commands) -> None:
    first = await apply(commands, **DOCUMENT)
    await apply(commands, scopes=[{"name": "new"}], users=[{"username": "anna", "scopes": ["new"]}])
    assert await refused(commands.rollback(first, author="me")) == [
        "scope/new: did not exist at that revision, but user 'anna' needs it"
    ]


async def test_users_keep_their_passwords_and_come_back_without(commands: Commands) -> None:
    first = await apply(commands, scopes=[SCOPE], users=[{"username": "anna", "password": "old-password"}])
    await apply(commands, users=[{"username": "anna", "password": "new-password", "scopes": ["orders:read"]}])
    changed = await commands.find_user("anna")
    await commands.rollback(first, author="me", users=True)
    anna = await commands.find_user("anna")
    assert isinstance(anna, User)
    assert isinstance(changed, User)
    assert anna.scopes == ()
    assert anna.password_hash == changed.password_hash
    await commands.delete("user", "anna", author="me")
    await commands.rollback(first, author="me", users=True)
    back = await commands.find_user("anna")
    assert isinstance(back, User)
    assert back.password_hash is None


async def test_a_rollback_that_would_leave_something_dangling(commands: Commands, store: MemoryStore) -> None:
    first = await apply(commands, scopes=[{"name": "other"}])
    await apply(commands, services=[SERVICE])
    before = store.revision
    # Past all commands, so that it is on no record.
    raw = json.dumps({"name": "wild", "prefix": "/w", "service_name": "orders"}).encode()
    await store.commit({}, [Put(key_of("route", "wild"), raw)])
    assert await refused(commands.rollback(first, author="me")) == [
        "service/orders: did not exist at that revision, but route 'wild' needs it"
    ]
    assert store.revision == before + 1


async def test_revisions_that_history_does_not_reach(commands: Commands, store: MemoryStore) -> None:
    with pytest.raises(NotFound, match="the history is empty"):
        await commands.rollback(1, author="me")
    first = await apply(commands, **DOCUMENT)
    with pytest.raises(NotFound, match=f"the history reaches back to revision {first}, not to {first - 1}"):
        await commands.rollback(first - 1, author="me")
    with pytest.raises(NotFound, match="does not exist"):
        await commands.rollback(store.revision + 1, author="me")
    with pytest.raises(NotFound):
        await commands.compare(first, store.revision + 1, list)
    with pytest.raises(NotFound):
        await commands.change(first + 1, repr)


async def test_comparing_revisions(commands: Commands) -> None:
    first = await apply(commands, **DOCUMENT)
    second = (await commands.put("route", {**ROUTE, "prefix": "/o"}, author="me")).revision
    await commands.delete("route", "orders", author="me")
    (now,) = await commands.compare(first, None, list)
    assert (now.action, now.name) == ("delete", "orders")
    (between,) = await commands.compare(first, second, list)
    assert between.action == "update"
    (backwards,) = await commands.compare(second, first, list)
    assert backwards.after == between.before
    assert await commands.compare(second, second, list) == []


async def test_the_oldest_records_go_first(
    commands: Commands, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MOST_RECORDS", 5)
    revisions = [await apply(commands, scopes=[{"name": f"s{number}"}]) for number in range(12)]
    assert [record.revision for record in await commands.changes(list)] == revisions[:-6:-1]
    entry = await store.get(HEAD)
    assert entry is not None
    held = (await store.list(RECORDS)).entries
    assert Head.read(entry.value) == Head(8, 13, sum(len(one.value) for one in held))


async def test_several_control_planes_keep_one_history(
    commands: Commands, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each knows the head from its own last change, and only as long as it was the last."""
    monkeypatch.setattr(history, "MOST_RECORDS", 5)
    other = Commands(store, Hasher(time_cost=1, memory_cost=8, parallelism=1), lambda: 1_700_000_000.0)
    for number in range(12):
        writer = (commands, commands, other)[number % 3]
        await apply(writer, scopes=[{"name": f"s{number}", "description": "d" * number}])
    entry = await store.get(HEAD)
    assert entry is not None
    held = (await store.list(RECORDS)).entries
    assert Head.read(entry.value) == Head(8, 13, sum(len(one.value) for one in held))


async def test_the_history_of_another_store_is_counted_anew(
    commands: Commands, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MOST_RECORDS", 3)
    for number in range(3):
        await apply(commands, scopes=[{"name": f"s{number}", "description": "d" * 500}])
    records = [entry.key for entry in (await store.list(RECORDS)).entries]
    await store.commit({}, [Delete(HEAD), *map(Delete, records)])
    await apply(commands, scopes=[{"name": "s0", "description": "first"}])
    for number in range(5):
        await apply(commands, scopes=[{"name": f"t{number}"}])
    entry = await store.get(HEAD)
    assert entry is not None
    held = (await store.list(RECORDS)).entries
    assert Head.read(entry.value) == Head(4, 7, sum(len(one.value) for one in held))


async def test_bytes_are_bounded_too(
    commands: Commands, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MOST_BYTES", 2000)
    for number in range(30):
        await apply(commands, scopes=[{"name": f"s{number}", "description": "d" * 100}])
        held = (await store.list(RECORDS)).entries
        assert 0 < sum(len(one.value) for one in held) <= 2000


async def test_a_rival_between_reading_and_writing(commands: Commands, store: MemoryStore) -> None:
    await apply(commands, **DOCUMENT)
    head = await store.get(HEAD)
    assert head is not None
    with pytest.raises(Conflict):
        await store.commit({HEAD: head.revision - 1}, [Put(HEAD, b"{}")])
    await store.commit({}, [Put(HEAD, b"nonsense")])
    await apply(commands, scopes=[{"name": "after"}])
    assert (await commands.changes(list))[0].actions == (("create", "scope", "after"),)


def entry(value: bytes, revision: int = 5) -> Any:
    return type("Entry", (), {"key": f"{RECORDS}1", "value": value, "revision": revision})()


def test_large_records_are_packed_and_very_large_ones_are_listed_only() -> None:
    noise = [Edit("scope", f"s{n}", None, {"name": f"s{n}", "description": "word " * 50}) for n in range(100)]
    packed = history.encode_record("me", 1.0, "much", noise)
    assert len(packed) < 8 * 1024
    read = history.decode_record(entry(packed))
    assert read is not None
    assert read.edits == tuple(noise)
    many = [Edit("scope", f"s{n}", None, {"d": str(hash((n, i)))}) for n in range(100) for i in range(1500)]
    listed = history.decode_record(entry(history.encode_record("me", 1.0, "too much", many)))
    assert listed is not None
    assert not listed.whole
    assert listed.actions[0] == ("create", "scope", "s0")
    with pytest.raises(UnknownState, match="revision 5 was too large to be kept"):
        undone([listed], 4)


@pytest.mark.parametrize(
    "value", [b"", b"[]", b"null", b"{}", b'{"author": 1}', b'{"packed": "x"}', b'{"changes": [{}]}', b"\xff"]
)
def test_nonsense_is_no_record(value: bytes) -> None:
    assert history.decode_record(entry(value)) is None
