"""Guards hold for every spelling of a path."""

from __future__ import annotations

import pytest

from dataplane.config.table import UnlinkedRoute
from dataplane.gateway.policy.resources import Route
from dataplane.gateway.policy.router import AmbiguousPath
from tests.unit.dataplane.gateway.line import ALICE, BASE, BY_ADDRESS, SCOPE, Line, sent

ADMIN = UnlinkedRoute(Route("admin", "orders", prefix="/$admin", scopes=SCOPE))
OPEN = UnlinkedRoute(Route("open", "orders", prefix="/", public=True))


@pytest.mark.parametrize(
    ("guarded", "path"),
    [
        ("/$admin", "/%24admin"),
        ("/$admin", "/%24admin/users"),
        ("/jobs:purge", "/jobs%3Apurge"),
        ("/jobs:purge", "/jobs%3apurge"),
        ("/@internal", "/%40internal"),
        ("/a,b", "/x/../a%2cb"),
        ("/caf%E9", "/caf\u00e9"),
    ],
)
def test_a_guard_cannot_be_passed_by_another_spelling(guarded: str, path: str) -> None:
    line = Line(*BASE, OPEN, UnlinkedRoute(Route("guarded", "orders", prefix=guarded, scopes=SCOPE)))
    assert isinstance(line.ask(path, token=ALICE, encoding="latin-1")[0], AmbiguousPath)


def test_nor_can_an_open_route_be_used_to_pass_the_guard_around_it() -> None:
    guarded = UnlinkedRoute(Route("all", "orders", prefix="/", scopes=SCOPE))
    ping = UnlinkedRoute(Route("ping", "orders", path="/:ping", public=True))
    line = Line(*BASE, guarded, ping)
    assert line.ask("/:ping")[0] is None
    assert isinstance(line.ask("/%3Aping")[0], AmbiguousPath)


def test_a_limit_cannot_be_dodged_by_another_spelling() -> None:
    login = UnlinkedRoute(Route("login", "orders", path="/auth:login", public=True), ("by-address",))
    line = Line(*BASE, OPEN, login, BY_ADDRESS)
    assert isinstance(line.ask("/auth%3Alogin")[0], AmbiguousPath)


def test_where_the_guards_agree_the_bytes_travel_as_they_came() -> None:
    line = Line(*BASE, ADMIN, UnlinkedRoute(Route("all", "orders", prefix="/", scopes=SCOPE)))
    refusal, exchange = line.ask("/%24admin/%2B%3d?q=%24", token=ALICE)
    assert refusal is None and exchange.plan is not None and exchange.plan.route_name == "admin"
    assert sent(exchange) == b"/%24admin/%2B%3D?q=%24"


@pytest.mark.parametrize("path", ["/$admin/a%2Bb", "/%24admin/a%2Bb", "/x/..//%24admin/a%2bb"])
def test_an_encoded_prefix_is_stripped_and_what_is_below_it_stays(path: str) -> None:
    line = Line(
        *BASE, UnlinkedRoute(Route("admin", "orders", prefix="/$admin", public=True, strip_prefix=True))
    )
    assert sent(line.ask(path)[1]) == b"/a%2Bb"
