"""Explanations and taps over HTTP: what is asked, who may, and what comes back. A small data plane answers."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx
import pytest

from controlplane.api import questions, tap
from controlplane.fleet.questions import (
    Explain,
    Explanation,
    Question,
    Reply,
    Step,
    Tap,
    Tapped,
    Unanswered,
)
from controlplane.model.resources import Route, User
from tests.support.api import READER, TAPPER, Api
from tests.support.waiting import eventually

TOKEN = "eyJhbGciOi.secret.signature"
FOUND = Explanation(
    7,
    0,
    401,
    "unauthenticated",
    "Could not validate credentials",
    "token has expired",
    "orders",
    "orders",
    "",
    (Step("token", "refused", "Token has expired.", {"token_sent": True}),),
)


class Answers:
    """Data planes that answer what a test says, and remember what they were asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Question]] = []
        self.replies: list[Reply | Exception] = []
        self.hangs = False

    async def ask(self, node: str, question: Question) -> AsyncGenerator[Reply, None]:
        self.asked.append((node, question))
        if self.hangs:
            await asyncio.Event().wait()
        for reply in self.replies:
            if isinstance(reply, Exception):
                raise reply
            yield reply

    @property
    def explained(self) -> Explain:
        (_, question) = self.asked[-1]
        assert isinstance(question, Explain)
        return question


@pytest.fixture
async def planes(api: Api, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Answers]:
    answers = Answers()
    answers.replies = [FOUND]
    api.parts.asker = answers
    for node in ("gw-2", "gw-1"):
        api.parts.fleet.hello(node, "1", 5, "abc", {}, resets_unreported=False, without_redis=False)
    monkeypatch.setattr(questions, "EXPLANATIONS", _generous(questions.EXPLANATIONS))
    monkeypatch.setattr(tap, "TAPS", _generous(tap.TAPS))
    yield answers


def _generous(one: Any) -> Any:
    return type(one)("They", at_once=3, each=2, per_second=1000.0, burst=1000)


async def explain(api_client: httpx.AsyncClient, /, **asked: Any) -> httpx.Response:
    return await api_client.post("/api/v1/explain", json={"url": "http://a.example/orders/1?x=1", **asked})


async def test_an_explanation(reader: httpx.AsyncClient, planes: Answers) -> None:
    answer = await explain(reader, method="POST", headers={"X-Key": "k"}, token=TOKEN, client="203.0.113.9")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "dataplane": "gw-1",
        "worker": 0,
        "revision": 7,
        "status": 401,
        "decision": "unauthenticated",
        "detail": "Could not validate credentials",
        "reason": "token has expired",
        "route": "orders",
        "service": "orders",
        "instance": None,
        "steps": [
            {
                "stage": "token",
                "outcome": "refused",
                "text": "Token has expired.",
                "details": {"token_sent": True},
                "of_now": [],
            }
        ],
    }
    asked = planes.explained
    assert (asked.method, asked.target, asked.address, asked.secure) == (
        "POST",
        "/orders/1?x=1",
        "203.0.113.9",
        False,
    )
    assert asked.headers == (("Host", "a.example"), ("X-Key", "k"), ("Authorization", f"Bearer {TOKEN}"))


async def test_the_chosen_data_plane_and_other_urls(reader: httpx.AsyncClient, planes: Answers) -> None:
    await explain(reader, url="/orders#top", dataplane="gw-2")
    assert planes.asked[-1][0] == "gw-2" and planes.explained.headers == (("Host", "localhost"),)
    await explain(reader, url="https://b.example:8443", headers={"host": "c.example"})
    asked = planes.explained
    assert (asked.target, asked.secure, asked.headers) == ("/", True, (("host", "c.example"),))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"url": "ftp://a/"}, "url: must begin with"),
        ({"url": "http://[::1/"}, "url: is malformed"),
        ({"url": "http://user:secret@a/"}, "url: must have no user name"),
        ({"url": "http://a b/"}, "url: the host is malformed"),
        ({"url": "/or ders"}, "percent-encoded"),
        ({"url": "/\r\nX: y"}, "percent-encoded"),
        ({"method": "GE T"}, "method: must be"),
        ({"headers": {"X Y": "z"}}, "headers: a name"),
        ({"headers": {"X": "a\r\nY: z"}}, "headers: the value of X"),
        ({"headers": {"authorization": "x"}, "token": TOKEN}, "token: there is a header"),
        ({"token": "two words"}, "token: must be printable"),
        ({"client": "nowhere"}, "client: must be an IP address"),
        ({"at": 0}, "cannot be read"),
        ({"unknown": TOKEN}, "cannot be read"),
        ({"token": {"a": TOKEN}}, "cannot be read"),
    ],
)
async def test_requests_that_cannot_be_explained(
    reader: httpx.AsyncClient, planes: Answers, asked: dict[str, Any], said: str
) -> None:
    answer = await explain(reader, **asked)
    assert answer.status_code == 400 and said in answer.json()["detail"], answer.text
    assert "secret" not in answer.text and not planes.asked


async def test_bodies_that_are_none(reader: httpx.AsyncClient, planes: Answers) -> None:
    kind = {"Content-Type": "application/json"}
    answer = await reader.post("/api/v1/explain", content=f'{{"token": "{TOKEN}"', headers=kind)
    assert (answer.status_code, answer.json()["detail"]) == (400, "The body is not JSON")
    assert (await explain(reader, headers={"X": "y" * 300_000})).status_code == 413
    assert (await reader.post("/api/v1/explain", data={"url": "/"})).status_code == 415


async def test_a_hung_data_plane(
    reader: httpx.AsyncClient, planes: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    planes.hangs = True
    monkeypatch.setattr(questions, "ANSWER_WITHIN", 0.05)
    answer = await explain(reader)
    assert answer.status_code == 504 and "'gw-1' did not answer within 0.05 s" in answer.json()["detail"]


async def test_data_planes_that_do_not_answer(api: Api, reader: httpx.AsyncClient, planes: Answers) -> None:
    planes.replies = [Unanswered("The worker ended before it answered")]
    answer = await explain(reader)
    assert (answer.status_code, answer.json()["detail"]) == (503, "The worker ended before it answered")
    assert (await explain(reader, dataplane="gw-9")).status_code == 404
    api.parts.fleet.disconnect("gw-1")
    assert (await explain(reader, dataplane="gw-1")).status_code == 503
    api.parts.fleet.disconnect("gw-2")
    answer = await explain(reader)
    assert (answer.status_code, answer.json()["detail"]) == (503, "No data plane is connected")


async def test_an_earlier_revision(api: Api, admin: httpx.AsyncClient, planes: Answers) -> None:
    document: dict[str, Any] = {
        "services": [
            {"service_name": "orders", "instances": [{"instance_id": "1", "host": "10.0.0.1", "port": 1}]}
        ],
        "routes": [{"name": "orders", "prefix": "/orders", "service_name": "orders", "public": True}],
        "users": [{"username": "anna", "password": "a good password", "scopes": ["orders:read"]}],
    }
    first = (await admin.post("/api/v1/apply", json=document)).raise_for_status().json()["revision"]
    document["services"][0]["instances"] = []
    document["routes"][0]["prefix"] = "/other"
    document["routes"].append({**document["routes"][0], "name": "new", "prefix": "/new"})
    document["users"] = [{"username": "anna", "disabled": True}]
    (await admin.post("/api/v1/apply", json=document)).raise_for_status()
    await api.seen()
    answer = await explain(admin, at=first)
    assert answer.status_code == 200
    assert answer.json()["steps"][0]["of_now"] == ["signing keys", "time"]
    past = planes.explained.past
    assert past is not None and past.revision == first
    changed = {(one.resource.KIND, one.resource.name): one.resource for one in past.changed}
    assert set(changed) == {
        ("instance", "orders/1"),
        ("route", "orders"),
        ("service", "orders"),
        ("user", "anna"),
    }
    orders, anna = changed["route", "orders"], changed["user", "anna"]
    assert isinstance(orders, Route) and orders.prefix == "/orders"
    assert api.parts.watcher.current is not None
    now = api.parts.watcher.current.resources["user", "anna"].resource
    assert isinstance(anna, User) and isinstance(now, User)
    assert (anna.disabled, anna.credentials) == (False, now.credentials)
    assert past.removed == (("route", "new"),)


@pytest.mark.parametrize("at", [1, 10**9])
async def test_revisions_beyond_the_history(reader: httpx.AsyncClient, planes: Answers, at: int) -> None:
    answer = await explain(reader, at=at)
    assert answer.status_code == 404 and not planes.asked


async def test_too_many_at_once_and_too_often(
    api: Api, reader: httpx.AsyncClient, planes: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    planes.hangs = True
    waiting = [asyncio.create_task(explain(reader)) for _ in range(2)]
    await eventually(lambda: len(planes.asked) == 2)
    answer = await explain(reader)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    planes.hangs = False
    rare = type(questions.EXPLANATIONS)("They", at_once=9, each=9, per_second=0.1, burst=2, now=lambda: 5.0)
    monkeypatch.setattr(questions, "EXPLANATIONS", rare)
    assert [(await explain(reader)).status_code for _ in range(3)] == [200, 200, 429]
    assert (
        await api.client.post("/api/v1/explain", json={"url": "/"}, headers=await api.token())
    ).status_code == 200


async def test_nothing_of_the_request_is_logged(
    reader: httpx.AsyncClient, planes: Answers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await explain(reader, token=TOKEN, headers={"X-Key": "hidden"}, url="/orders?key=hidden")
    text = "".join(str(vars(record)) for record in caplog.records)
    assert TOKEN not in text and "hidden" not in text
    assert TOKEN not in repr(planes.explained) and "hidden" not in repr(planes.explained)


def events(answer: httpx.Response) -> list[tuple[str, Any]]:
    found = []
    for block in answer.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


@pytest.fixture
async def tapper(api: Api) -> httpx.AsyncClient:
    api.client.headers.update(await api.token(TAPPER))
    return api.client


async def test_a_tap(tapper: httpx.AsyncClient, planes: Answers, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    planes.replies = [Tapped(({"status": 503, "path": "/a"}, {"status": 500}), 4)]
    answer = await tapper.get("/api/v1/tap?service=orders&status=5xx&count=3&seconds=30")
    assert answer.headers["content-type"].startswith("text/event-stream")
    seen = events(answer)
    assert seen[0] == ("begin", {"dataplanes": ["gw-1", "gw-2"]})
    assert [data["status"] for kind, data in seen if kind == "request"] == [503, 500, 503]
    assert seen[1][1] == {"dataplane": "gw-1", "status": 503, "path": "/a"}
    assert seen[-1] == ("end", {"shown": 3, "skipped": 8, "problems": {}})
    assert {question for _, question in planes.asked} == {Tap("", "orders", 500, 599, 3, 30.0)}
    logged = [vars(record) for record in caplog.records if "tapped" in record.message]
    assert [(line["message"], line["author"]) for line in logged] == [
        ("requests are tapped", TAPPER),
        ("requests are no longer tapped", TAPPER),
    ]


async def test_a_tap_of_one_that_does_not_answer(tapper: httpx.AsyncClient, planes: Answers) -> None:
    planes.replies = [Unanswered("Data plane gw-2 has disconnected")]
    answer = await tapper.get("/api/v1/tap?dataplane=gw-2")
    assert events(answer)[-1][1]["problems"] == {"gw-2": "Data plane gw-2 has disconnected"}


async def test_a_tap_ends_in_time(
    tapper: httpx.AsyncClient, planes: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    planes.hangs = True
    monkeypatch.setattr(tap, "BEAT", 0.2)
    answer = await tapper.get("/api/v1/tap?seconds=1")
    assert events(answer)[-1][0] == "end" and ": alive" in answer.text


async def test_a_tap_ends_with_the_right_to_it(
    api: Api, tapper: httpx.AsyncClient, planes: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    planes.hangs = True
    monkeypatch.setattr(tap, "BEAT", 0.05)
    monkeypatch.setattr(tap, "RECHECK", 0.05)
    running = asyncio.create_task(tapper.get("/api/v1/tap?seconds=600"))
    await eventually(lambda: planes.asked)
    await api.parts.commands.put("user", {"scopes": []}, name=TAPPER, author="test")
    answer = await running
    assert "needs the scope gateway:tap" in events(answer)[-1][1]["problems"][""]


@pytest.mark.parametrize("query", ["status=9xx", "status=5x", "count=0", "seconds=9999", "routes=x"])
async def test_taps_that_are_refused(tapper: httpx.AsyncClient, planes: Answers, query: str) -> None:
    assert (await tapper.get(f"/api/v1/tap?{query}")).status_code == 400
    assert (await tapper.head("/api/v1/tap")).status_code == 200 and not planes.asked


async def test_a_tap_needs_its_own_scope(api: Api, planes: Answers) -> None:
    for name in (READER, "admin"):
        answer = await api.client.get("/api/v1/tap", headers=await api.token(name))
        assert answer.status_code == 403 and answer.json()["needed"] == "gateway:tap"
        assert f"give it to user '{name}' (headgate edit user), and log in again" in answer.json()["detail"]
    answer = await api.client.get("/api/v1/tap?seconds=1&count=1", headers=await api.token(TAPPER))
    assert answer.status_code == 200


async def test_questions_are_counted_by_their_outcome(
    api: Api, reader: httpx.AsyncClient, planes: Answers
) -> None:
    await explain(reader)
    await explain(reader, at=10**9)
    planes.replies = [Unanswered("away")]
    await explain(reader)
    headers = await api.token(TAPPER)
    await api.client.get("/api/v1/tap?status=9xx", headers=headers)
    await api.client.get("/api/v1/tap?seconds=1", headers=headers)
    assert dict(api.parts.questions.ended) == {
        ("explain", "answered"): 1,
        ("explain", "invalid"): 1,
        ("explain", "failed"): 1,
        ("tap", "invalid"): 1,
        ("tap", "answered"): 1,
    }
    text = (await api.client.get("/metrics")).text
    assert 'headgate_controlplane_questions_total{outcome="answered",question="tap"} 1.0' in text
    assert 'headgate_controlplane_question_seconds_total{question="explain"}' in text


async def test_no_more_taps_than_may_be(tapper: httpx.AsyncClient, planes: Answers) -> None:
    planes.hangs = True
    waiting = [asyncio.create_task(tapper.get("/api/v1/tap?seconds=600")) for _ in range(2)]
    await eventually(lambda: len(planes.asked) == 4)
    assert (await tapper.get("/api/v1/tap")).status_code == 429
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    planes.hangs, planes.replies = False, []
    assert (await tapper.get("/api/v1/tap")).status_code == 200


async def test_a_client_that_reads_slowly_costs_no_memory(
    planes: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap, "MOST_UNREAD", 2)
    planes.replies = [Tapped(({"path": "/"},), 1) for _ in range(50)]
    found: asyncio.Queue[tap.Item] = asyncio.Queue()
    await tap._feed(planes, "gw-1", Tap(), found)
    replies = [found.get_nowait()[1] for _ in range(found.qsize())]
    told = [one for one in replies if isinstance(one, Tapped)]
    assert len(told) == 3 and replies[-1] is None
    assert sum(len(one.requests) + one.skipped for one in told) == 100
