"""The demo's traffic: to each data plane, with a token, whatever fails, until it is told to stop."""

from __future__ import annotations

import threading

import httpx

from demo.traffic import PATHS, Traffic
from tests.support.waiting import eventually_now


class Gateways:
    """Two of them: the first is away at first, and tokens are good for a few requests."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, int]] = []
        self.tokens = 0
        self.uses = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if not self.seen and request.url.host == "first" and not self.tokens:
            self.tokens = 1
            raise httpx.ConnectError("refused")
        if request.method == "POST":
            self.tokens, self.uses = self.tokens + 1, 0
            return httpx.Response(200, json={"access_token": str(self.tokens)})
        self.uses += 1
        known = request.headers["Authorization"] == f"Bearer {self.tokens}" and self.uses < 8
        status = 200 if known else 401
        self.seen.append((str(request.url.host), request.url.path, status))
        return httpx.Response(status)


def test_traffic_goes_on() -> None:
    gateways = Gateways()
    client = httpx.Client(transport=httpx.MockTransport(gateways))
    with Traffic(["http://first", "http://second"], client):
        eventually_now(lambda: 401 in {status for _, _, status in gateways.seen})
        past = len(gateways.seen)
        eventually_now(lambda: len(gateways.seen) > past)
    assert {path for _, path, _ in gateways.seen} == set(PATHS)
    assert {host for host, _, _ in gateways.seen} == {"first", "second"}
    assert gateways.seen[-1][2] == 200
    assert "traffic" not in {thread.name for thread in threading.enumerate()}
