"""Asks one instance how it is: GET on the service's check path; 2xx in time is healthy, everything else is not."""

from __future__ import annotations

import asyncio
import time

import httpx

from dataplane.health.state import Probe
from dataplane.policy.resources import HealthCheck, Instance


class EndpointChecker:
    """Sends probes. Each has a connection of its own, because a kept one would say little about new ones."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(
            trust_env=False,  # a proxy meant for something else would answer in the instance's place
            follow_redirects=False,  # where a redirect leads is not what is asked about
            timeout=None,  # noqa: S113 - the whole probe has one, below
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            headers={"User-Agent": "headgate-health", "Connection": "close", "Accept": "*/*"},
        )

    async def __call__(self, instance: Instance, check: HealthCheck) -> Probe:
        """One probe; never raises."""
        try:
            async with asyncio.timeout(check.timeout):
                reason = await self._ask(f"http://{_authority(instance)}{check.path}")
        except TimeoutError:
            reason = f"no answer within {check.timeout:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
        return Probe(not reason, time.time(), reason)

    async def close(self) -> None:
        """Close what is open."""
        await self._client.aclose()

    async def _ask(self, url: str) -> str:
        """What is wrong with the answer's head; the body is not waited for."""
        async with self._client.stream("GET", url) as response:
            return "" if response.is_success else f"answered {response.status_code}"


def _authority(instance: Instance) -> str:
    host = f"[{instance.host}]" if ":" in instance.host else instance.host
    return f"{host}:{instance.port}"
