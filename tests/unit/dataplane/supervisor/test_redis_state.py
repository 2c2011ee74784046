"""What workers see of Redis, as one state of the node that is logged when it changes."""

from __future__ import annotations

import pytest

from dataplane.supervisor.redis_state import RedisOutage, RedisState


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
