"""Copies of requests without sockets: their time, their end, and bytes that nobody keeps."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest

from dataplane.proxy.copies import LONGEST, MOST_ANSWER, Copier, Copy, Discarding
from dataplane.proxy.exchange import Exchange, Forwarding, Result
from dataplane.proxy.phases import DONE, RECEIVING, WAITING


class Sent:
    """A copy that was just made, and its ends."""

    def __init__(self, *, idle: bool = True, total: float = 0.0) -> None:
        self.ends: list[Result] = []
        self.copies: set[Any] = set()
        self.dialer, self.upstream = mock.Mock(), mock.Mock()
        client = SimpleNamespace(peer=None, address="192.0.2.1", entrance=None, forwarded=b"")
        original = Exchange(cast(Any, client), None, b"id")
        original.complete, original.received = True, 3
        self.endpoint = mock.Mock(idle=[self.upstream] if idle else [])
        plan = Forwarding("r", "s")
        plan.total_timeout, plan.response_timeout, plan.idle_timeout = total, 2.0, 3.0
        copier = Copier(self.dialer, cast(Any, SimpleNamespace(copies=self.copies)), 10)
        self.copier = copier
        copier.send(original, [b"abc"], plan, self.endpoint, self.ends.append)
        (self.client,) = self.copies
        assert isinstance(self.client, Copy)
        self.exchange = cast(Exchange, self.client.current)


async def test_a_copy_is_whole_and_goes_out_after_the_callback_that_made_it() -> None:
    made = Sent(idle=False)
    assert (made.exchange.complete, made.exchange.body, made.exchange.received) == (True, [b"abc"], 3)
    made.dialer.dial.assert_not_called()
    await asyncio.sleep(0)
    made.dialer.dial.assert_called_once_with(made.exchange)


async def test_a_copy_that_has_ended_before_is_not_sent() -> None:
    made = Sent(idle=False)
    made.copier.stop()
    await asyncio.sleep(0)
    made.dialer.dial.assert_not_called()
    assert made.ends == [Result.FAILED] and not made.copies


async def test_a_fault_ends_only_the_copy(caplog: pytest.LogCaptureFixture) -> None:
    made = Sent(idle=False)
    made.dialer.dial.side_effect = RuntimeError("broken")
    await asyncio.sleep(0)
    assert made.ends == [Result.FAILED] and "sending a copy failed" in caplog.text


@pytest.mark.parametrize(("total", "longest"), [(0.0, LONGEST), (1.5, 1.5)])
async def test_it_has_its_time(total: float, longest: float) -> None:
    made = Sent(total=total)
    client, start = made.client, made.exchange.started
    assert client.deadline == start + longest
    client.sending(made.exchange, start)
    assert (client.phase, client.deadline) == (WAITING, start + min(2.0, longest))
    client.touch(made.exchange, start)
    assert (client.phase, client.deadline) == (RECEIVING, start + min(3.0, longest))


@pytest.mark.parametrize(("status", "result"), [(0, Result.FAILED), (200, Result.ANSWERED)])
async def test_it_ends_once(status: int, result: Result) -> None:
    made = Sent()
    made.exchange.status, made.exchange.upstream = status, made.upstream
    made.client.expire(1.0)
    made.client.completed(made.exchange, 2.0)
    made.client.failed(made.exchange, None, Result.FAILED)
    made.client.expire(3.0)
    assert made.ends == [result] and made.client.phase == DONE and made.client.current is None
    made.upstream.cancel.assert_called_once_with()


async def test_a_long_answer_is_not_read_on() -> None:
    made = Sent()
    made.exchange.sent = MOST_ANSWER
    made.client.touch(made.exchange, 5.0)
    assert not made.client.write_paused
    made.exchange.sent += 1
    made.client.touch(made.exchange, 5.0)
    assert made.client.write_paused and made.client.deadline == 5.0


def test_bytes_are_kept_nowhere() -> None:
    out = Discarding()
    out.write(b"a")
    out.writelines([b"b"], 1)
    for end in (out.flush, out.drop, out.write_eof, out.close, out.abort):
        end()
