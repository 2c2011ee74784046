"""events and top: lines as they come, across lost connections; figures for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from rich.console import Console

from headgate.cli import following, top
from headgate.cli.event_stream import events_of
from tests.support.fake_admin import FakeAdmin
from tests.unit.sdk.cli.conftest import Run

CHANGE = {"type": "change", "at": "2026-11-30T06:00:00.000Z", "text": "ann: one route", "revision": 7}
OPEN = {
    "type": "circuit",
    "at": "2026-11-30T06:00:01.000Z",
    "text": "circuit of service orders is open",
    "state": "open",
}


def block(data: dict[str, Any], identity: str = "") -> str:
    head = f"id: {identity}\n" if identity else ""
    return f"{head}event: {data['type']}\ndata: {json.dumps(data)}\n\n"


TRAFFIC: dict[str, Any] = {
    "type": "traffic",
    "at": "2026-11-30T06:00:00.000Z",
    "every": 2.0,
    "revision": 42,
    "total": {
        "requests_per_second": 1234.5,
        "client_errors_per_second": 1.0,
        "server_errors_per_second": 12.0,
        "error_share": 0.0097,
        "p50": 0.0042,
        "p99": 1.25,
    },
    "dataplanes": [
        {
            "node": node,
            "version": "1.2.3",
            "connected": connected,
            "applied_revision": 42 - behind,
            "behind": behind,
            "rejected_revision": rejected,
            "requests_per_second": rate,
            "error_share": None if rate is None else 0.02,
            "p50": 0.004,
            "p99": 0.1,
            "in_flight": 3,
            "memory_bytes": 120_000_000,
        }
        for node, connected, behind, rejected, rate in (
            ("gw-busy", True, 0, None, 900.0),
            ("gw-bad", True, 2, 42, 10.0),
            ("gw-old", True, 0, None, None),
        )
    ],
    "services": [
        {
            "service_name": "orders",
            "requests_per_second": 900.0,
            "error_share": 0.0,
            "p50": 0.004,
            "p99": 0.1,
            "healthy": 1,
            "total": 2,
            "circuit": "open",
        }
    ],
    "routes": [
        {
            "name": name,
            "service_name": service,
            "requests_per_second": 5.0,
            "client_errors_per_second": 0.0,
            "server_errors_per_second": 1.0,
            "error_share": 0.2,
        }
        for name, service in (("orders", "orders"), ("", None))
    ],
}


def test_ids_are_told_with_their_events() -> None:
    seen: list[str] = []
    lines = ["id: a-1-2", "event: change", 'data: {"a": 1}', "", "data: {}", "", "id: cut"]
    assert list(events_of(lines, seen.append)) == [("change", {"a": 1}), ("message", {})]
    assert seen == ["a-1-2"]


class Streams:
    """Answers of /events, one after the other; then Ctrl-C."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, admin: FakeAdmin, *answers: str | int) -> None:
        self.asked: list[httpx.Request] = []
        self._answers = list(answers)
        admin.override = self
        monkeypatch.setattr(following, "PAUSE", 0.0)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if not self._answers:
            raise KeyboardInterrupt
        answer = self._answers.pop(0)
        if isinstance(answer, int):
            return httpx.Response(answer, json={"detail": "not now"})
        return httpx.Response(200, text=answer, headers={"Content-Type": "text/event-stream"})


def test_events_go_on_where_the_stream_broke(
    logged_in: Run, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = Streams(monkeypatch, admin, block(CHANGE, "a-1-2"), 503, block(OPEN, "a-2-3"))
    done = logged_in("events", "--last", "5", "--type", "change", "--type", "circuit")
    assert done.exit_code == 0
    words = [line.split(maxsplit=2)[1:] for line in done.stdout.splitlines()]
    assert words == [["change", "ann: one route"], ["circuit", "circuit of service orders is open"]]
    first, _, last, _ = streams.asked
    assert first.url.params.get_list("type") == ["change", "circuit"] and first.url.params["last"] == "5"
    assert "last-event-id" not in first.headers and last.headers["last-event-id"] == "a-1-2"
    assert "still trying" in done.stderr


def test_events_for_programs(logged_in: Run, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch) -> None:
    Streams(monkeypatch, admin, block(CHANGE) + block({"type": "end", "text": "expired"}))
    done = logged_in("events", "-o", "json")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [CHANGE]


@pytest.mark.parametrize("arguments", [("-o", "yaml"), ("--type", "strange")])
def test_events_that_make_no_sense(logged_in: Run, admin: FakeAdmin, arguments: tuple[str, ...]) -> None:
    assert logged_in("events", *arguments).exit_code == 2


def test_a_refusal_ends_the_command(
    logged_in: Run, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    Streams(monkeypatch, admin, 400)
    done = logged_in("events")
    assert done.exit_code == 1 and "not now" in done.stderr


def test_top_once(logged_in: Run, admin: FakeAdmin) -> None:
    admin.views["traffic"] = TRAFFIC  # type: ignore[assignment]
    done = logged_in("top", "--once")
    assert done.exit_code == 0
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0][:4] == ["revision", "42", "data", "planes"]
    assert lines[3][:5] == ["gw-bad", "1.2.3", "40", "rejects", "42"], "trouble comes first"
    assert [line[0] for line in lines[4:6]] == ["gw-busy", "gw-old"]
    assert json.loads(logged_in("top", "--once", "-o", "json").stdout) == TRAFFIC


def test_top_for_programs_goes_on(logged_in: Run, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = Streams(monkeypatch, admin, block(TRAFFIC) * 2)
    done = logged_in("top", "-o", "json")
    assert len(done.stdout.splitlines()) == 2
    assert streams.asked[0].url.params["type"] == "traffic"


@pytest.mark.parametrize(("height", "rows"), [(10, 6), (60, 30)])
def test_a_small_screen_counts_what_it_leaves_out(height: int, rows: int) -> None:
    seen = TRAFFIC | {"dataplanes": [TRAFFIC["dataplanes"][0]] * 30}
    console = Console(width=120, record=True, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(top.drawn(seen, height))
    text = capture.get()
    assert text.count("gw-busy") == rows
    assert ("and 24 more" in text) == (rows == 6)


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (top._seconds, 0.0042, "4.2 ms"),
        (top._seconds, 1.25, "1.25 s"),
        (top._seconds, None, "-"),
        (top._rate, 1234.5, "1,234"),
        (top._rate, 0.25, "0.2"),
        (top._share, 0.0097, "1.0%"),
        (top._bytes, 120_000_000, "120 MB"),
    ],
)
def test_figures(write: Callable[[Any], str], value: object, text: str) -> None:
    assert write(value) == text
