"""The keys of a cluster, read from an API server over TLS, and everything that keeps them from being read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.discovery.kubernetes_api import Access, KubernetesApi
from controlplane.discovery.published_keys import MOST_BYTES, PATH, published_keys
from controlplane.identity import KeysUnavailable
from tests.support.certificates import Authority
from tests.support.service_accounts import ISSUER, Cluster, KeyServer, own_files, publishing


class Bed:
    """A control plane's pod beside the API server."""

    def __init__(self, server: KeyServer, authority: Authority, folder: Path) -> None:
        self.server = server
        self.token, self.ca = own_files(server, authority, folder / "own")

    async def read(self, *issuers: str) -> tuple[bytes, str]:
        api = KubernetesApi(Access(self.server.url, self.token, self.ca))
        return await published_keys(api, issuers)()

    async def problem(self, *issuers: str) -> str:
        """Why the keys cannot be read; never with the token."""
        with pytest.raises(KeysUnavailable) as refused:
            await self.read(*issuers)
        assert self.server.token not in str(refused.value)
        return str(refused.value)


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    authority = Authority(tmp_path / "authority")
    with publishing(Cluster(), authority) as server:
        yield Bed(server, authority, tmp_path)


async def test_keys_and_issuer(bed: Bed) -> None:
    assert await bed.read() == (bed.server.cluster.jwks(), ISSUER)
    assert bed.server.asked == [PATH]


async def test_the_token_and_the_authority_are_read_each_time(bed: Bed, tmp_path: Path) -> None:
    await bed.read()
    bed.server.token = bed.server.cluster.token("headgate/controlplane", jti="renewed")
    assert "does not accept the token (401)" in await bed.problem()
    bed.token.write_text(bed.server.token)
    await bed.read()
    bed.ca = Authority(tmp_path / "another").certificate
    assert "certificate verify failed" in await bed.problem()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, 'the API server forbids it (403): User "gate" cannot get path'),
        (404, "answers with an error (404)"),
        (410, "answers with an error (410)"),
        (500, "answers with an error (500)"),
    ],
)
async def test_refusals(bed: Bed, status: int, said: str) -> None:
    bed.server.status = status
    assert said in await bed.problem()


async def test_an_answer_that_is_too_large(bed: Bed) -> None:
    bed.server.padding = MOST_BYTES
    assert "more than 256 KiB" in await bed.problem()


async def test_a_token_that_names_no_issuer(bed: Bed) -> None:
    bed.server.token = "a-static-token"
    bed.token.write_text("a-static-token")
    assert "set SERVICE_ACCOUNT_ISSUERS" in await bed.problem()
    assert not bed.server.asked
    assert await bed.read("https://issuer.example") == (bed.server.cluster.jwks(), "")


async def test_files_that_are_missing(bed: Bed) -> None:
    bed.ca = bed.ca.with_name("missing")
    assert "missing: No such file" in await bed.problem()
    bed.token.unlink()
    assert "token: No such file" in await bed.problem()
