"""The SDK in a pod: its projected token, read from the file that kubelet renews; keys from an API server over TLS."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import headgate
from controlplane.discovery.kubernetes_api import Access, KubernetesApi
from controlplane.discovery.published_keys import published_keys
from controlplane.identity import ClusterKeys, ServiceAccounts
from controlplane.identity.account_tokens import AccountClaims
from controlplane.model.base import parse_as
from controlplane.model.resources import Service
from headgate import Forbidden, ServiceDefinition, Unauthenticated, transport
from tests.support.certificates import Authority
from tests.support.control_plane import ControlPlane
from tests.support.service_accounts import Cluster, KeyServer, following, own_files, publishing
from tests.support.waiting import eventually

STOCK = {
    "service_name": "stock",
    "registration": {"kubernetes": [{"namespace": "shop", "service_account": "stock"}]},
}


class Pod:
    """A pod of shop/stock: its token lies where kubelet puts it."""

    def __init__(
        self, folder: Path, plane: ControlPlane, accounts: ServiceAccounts, server: KeyServer
    ) -> None:
        self.plane = plane
        self.cluster = server.cluster
        self.late = 0.0
        """Seconds that the control plane's clock is ahead."""
        self.seen: list[str] = []
        """The tokens that were verified, of calls and of open streams."""
        self.kept: list[int] = []
        """The leases that were renewed."""
        accounts._clock = lambda: time.time() + self.late
        self._spy(accounts)
        self.server = server
        self.file = folder / "pod" / "token"
        self.file.parent.mkdir()
        self.tokens = 0
        self.renew()

    def _spy(self, accounts: ServiceAccounts) -> None:
        verify, keep = accounts.verify, self.plane.commands.keep_all

        async def verified(token: bytes) -> AccountClaims:
            self.seen.append(token.decode())
            return await verify(token)

        async def kept(held: dict[int, str]) -> Any:
            self.kept.extend(held)
            return await keep(held)

        accounts.verify = verified  # type: ignore[method-assign]
        self.plane.commands.keep_all = kept  # type: ignore[method-assign, assignment]

    @property
    def token(self) -> str:
        """The present one."""
        return self.file.read_text()

    def verified(self, count: int) -> set[str]:
        """The last tokens that were verified."""
        return set(self.seen[-count:]) if len(self.seen) >= count else set()

    def renew(self, account: str = "shop/stock", ttl: float = 3600, **claims: Any) -> None:
        """Put a new token there, as kubelet does: by renaming."""
        self.tokens += 1
        made = self.file.with_name(f"token-{self.tokens}")
        made.write_text(self.cluster.token(account, ttl=ttl, jti=str(self.tokens), **claims))
        made.replace(self.file)

    def register(self, service: str = "stock", ttl: float = 5) -> headgate.Registration:
        return headgate.register(
            ServiceDefinition(service),
            port=9001,
            ttl=ttl,
            instance_id="stock-7d4f8",
            controlplane=self.plane.address,
            token=headgate.token_file(self.file),
            handle_sigterm=False,
            deadline=5,
        )

    def connect(self) -> headgate.Gateway:
        return headgate.connect(self.plane.address, token=headgate.token_file(self.file))


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    authority, cluster = Authority(tmp_path / "authority"), Cluster()
    with publishing(cluster, authority) as server:
        access = Access(server.url, *own_files(server, authority, tmp_path / "controlplane"))
        async with following(ClusterKeys(published_keys(KubernetesApi(access)))) as keys:
            accounts = ServiceAccounts(keys, "headgate")
            async with ControlPlane(accounts=accounts, recheck=0.05) as plane:
                await plane.watcher.caught_up.wait()
                await plane.put(parse_as(Service, STOCK))
                yield Pod(tmp_path, plane, accounts, server)


async def test_a_pod_registers_with_its_own_token(pod: Pod) -> None:
    async with pod.register() as registration:
        assert registration.registered
        assert ("instance", "stock/stock-7d4f8") in pod.plane.current.resources
        async with pod.connect() as gateway:
            assert [one.service_name for one in await gateway.registry.get_services()] == ["stock"]
    assert ("instance", "stock/stock-7d4f8") not in pod.plane.current.resources
    assert pod.server.asked == ["/openid/v1/jwks"]


async def test_it_is_told_what_is_wrong(pod: Pod) -> None:
    with pytest.raises(Forbidden, match="shop/stock may not register service 'payments'"):
        async with pod.register("payments"):
            pass
    pod.renew("shop/other")
    with pytest.raises(Forbidden, match="shop/other may not register any service"):
        async with pod.register():
            pass
    pod.renew(aud=["https://kubernetes.default.svc"])
    with pytest.raises(
        Unauthenticated, match=r"refuses the token: the token's audience is .*, expected 'headgate'"
    ):
        async with pod.register():
            pass


async def test_streams_and_leases_go_on_when_kubelet_renews_the_token(
    pod: Pod, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "headgate")
    monkeypatch.setattr(transport, "RENEWED_WITHIN", 0.05)
    async with pod.register() as registration, pod.connect() as gateway:
        await eventually(lambda: pod.verified(20) == {pod.token})
        revision = registration.revision
        pod.renew(ttl=7200)
        # All streams are opened anew: each is checked every 0.05 s, with the token that it carries.
        await eventually(lambda: pod.verified(20) == {pod.token})
        pod.late = 3601
        before = len(pod.kept)
        await eventually(lambda: len(pod.kept) > before + 1)
        assert registration.registered and gateway.connected
        assert registration.revision == revision
    assert not caplog.text


async def test_a_token_that_is_not_renewed_ends_the_registration_until_it_is(
    pod: Pod, caplog: pytest.LogCaptureFixture
) -> None:
    async with pod.register() as registration:
        pod.late = 3601
        # On a busy machine, a time-out may come first.
        await eventually(lambda: "refuses the token: the token expired" in str(registration.last_error))
        pod.renew(ttl=7200)
        await eventually(lambda: registration.last_error is None)
        assert registration.registered
