"""Limits and resets against the real control plane: from Python and on the command line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from typer.testing import CliRunner, Result

import headgate
from controlplane.fleet.reports import LimitPlace, RateLimitReport, ResetReport, StatsReport
from headgate import BucketNotFound, Forbidden, InvalidDefinition
from headgate.cli.app import app
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.contract.sdk.conftest import ControlPlane
else:
    ControlPlane = Any

LIMITS = {
    "rate_limits": [
        {"name": "callers", "per_second": 5, "burst": 10, "key": "subject"},
        {"name": "together", "per_second": 1, "burst": 100, "key": "subject", "mode": "fleet"},
    ]
}


@pytest.fixture
async def token(controlplane: ControlPlane) -> str:
    """An administrator's, once there are limits and a data plane that reports of them."""
    await controlplane.commands.apply(LIMITS, author="me")
    controlplane.fleet.hello("gateway-1", "0.1.0")
    own = RateLimitReport("callers", "subject:ann", 1.5, 7, LimitPlace.NODE)
    shared = RateLimitReport("together", "subject:ann", 60.0, 2, LimitPlace.FLEET, 10.0, True)
    controlplane.fleet.stats("gateway-1", StatsReport(rate_limits=(own, shared)))
    form = {"username": "admin", "password": "correct horse"}
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{controlplane.url}/api/v1/auth/token", data=form)
    return str(answer.json()["access_token"])


@asynccontextmanager
async def obeying(controlplane: ControlPlane, found: ResetReport) -> AsyncIterator[None]:
    """The data plane serves the next order, and says what it found."""

    async def obey() -> None:
        seen: dict[str, int] = {}

        async def ordered() -> bool:
            entries = (await controlplane.store.list("/headgate/v1/reset/")).entries
            seen.update((entry.key, entry.revision) for entry in entries)
            return bool(seen)

        await eventually(ordered)
        (revision,) = seen.values()
        controlplane.fleet.ack("gateway-1", revision, "")
        controlplane.fleet.stats("gateway-1", StatsReport(resets={revision: found}))

    task = asyncio.create_task(obey())
    yield
    await task


async def test_limits_from_python(controlplane: ControlPlane, token: str) -> None:
    async with headgate.connect(controlplane.grpc, token=token) as gateway:
        callers, together = await gateway.router.get_rate_limits()
        assert (callers.name, callers.key, callers.refused, callers.owner) == ("callers", "subject", 7, None)
        assert callers.bound is not None and together.bound is not None
        assert (callers.bound.burst, callers.bound.per_second, callers.bound.whole_fleet) == (10, 5.0, False)
        assert (together.mode, together.bound.whole_fleet) == ("fleet", True)
        (bucket,) = together.buckets
        assert (bucket.key, bucket.dataplanes["gateway-1"].away) == ("subject:ann", True)
        assert bucket.dataplanes["gateway-1"].counted is headgate.LimitPlace.FLEET
        assert [one.name for one in await gateway.router.get_rate_limits("together")] == ["together"]
        with pytest.raises(InvalidDefinition, match="most"):
            await gateway.router.get_rate_limits(most=1001)


async def test_a_reset_from_python(controlplane: ControlPlane, token: str) -> None:
    async with headgate.connect(controlplane.grpc, token=token) as gateway:
        async with obeying(controlplane, ResetReport(("callers",), ("together",))):
            reset = await gateway.router.reset_rate_limit("subject:ann")
        assert (dict(reset.limits), reset.waiting) == ({"callers": 1, "together": 1}, ())
        with pytest.raises(InvalidDefinition, match="digests"):
            await gateway.router.reset_rate_limit("api_key:the-key-itself")


async def test_a_reset_that_finds_nothing(controlplane: ControlPlane, token: str) -> None:
    async with (
        headgate.connect(controlplane.grpc, token=token) as gateway,
        obeying(controlplane, ResetReport()),
    ):
        with pytest.raises(BucketNotFound):
            await gateway.router.reset_rate_limit("subject:nobody")


async def test_services_see_no_callers_and_reset_nothing(controlplane: ControlPlane) -> None:
    async with headgate.connect(controlplane.grpc, token="the-services-token") as gateway:
        with pytest.raises(Forbidden):
            await gateway.router.get_rate_limits()
        with pytest.raises(Forbidden):
            await gateway.router.reset_rate_limit("subject:ann")


async def test_the_command(
    controlplane: ControlPlane, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HEADGATE_URL", controlplane.url)
    monkeypatch.setenv("HEADGATE_TOKEN", token)

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, list(arguments))

    shown = await run("limits", "--key", "ann")
    assert shown.exit_code == 0, shown.output
    assert "100 + 1/s, the fleet" in shown.stdout and "gateway-1 60 (away)" in shown.stdout
    mistyped = await run("limits", "-l", "caller")
    assert (mistyped.exit_code, mistyped.stderr) == (
        1,
        "headgate: rate limit 'caller' does not exist: did you mean callers?\n",
    )
    async with obeying(controlplane, ResetReport(("callers",), ("together",))):
        reset = await run("limits", "reset", "subject:ann")
    assert (reset.exit_code, reset.stdout) == (
        0,
        "Reset 2 buckets of subject:ann: callers 1, together 1\n",
    )
