"""Asks one instance how it is: GET on the service's check path; 2xx in time is healthy, everything else is not."""

from __future__ import annotations

import asyncio
import ssl
import time

import httpx

from dataplane.health.state import Probe
from dataplane.http.tls import Chain, ClientContexts
from dataplane.policy.resources import HealthCheck, Instance

_REMEMBERED = 1_000


class EndpointChecker:
    """Sends probes. Each has a connection of its own, because a kept one would say little about new ones."""

    def __init__(self) -> None:
        self._plain = _make_client(False)
        self._secured: dict[ssl.SSLContext, httpx.AsyncClient] = {}
        self._contexts = ClientContexts()

    def identify(self, chain: Chain | None) -> None:
        """Show this certificate to instances that ask for one."""
        self._contexts.adopt(chain)

    async def __call__(self, instance: Instance, check: HealthCheck) -> Probe:
        """One probe; never raises."""
        try:
            async with asyncio.timeout(check.timeout):
                reason = await self._ask(instance, check)
        except TimeoutError:
            reason = f"no answer within {check.timeout:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
        return Probe(not reason, time.time(), reason)

    async def close(self) -> None:
        """Close what is open."""
        for client in (self._plain, *self._secured.values()):
            await client.aclose()

    async def _ask(self, instance: Instance, check: HealthCheck) -> str:
        """What is wrong with the answer's head; the body is not waited for."""
        client, scheme, extensions = self._plain, "http", {}
        if check.tls is not None:
            client, scheme = self._client(await self._contexts.get(check.tls.ca)), "https"
            extensions["sni_hostname"] = check.tls.server_name or instance.host
        url = f"{scheme}://{_authority(instance)}{check.path}"
        async with client.stream("GET", url, extensions=extensions) as response:
            return "" if response.is_success else f"answered {response.status_code}"

    def _client(self, context: ssl.SSLContext) -> httpx.AsyncClient:
        """One for each authority; none holds a connection between two probes."""
        if context not in self._secured:
            if len(self._secured) >= _REMEMBERED:
                self._secured.clear()
            self._secured[context] = _make_client(context)
        return self._secured[context]


def _make_client(verify: ssl.SSLContext | bool) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        verify=verify,
        trust_env=False,  # a proxy meant for something else would answer in the instance's place
        follow_redirects=False,  # where a redirect leads is not what is asked about
        timeout=None,  # noqa: S113 - the whole probe has one, above
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        headers={"User-Agent": "headgate-health", "Connection": "close", "Accept": "*/*"},
    )


def _authority(instance: Instance) -> str:
    host = f"[{instance.host}]" if ":" in instance.host else instance.host
    return f"{host}:{instance.port}"
