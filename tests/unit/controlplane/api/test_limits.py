"""The limits as they are counted, and resets that say how many buckets they filled up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest import mock

import httpx
import pytest

from controlplane.fleet.reports import LimitPlace, RateLimitReport, ResetReport, StatsReport
from controlplane.limits.desk import Desk
from tests.support.api import Api
from tests.support.waiting import eventually

LIMITS = "/api/v1/rate-limits"
DOCUMENT = {
    "rate_limits": [
        {"name": "callers", "per_second": 5, "burst": 10, "key": "subject"},
        {"name": "together", "per_second": 1, "burst": 100, "key": ["api_key", "route"], "mode": "fleet"},
    ]
}
HIDDEN = "api_key,route:#0123456789abcdef01234567,orders"


@pytest.fixture
async def fleet(admin: httpx.AsyncClient, api: Api) -> httpx.AsyncClient:
    """The client, after two data planes have reported."""
    (await admin.post("/api/v1/apply", json=DOCUMENT)).raise_for_status()
    await api.seen()
    for node in ("b", "a"):
        api.parts.fleet.hello(node, "0.1.0")
        shared = RateLimitReport("together", HIDDEN, 60.0, 1, LimitPlace.FLEET, 10.0)
        own = RateLimitReport("callers", "subject:jo", 1.5, 2, LimitPlace.NODE)
        reports = (shared, own) if node == "a" else (shared,)
        api.parts.fleet.stats(node, StatsReport(1003.0, 20, (), reports))
    return admin


async def test_limits_with_their_bounds_and_buckets(fleet: httpx.AsyncClient, api: Api) -> None:
    desk = mock.create_autospec(Desk, instance=True)
    desk.owner.return_value = "cp-1"
    api.parts.desk = desk
    together, callers = sorted(
        (await fleet.get(LIMITS)).json(), key=lambda limit: -len(limit["buckets"][0]["dataplanes"])
    )
    bucket = {"remaining": 1.5, "refused": 2}
    assert callers == {
        "name": "callers",
        "per_second": 5,
        "burst": 10,
        "max_concurrent": None,
        "key": "subject",
        "enforce": "on",
        "mode": "local",
        "owner": None,
        "bound": {
            "burst": 10,
            "per_second": 5,
            "under_way": None,
            "over": "dataplane",
            "holds": True,
            "reason": "each data plane counts for itself, and 2 are connected",
        },
        "refused": 2,
        "more": 0,
        "buckets": [
            {
                "key": "subject:jo",
                **bucket,
                "dataplanes": {"a": {**bucket, "counted": "node", "away": False}},
            }
        ],
    }
    assert (together["key"], together["mode"], together["owner"]) == ("api_key,route", "fleet", "cp-1")
    assert (together["bound"]["over"], together["bound"]["holds"]) == ("fleet", True)
    (found,) = together["buckets"]
    assert (found["key"], found["remaining"], found["refused"]) == (HIDDEN, 70.0, 2)
    assert {one["counted"] for one in found["dataplanes"].values()} == {"fleet"}


async def test_a_limit_of_a_data_planes_own(fleet: httpx.AsyncClient, api: Api) -> None:
    own = RateLimitReport("(coarse)", "address:192.0.2.9", 0.0, 7)
    api.parts.fleet.stats("b", StatsReport(rate_limits=(own,)))
    limits = (await fleet.get(LIMITS)).json()
    assert [limit["name"] for limit in limits] == ["(coarse)", "callers", "together"]
    assert (limits[0]["per_second"], limits[0]["bound"]) == (None, None)
    assert limits[0]["buckets"][0]["refused"] == 7
    assert [one["name"] for one in (await fleet.get(LIMITS, params={"limit": "(coarse)"})).json()] == [
        "(coarse)"
    ]


async def test_what_is_shown_can_be_chosen(fleet: httpx.AsyncClient) -> None:
    async def names(**query: str) -> dict[str, int]:
        found = (await fleet.get(LIMITS, params=query)).raise_for_status().json()
        return {limit["name"]: len(limit["buckets"]) for limit in found}

    assert await names() == {"callers": 1, "together": 1}
    assert await names(limit="callers") == {"callers": 1}
    assert await names(key="jo") == {"callers": 1}
    assert await names(key=HIDDEN) == {"together": 1}
    assert await names(key="nobody") == {}
    assert await names(node="b") == {"together": 1, "callers": 0}
    assert await names(most="1") == {"callers": 1, "together": 0}


@pytest.mark.parametrize(
    ("query", "status", "detail"),
    [
        ({"limit": "caller"}, 404, "rate limit 'caller' does not exist"),
        ({"node": "c"}, 404, "data plane 'c' is not connected"),
        ({"most": "0"}, 400, "most must be 1 to 1000"),
        ({"most": "1001"}, 400, "most must be 1 to 1000"),
        ({"most": "x"}, 400, "most must be 1 to 1000"),
        ({"page": "2"}, 400, "Unknown parameter 'page'"),
    ],
)
async def test_a_choice_of_nothing(
    fleet: httpx.AsyncClient, query: dict[str, str], status: int, detail: str
) -> None:
    answer = await fleet.get(LIMITS, params=query)
    assert (answer.status_code, answer.json()["detail"]) == (status, detail)


async def test_many_buckets_are_put_together_beside_the_event_loop(
    fleet: httpx.AsyncClient, api: Api
) -> None:
    for node in range(25):
        rows = tuple(
            RateLimitReport("callers", f"subject:{number}", 0.0, node + number) for number in range(100)
        )
        api.parts.fleet.hello(f"gw-{node}", "0.1.0")
        api.parts.fleet.stats(f"gw-{node}", StatsReport(rate_limits=rows))
    (limit,) = (await fleet.get(LIMITS, params={"limit": "callers", "most": "2"})).json()
    assert [bucket["key"] for bucket in limit["buckets"]] == ["subject:99", "subject:98"]
    assert (limit["more"], limit["refused"]) == (99, 2 + sum(25 * number + 300 for number in range(100)))


@asynccontextmanager
async def obeying(api: Api, **found: ResetReport | None) -> AsyncIterator[None]:
    """These data planes serve whatever is published, and say of an order what they found; None: they do not say."""

    async def obey() -> None:
        seen, wake = 0, asyncio.Event()
        with api.parts.watcher.changed.wakes(wake):
            while True:
                wake.clear()
                current = api.parts.watcher.current
                if current is not None and current.revision > seen:
                    seen = current.revision
                    orders = [one.revision for (kind, _), one in current.resources.items() if kind == "reset"]
                    for node, report in found.items():
                        api.parts.fleet.ack(node, seen, current.digest)
                        if orders and report is not None:
                            resets = dict.fromkeys(orders, report)
                            api.parts.fleet.stats(node, StatsReport(resets=resets))
                await wake.wait()

    task = asyncio.create_task(obey())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_reset_says_how_many_buckets_it_filled_up(fleet: httpx.AsyncClient, api: Api) -> None:
    of_a, of_b = (
        ResetReport(("callers", "other"), ("together",)),
        ResetReport(("callers",), ("together",), ("r",)),
    )
    async with obeying(api, a=of_a, b=of_b):
        answer = await fleet.delete(f"{LIMITS}/subject:jo", params={"wait": "60"})
    assert answer.status_code == 200
    assert answer.json() == {
        "revision": api.store.revision,
        "key": "subject:jo",
        "buckets": 4,
        "limits": {"callers": 2, "other": 1, "together": 1},
        "dataplanes": {"a": 2, "b": 1},
        "unreached": [],
        "waiting": [],
        "unreported": [],
    }


async def test_a_reset_that_finds_nothing(fleet: httpx.AsyncClient, api: Api) -> None:
    async with obeying(api, a=ResetReport(), b=ResetReport()):
        answer = await fleet.delete(f"{LIMITS}/subject:nobody", params={"wait": "60"})
    assert answer.status_code == 404
    problem = answer.json()
    assert problem["detail"].startswith("No bucket of any limit has the key 'subject:nobody'")
    assert problem["revision"] == api.store.revision


async def test_redis_that_no_data_plane_reaches_is_named(fleet: httpx.AsyncClient, api: Api) -> None:
    away = ResetReport((), (), ("r",))
    async with obeying(api, a=away, b=away):
        answer = await fleet.delete(f"{LIMITS}/subject:jo", params={"wait": "60"})
    assert (answer.status_code, answer.json()["unreached"], answer.json()["buckets"]) == (200, ["r"], 0)


async def test_data_planes_that_have_not_answered_are_named(fleet: httpx.AsyncClient, api: Api) -> None:
    async with obeying(api, a=ResetReport(("callers",))):
        pending = asyncio.create_task(fleet.delete(f"{LIMITS}/subject:jo", params={"wait": "1"}))
        answer = await pending
    assert answer.status_code == 202
    shown = answer.json()
    assert shown["waiting"][-1] == "b"
    assert sum(shown["limits"].values()) == shown["buckets"]


async def test_data_planes_of_older_versions_are_not_waited_for(fleet: httpx.AsyncClient, api: Api) -> None:
    api.parts.fleet.hello("b", "0.0.9", resets_unreported=True)
    async with obeying(api, a=ResetReport(("callers",)), b=None):
        answer = await fleet.delete(f"{LIMITS}/subject:jo", params={"wait": "60"})
    assert (answer.status_code, answer.json()["buckets"]) == (200, 1)
    assert (answer.json()["waiting"], answer.json()["unreported"]) == ([], ["b"])


async def test_older_data_planes_may_have_had_the_only_bucket(fleet: httpx.AsyncClient, api: Api) -> None:
    for node in ("a", "b"):
        api.parts.fleet.hello(node, "0.0.9", resets_unreported=True)
    async with obeying(api, a=None, b=None):
        answer = await fleet.delete(f"{LIMITS}/subject:jo", params={"wait": "60"})
    assert (answer.status_code, answer.json()["buckets"]) == (200, 0)
    assert sorted(answer.json()["unreported"]) == ["a", "b"]


async def test_an_older_data_plane_that_does_not_serve_the_order_yet(
    fleet: httpx.AsyncClient, api: Api
) -> None:
    api.parts.fleet.hello("b", "0.0.9", resets_unreported=True)
    async with obeying(api, a=ResetReport(("callers",))):
        answer = await fleet.delete(f"{LIMITS}/subject:jo", params={"wait": "0"})
    assert answer.status_code == 202
    assert ("b" in answer.json()["waiting"], answer.json()["unreported"]) == (True, [])


async def test_a_data_plane_that_left_is_not_waited_for(fleet: httpx.AsyncClient, api: Api) -> None:
    async with obeying(api, a=ResetReport(("callers",))):
        pending = asyncio.create_task(fleet.delete(f"{LIMITS}/subject:jo", params={"wait": "60"}))
        await eventually(lambda: _has_obeyed(api, "a"))
        assert not pending.done()
        api.parts.fleet.disconnect("b")
        answer = await pending
    assert (answer.status_code, answer.json()["buckets"]) == (200, 1)


def _has_obeyed(api: Api, node: str) -> bool:
    state = api.parts.fleet.state(node)
    return state is not None and bool(state.resets)


@pytest.mark.parametrize("key", ["subject:jo", "address:2001:db8::1", "subject:a/b%2Fc", "x" * 512])
async def test_an_order_without_a_wait(fleet: httpx.AsyncClient, api: Api, key: str) -> None:
    before = api.store.revision
    answer = await fleet.delete(f"{LIMITS}/{key}", params={"wait": "0"})
    assert (answer.status_code, answer.json()["revision"]) == (202, api.store.revision)
    assert (answer.json()["buckets"], answer.json()["waiting"]) == (0, ["a", "b"])
    assert api.store.revision > before


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("x" * 513, 400),
        ("", 400),
        ("api_key:the-key-itself", 400),
        ("subject:jo?wait=-1", 400),
        ("subject:jo?quorum=1", 400),
    ],
)
async def test_an_order_that_is_refused(fleet: httpx.AsyncClient, api: Api, path: str, status: int) -> None:
    before = api.store.revision
    assert (await fleet.delete(f"{LIMITS}/{path}")).status_code == status
    assert api.store.revision == before


async def test_only_an_administrator_may_reset(reader: httpx.AsyncClient) -> None:
    assert (await reader.get(LIMITS)).status_code == 200
    assert (await reader.delete(f"{LIMITS}/subject:jo")).status_code == 403
