"""One connection to Redis: the reason of its end."""

from __future__ import annotations

import pytest

from dataplane.redis.connection import Connection, Owner, RedisError
from tests.support.fake_transport import FakeTransport


async def test_a_complaint_before_the_first_question_is_the_reason() -> None:
    """In protected mode Redis closes each connection of another machine with it."""
    connection = Connection(Owner())
    FakeTransport(connection, lambda call: None, "192.0.2.1")
    connection.data_received(b"-DENIED Redis is running in protected mode.\r\n")
    with pytest.raises(RedisError, match="DENIED Redis is running in protected mode"):
        await connection.replies((b"PING",))
