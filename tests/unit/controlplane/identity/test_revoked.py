"""What is remembered of ended logins: until the last token has expired, and within bounds."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.identity import Claims
from controlplane.identity.revocations import Revocations
from controlplane.identity.revoked import LONGEST, MOST, PREFIX, Revoked
from controlplane.store import MemoryStore, Put
from tests.support.waiting import eventually

NOW = 1_700_000_000.0


def ended(name: str, at: float = NOW) -> Revoked:
    return Revoked({name: (at, at + 960)})


def claims(session: str, issued: float = NOW - 60, token: str = "t") -> Claims:
    return Claims("ann", frozenset(), NOW + 900, session=session, id=token, issued=issued)


def test_a_login_ends_with_all_its_tokens_and_another_goes_on() -> None:
    held = ended("one")
    assert held.covers("one", "t", NOW - 60) and held.covers("one", "t", NOW + 30)
    assert not held.covers("two", "t", NOW - 60)
    assert ended("t").covers("", "t", NOW - 60), "a token of no login, by its own id"


def test_it_is_read_as_it_was_written() -> None:
    held = Revoked({"one": (NOW, NOW + 960)}, (NOW - 5, NOW + 3))
    assert Revoked.read(held.value, NOW) == held
    assert Revoked.read(None, NOW) == Revoked()
    assert held.until == NOW + 960


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[]", b'{"ids":[],"floor":[0,0]}', b'{"ids":{"a":[NaN,1]},"floor":[0,0]}', b"\xff"]
)
def test_what_cannot_be_read_ends_every_earlier_token(value: bytes) -> None:
    held = Revoked.read(value, NOW)
    assert held.covers("any", "t", NOW - 1) and not held.covers("any", "t", NOW + 1)
    assert held.until == NOW + LONGEST


def test_it_is_forgotten_when_the_last_token_has_expired() -> None:
    joined = ended("two", NOW + 961).joined(ended("one"), NOW + 961)
    assert set(joined.ids) == {"two"}
    assert Revoked().joined(joined, NOW + 5000) == Revoked()


def test_above_the_bound_the_oldest_gives_a_floor() -> None:
    held = Revoked()
    for number in range(MOST + 2):
        held = ended(f"login-{number}", NOW + number).joined(held, NOW + number)
    assert len(held.ids) == MOST and "login-1" not in held.ids
    assert held.covers("login-0", "t", NOW) and held.covers("login-1", "t", NOW + 1)
    assert held.covers("another", "t", NOW + 1), "issued before: its refresh token gives another"
    assert not held.covers("another", "t", NOW + 2)
    assert len(held.value) < 8192


async def test_a_control_plane_follows_the_store_and_keeps_what_the_store_loses() -> None:
    now = NOW
    store = MemoryStore()
    known = Revocations(store, lambda: now)
    await store.commit({}, [Put(PREFIX + "ann", ended("one").value)])
    following = asyncio.create_task(known.run())
    await eventually(lambda: known.ended(claims("one")))
    lease = await store.grant(960)
    await store.commit({}, [Put(PREFIX + "ann", ended("two").value, lease)])
    await eventually(lambda: known.ended(claims("two")))
    await store.revoke(lease)
    await store.commit({}, [Put(PREFIX + "bob", ended("three").value)])
    await eventually(lambda: len(known) == 3)
    now += 961
    await store.commit({}, [Put(PREFIX + "bob", ended("four", now).value)])
    await eventually(lambda: len(known) == 1)
    following.cancel()
    await asyncio.wait([following])
