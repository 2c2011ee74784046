"""Passwords of users in documents: hashed once, and only where they changed."""

from __future__ import annotations

from controlplane.commands.commands import Commands
from controlplane.model.stored import CHANGE, key_of
from controlplane.store import MemoryStore, Put
from tests.unit.controlplane.commands.raced_store import CountingHasher, RacedStore, actions


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
