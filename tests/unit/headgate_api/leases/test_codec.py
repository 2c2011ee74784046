"""What of an ask is believed: it may come from a data plane that is out of order."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from headgate_api.leases import codec
from headgate_api.leases.messages import MOST_WANTS, Ask, Want
from headgate_api.v1 import limits_pb2 as pb


def message() -> pb.LimitAsk:
    ask = Ask(5.0, -math.inf, 3, (Want("alice", 1.0, 0.0, 4.0),), 2)
    return codec.ask_message("callers", "subject", ask)


def test_an_ask_is_read_as_it_was_written() -> None:
    assert codec.read_ask(message()) == Ask(5.0, -math.inf, 3, (Want("alice", 1.0, 0.0, 4.0),), 2)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda ask: setattr(ask, "stamp", math.nan),
        lambda ask: setattr(ask, "stamp", math.inf),
        lambda ask: setattr(ask, "answered", math.nan),
        lambda ask: setattr(ask.wants[0], "holds", math.nan),
        lambda ask: setattr(ask.wants[0], "back", -1.0),
        lambda ask: setattr(ask.wants[0], "wants", math.inf),
        lambda ask: setattr(ask.wants[0], "key", b"x" * 5000),
        lambda ask: setattr(ask.wants[0], "key", b"\xff"),
        lambda ask: ask.wants.extend([ask.wants[0]] * MOST_WANTS),
    ],
)
def test_what_no_holder_says_is_not_believed(spoil: Callable[[pb.LimitAsk], None]) -> None:
    ask = message()
    spoil(ask)
    with pytest.raises(ValueError):
        codec.read_ask(ask)
