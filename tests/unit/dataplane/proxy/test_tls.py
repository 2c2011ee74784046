"""Contexts for connections to instances: one for each authority, whoever asks first."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from dataplane.proxy import tls
from dataplane.proxy.tls import BadChain, Chain, ClientContexts
from tests.support.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


async def test_one_context_for_all_that_dial_at_once(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    make = tls.client_context

    def counting(ca: str, chain: Chain | None) -> ssl.SSLContext:
        made.append(ca)
        return make(ca, chain)

    monkeypatch.setattr(tls, "client_context", counting)
    contexts = ClientContexts()
    ca = authority.certificate.read_text()
    found = await asyncio.gather(*(contexts.get(ca) for _ in range(10)))
    assert len(set(map(id, found))) == 1 and made == [ca]
    assert await contexts.get(ca) is found[0]


async def test_a_context_that_cannot_be_made_is_tried_again(authority: Authority) -> None:
    contexts = ClientContexts()
    contexts.adopt(Chain(b"no certificate", b"no key"))
    for _ in range(2):
        with pytest.raises(BadChain):
            await contexts.get(authority.certificate.read_text())
