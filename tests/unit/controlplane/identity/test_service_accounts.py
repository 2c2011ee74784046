"""Verification of pods' tokens, and the cluster's keys: when they are read, and how long they count."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from unittest.mock import patch

import pytest

from controlplane.identity import ClusterKeys, KeysUnavailable, RefusedToken, ServiceAccounts
from controlplane.identity.cluster_keys import GAP, MOST_AGE, PATIENCE
from tests.support.service_accounts import Cluster, following, rsa
from tests.support.waiting import eventually


class Bed:
    """A verifier with clocks of its own. The next reading that is due by time is made by `tick`."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.now = 1_800_000_000.0
        self.keys = ClusterKeys(cluster.fetch, clock=lambda: self.now, chance=lambda: 0.0)
        self.accounts = ServiceAccounts(self.keys, "headgate", clock=lambda: self.now)

    async def verify(self, token: str) -> str:
        return str((await self.accounts.verify(token.encode())).account)

    async def refusal(self, token: str) -> str:
        with pytest.raises(RefusedToken) as refused:
            await self.accounts.verify(token.encode())
        return str(refused.value)

    def token(self, account: str = "shop/stock", ttl: float = 3600) -> str:
        return self.cluster.token(account, now=self.now, ttl=ttl)

    async def read_again(self) -> None:
        """Read the keys as at the end of a pause."""
        await self.keys._try()


@pytest.fixture(scope="module")
def key() -> Cluster:
    """Has a key; each test has a cluster of its own with it."""
    return Cluster()


@pytest.fixture
async def bed(key: Cluster) -> AsyncIterator[Bed]:
    made = Bed(Cluster(keys=list(key.keys)))
    async with following(made.keys):
        yield made


async def test_the_issuer_is_that_of_the_control_planes_own_token(bed: Bed) -> None:
    assert await bed.verify(bed.token()) == "shop/stock"
    other = Cluster("https://other.example", bed.cluster.keys)
    assert "issuer is 'https://other.example', expected" in await bed.refusal(other.token(now=bed.now))


async def test_configured_issuers_replace_it(bed: Bed) -> None:
    issuers = ("https://old.example", "https://new.example")
    bed.accounts = ServiceAccounts(bed.keys, "headgate", issuers, lambda: bed.now)
    assert await bed.verify(bed.cluster.token(now=bed.now, iss=issuers[0])) == "shop/stock"
    assert "expected 'https://old.example', 'https://new.example'" in await bed.refusal(bed.token())


async def test_an_unknown_issuer_accepts_nothing(bed: Bed) -> None:
    bed.cluster.issuer = ""
    await bed.read_again()
    assert "expected ''" in await bed.refusal(bed.cluster.token(now=bed.now, iss="x"))


async def test_a_token_is_verified_once_while_it_and_the_keys_last(bed: Bed) -> None:
    token = bed.token(ttl=60)
    with patch("controlplane.identity.account_tokens.jws.deserialize_compact") as proved:
        for _ in range(5):
            assert await bed.verify(token) == "shop/stock"
        assert proved.call_count == 1
        await bed.read_again()
        assert await bed.verify(token) == "shop/stock"
        assert proved.call_count == 1, "the keys are the same"
    bed.now += 60
    assert "the token expired 0 s ago" in await bed.refusal(token)


async def test_the_number_of_remembered_tokens_is_bounded(bed: Bed) -> None:
    with patch("controlplane.identity.service_accounts.MOST_KNOWN", 2):
        for name in "abc":
            await bed.verify(bed.token(f"shop/{name}"))
        assert len(bed.accounts._known) == 2


async def test_a_withdrawn_key_is_not_accepted_any_more(bed: Bed) -> None:
    token = bed.token()
    await bed.verify(token)
    bed.cluster.keys = [rsa("two")]
    await bed.read_again()
    assert "the key 'one', which the cluster does not have" in await bed.refusal(token)


async def test_a_new_key_is_read_at_once(bed: Bed) -> None:
    await bed.verify(bed.token())
    bed.cluster.keys.append(rsa("two"))
    bed.now += GAP
    assert await bed.verify(bed.token()) == "shop/stock"
    assert bed.cluster.reads == 2


async def test_a_flood_of_unknown_keys_causes_few_readings(bed: Bed) -> None:
    await bed.verify(bed.token())
    strangers = [Cluster(keys=[key]) for key in map(rsa, ("x", "y"))]
    for second in range(30):
        bed.now += 1
        tokens = [one.token(now=bed.now, jti=str(second)) for one in strangers]
        said = await asyncio.gather(*map(bed.refusal, tokens))
        assert all("which the cluster does not have" in one for one in said)
    assert bed.cluster.reads == 1 + 30 / GAP


async def test_whether_an_unknown_key_is_the_clusters_is_open_while_keys_cannot_be_read(bed: Bed) -> None:
    """The cluster may have it by now: the caller is to try again, or another control plane."""
    await bed.verify(bed.token())
    bed.cluster.failure = KeysUnavailable("the API server does not answer")
    bed.cluster.keys.append(rsa("two"))
    bed.now += GAP
    for _ in range(2):
        with pytest.raises(KeysUnavailable, match="does not answer"):
            await bed.verify(bed.token())
    bed.cluster.failure = None
    bed.now += GAP
    assert await bed.verify(bed.token()) == "shop/stock"


async def test_calls_wait_for_a_reading_together_and_not_one_after_the_other(key: Cluster) -> None:
    """The credentials of open streams are checked in turn."""
    with patch.object(Cluster, "fetch", lambda _: asyncio.Event().wait()):
        bed = Bed(Cluster(keys=key.keys))
        async with following(bed.keys):
            first = asyncio.create_task(bed.verify(bed.token()))
            await asyncio.sleep(0.01)
            assert not first.done()
            bed.now += PATIENCE
            with pytest.raises(KeysUnavailable):
                async with asyncio.timeout(PATIENCE / 2):
                    await bed.verify(bed.token())
            first.cancel()


async def test_claims_are_checked_before_the_key_is_looked_for(bed: Bed) -> None:
    await bed.verify(bed.token())
    bed.now += GAP
    stranger = Cluster("https://other.example", [rsa("x")])
    await bed.refusal(stranger.token(now=bed.now))
    await bed.refusal(Cluster(keys=stranger.keys).token(now=bed.now, aud="vault"))
    assert bed.cluster.reads == 1


async def test_callers_wait_for_the_first_keys(key: Cluster) -> None:
    bed = Bed(key)
    waiting = asyncio.create_task(bed.verify(bed.token()))
    await asyncio.sleep(0)
    assert not waiting.done()
    async with following(bed.keys):
        assert await waiting == "shop/stock"


async def test_without_keys_nothing_is_accepted(key: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    bed = Bed(Cluster(keys=key.keys, failure=KeysUnavailable("the API server forbids it (403)")))
    async with following(bed.keys):
        with pytest.raises(KeysUnavailable, match="forbids it"):
            await bed.verify(bed.token())
        assert bed.accounts.problem == "the API server forbids it (403)"
        assert "the token expired" in await bed.refusal(bed.token(ttl=-1))
        await bed.read_again()
        found = [vars(line)["reason"] for line in caplog.records if line.levelno == logging.WARNING]
        assert found == ["the API server forbids it (403)"], "once"
        bed.cluster.failure = None
        await bed.read_again()
        assert (await bed.verify(bed.token()), bed.accounts.problem) == ("shop/stock", "")


async def test_the_last_keys_stay_in_force_for_a_day(bed: Bed) -> None:
    token = bed.token(ttl=2 * MOST_AGE)
    await bed.verify(token)
    bed.cluster.failure = KeysUnavailable("the API server does not answer")
    bed.now += MOST_AGE
    await bed.read_again()
    assert await bed.verify(token) == "shop/stock"
    assert await bed.verify(bed.token()) == "shop/stock"
    bed.now += 1
    for late in (token, bed.token()):
        with pytest.raises(KeysUnavailable, match="does not answer"):
            await bed.verify(late)


@pytest.mark.parametrize("fault", [b"{}", RuntimeError("a fault of ours")])
async def test_a_fault_leaves_the_keys_and_is_tried_again(bed: Bed, fault: bytes | Exception) -> None:
    await bed.verify(bed.token())
    before = bed.keys.current
    if isinstance(fault, Exception):
        bed.cluster.failure = fault
    broken = patch.object(Cluster, "jwks", return_value=fault) if isinstance(fault, bytes) else None
    with broken or contextlib.nullcontext():
        await bed.read_again()
    assert bed.keys.current is before and bed.keys.problem
    bed.cluster.failure = None
    await bed.read_again()
    assert not bed.keys.problem


async def test_failures_are_tried_again_soon(key: Cluster) -> None:
    cluster = Cluster(keys=key.keys, failure=KeysUnavailable("starting"))
    with patch("controlplane.identity.cluster_keys.FIRST_PAUSE", 0.001):
        async with following(ClusterKeys(cluster.fetch)) as keys:
            await eventually(lambda: cluster.reads > 2)
            cluster.failure = None
            await eventually(lambda: keys.current)
