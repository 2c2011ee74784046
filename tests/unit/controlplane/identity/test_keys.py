"""Signing keys: made once, however many control planes start, and useless without SECRET_KEY."""

from __future__ import annotations

import asyncio
import json

import pytest
from joserfc.jwk import RSAKey

from controlplane.identity import KeyRing, WrongSecretKey
from controlplane.model.config import build
from controlplane.model.problems import InconsistentConfig
from controlplane.model.resources import VerificationKey
from controlplane.model.stored import key_of
from controlplane.store import Entry, MemoryStore, Put, StoreUnavailable
from tests.support.keys import open_keys

SECRET = "a secret of more than 32 characters, for tests"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(clock=lambda: 0.0)


async def opened(store: MemoryStore, secret: str = SECRET, issuer: str = "headgate") -> KeyRing:
    return await open_keys(store, secret, issuer=issuer, audience="headgate", now=1.7e9)


async def stored(store: MemoryStore) -> tuple[Entry, ...]:
    return (await store.list(key_of("signing_key", ""))).entries


async def test_the_first_start_makes_a_key_and_the_next_finds_it(store: MemoryStore) -> None:
    first, second = await opened(store), await opened(store)
    assert first.newest.kid == second.newest.kid
    assert len(await stored(store)) == 1
    assert first.jwks() == second.jwks()


async def test_control_planes_that_start_together_share_one_key(store: MemoryStore) -> None:
    rings = await asyncio.gather(*(opened(store) for _ in range(3)))
    assert len({ring.newest.kid for ring in rings}) == 1
    assert len(await stored(store)) == 1


async def test_the_jwk_set_is_public(store: MemoryStore) -> None:
    ring = await opened(store)
    (key,) = ring.jwks()["keys"]
    assert set(key) == {"kty", "n", "e", "kid", "alg", "use"}
    assert (key["kty"], key["alg"], key["use"], key["kid"]) == ("RSA", "RS256", "sig", ring.newest.kid)
    assert not RSAKey.import_key(dict(key)).is_private
    json.dumps(ring.jwks())


async def test_the_private_part_is_encrypted_in_the_store(store: MemoryStore) -> None:
    ring = await opened(store)
    (entry,) = await stored(store)
    value = json.loads(entry.value)
    assert set(value) == {"kid", "public", "private", "created", "issuer", "audience"}
    assert value["private"].count(".") == 4  # a JWE
    private = ring.newest.pair.as_dict(private=True)
    for part in ("d", "p", "q", "dp", "dq", "qi"):
        assert str(private[part]).encode() not in entry.value
    assert str(private["d"]) not in repr(ring.newest)


async def test_data_planes_get_the_public_part(store: MemoryStore) -> None:
    ring = await opened(store)
    listing = await store.list("/headgate/v1/")
    found = build(listing.entries, listing.revision).of(VerificationKey)[ring.newest.kid]
    assert json.loads(found.jwk) == ring.jwks()["keys"][0]
    assert (found.issuer, found.audience) == ("headgate", "headgate")


async def test_another_secret_key_is_told(store: MemoryStore) -> None:
    await opened(store)
    before = await stored(store)
    with pytest.raises(WrongSecretKey, match="SECRET_KEY is not the one"):
        await opened(store, secret="another secret of more than 32 characters")
    assert await stored(store) == before


async def test_a_changed_issuer_is_taken_over(store: MemoryStore) -> None:
    first = await opened(store)
    second = await opened(store, issuer="https://gate.example")
    assert second.newest.kid == first.newest.kid
    (entry,) = await stored(store)
    assert json.loads(entry.value)["issuer"] == "https://gate.example"
    revision = entry.revision
    await opened(store, issuer="https://gate.example")
    assert (await stored(store))[0].revision == revision


async def test_the_newest_of_several_keys_signs_and_all_are_known(store: MemoryStore) -> None:
    first = await opened(store)
    elsewhere = MemoryStore(clock=lambda: 0.0)
    newer = await open_keys(elsewhere, SECRET, issuer="headgate", audience="headgate", now=1.8e9)
    (entry,) = await stored(elsewhere)
    await store.commit({}, [Put(entry.key, entry.value)])
    both = await opened(store)
    assert both.newest.kid == newer.newest.kid
    assert [key["kid"] for key in both.jwks()["keys"]] == [first.newest.kid, newer.newest.kid]
    assert both.find(first.newest.kid) is not None
    nonsense: tuple[object, ...] = ("x", None, 5, ["x"], {})
    assert [both.find(kid) for kid in nonsense] == [None] * 5


@pytest.mark.parametrize(
    "value", [b"nonsense", b"[]", b"{}", b'{"kid": "k", "created": "x", "private": ""}', b"\xff"]
)
async def test_a_damaged_entry_is_told(store: MemoryStore, value: bytes) -> None:
    await store.commit({}, [Put(key_of("signing_key", "k"), value)])
    with pytest.raises(InconsistentConfig, match="signing_key/k"):
        await opened(store)


async def test_a_key_under_another_one_s_name_is_told(store: MemoryStore) -> None:
    await opened(store)
    (entry,) = await stored(store)
    await store.commit({}, [Put(key_of("signing_key", "k"), entry.value)])
    with pytest.raises(InconsistentConfig, match="holds a different key"):
        await opened(store)


async def test_without_the_store_there_are_no_keys(store: MemoryStore) -> None:
    store.available = False
    with pytest.raises(StoreUnavailable):
        await opened(store)
