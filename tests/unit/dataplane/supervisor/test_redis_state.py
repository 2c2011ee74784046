"""What workers see of Redis, as one state of the node that is logged when it changes."""

from __future__ import annotations

import pytest

from dataplane.supervisor.redis_state import RedisOutage, RedisState

REFUSES = "Redis refuses limits: the ACL of the user in REDIS_URL lacks a rule"


def test_one_outage_of_many_workers_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    state = RedisState()
    one, two = RedisOutage(100.0, "connection lost"), RedisOutage(101.0, "connection refused")
    for seen in (None, [], [one], [one, two], [two], None, [two], []):
        state.update(seen, 110.0)
    assert [record.message for record in caplog.records] == [
        "Failed to connect to Redis",
        "Redis answers again",
    ]
    assert state.outage is None


def test_an_outage_has_begun_when_the_first_worker_lost_it() -> None:
    state = RedisState()
    state.update([RedisOutage(101.0, "b"), RedisOutage(100.0, "a")], 110.0)
    state.update([RedisOutage(105.0, "c")], 111.0)
    assert state.outage == RedisOutage(100.0, "c")


def test_a_refusal_is_logged_as_what_it_is(caplog: pytest.LogCaptureFixture) -> None:
    state = RedisState()
    refused = RedisOutage(101.0, "h:1: NOPERM", "~rate_limit:*")
    away = RedisOutage(100.0, "h:1: connection lost")
    for seen in ([away], [refused], [refused], []):
        state.update(seen, 110.0)
    assert [record.message for record in caplog.records] == [
        "Failed to connect to Redis",
        REFUSES,
        "Redis accepts limits again",
    ]
    assert caplog.records[1].__dict__["lacks"] == "~rate_limit:*"


def test_refused_credentials_are_named_also_when_an_outage_becomes_that(
    caplog: pytest.LogCaptureFixture,
) -> None:
    state = RedisState()
    away = RedisOutage(100.0, "h:1: connection refused")
    denied = RedisOutage(101.0, "h:1: WRONGPASS invalid username-password pair", denied=True)
    for seen in ([away], [denied], [denied], []):
        state.update(seen, 110.0)
    reasons = [(record.message, record.__dict__.get("reason")) for record in caplog.records]
    assert reasons == [
        ("Failed to connect to Redis", "h:1: connection refused"),
        (
            "Failed to connect to Redis",
            "it refuses the gateway's user or password: h:1: WRONGPASS invalid username-password pair",
        ),
        ("Redis answers again", None),
    ]
