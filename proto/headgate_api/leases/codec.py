"""Messages between owner and holder, in the wire format."""

from __future__ import annotations

import math

from headgate_api.leases.messages import MOST_WANTS, Answer, Ask, Grant, Want
from headgate_api.v1 import limits_pb2 as pb

_MOST = 1e12
"""The largest amount, in tokens."""
_LONGEST_KEY = 4096
"""Bytes. Workers shorten values of clients to less."""


def ask_message(limit: str, counts_by: str, ask: Ask) -> pb.LimitAsk:
    """An ask about this limit; the supervisor adds the worker's name."""
    return pb.LimitAsk(
        limit=limit,
        counts_by=counts_by,
        stamp=ask.stamp,
        answered=ask.answered,
        starter=ask.starter,
        run=ask.run,
        wants=[
            pb.LimitWant(
                key=_bytes(key), holds=holds, back=back, wants=wants, credit=credit, spent=spent, reset=reset
            )
            for key, holds, back, wants, credit, spent, reset in ask.wants
        ],
    )


def read_ask(message: pb.LimitAsk) -> Ask:
    """Raises ValueError for a message that no holder sends: an amount that is not a number would corrupt an account
    permanently."""
    if len(message.wants) > MOST_WANTS or any(len(want.key) > _LONGEST_KEY for want in message.wants):
        raise ValueError("there are too many keys, or too long ones")
    if not math.isfinite(message.stamp) or math.isnan(message.answered):
        raise ValueError("a stamp is not a number")
    wants = tuple(
        Want(_text(want.key), want.holds, want.back, want.wants, want.credit, want.spent, want.reset)
        for want in message.wants
    )
    for want in wants:
        amounts = want.back, want.wants, want.credit, want.spent
        if not (abs(want.holds) <= _MOST and all(0 <= amount <= _MOST for amount in amounts)):
            raise ValueError("an amount is out of range")
    return Ask(message.stamp, message.answered, message.starter, wants, message.run)


def answer_message(asked: pb.LimitAsk, answer: Answer) -> pb.LimitAnswer:
    """The owner's answer to an ask."""
    return pb.LimitAnswer(
        limit=asked.limit,
        counts_by=asked.counts_by,
        worker=asked.worker,
        stamp=answer.stamp,
        epoch=answer.epoch,
        starter=answer.starter,
        lease=answer.lease,
        pace=answer.pace,
        grants=[
            pb.LimitGrant(tokens=tokens, target=target, forget=forget, pool=pool)
            for _, tokens, target, forget, pool in answer.grants
        ],
        drained=[_bytes(key) for key in answer.drained],
    )


def refusal(asked: pb.LimitAsk) -> pb.LimitAnswer:
    """No owner was reached: the holder may ask again."""
    return pb.LimitAnswer(
        limit=asked.limit, counts_by=asked.counts_by, worker=asked.worker, stamp=asked.stamp
    )


def read_answer(message: pb.LimitAnswer) -> Answer:
    """An answer, its grants without their keys. `epoch` is 0 in a refusal."""
    grants = tuple(
        Grant("", grant.tokens, grant.target, grant.forget, grant.pool) for grant in message.grants
    )
    drained = tuple(_text(key) for key in message.drained)
    return Answer(message.stamp, message.epoch, message.starter, message.lease, message.pace, grants, drained)


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogatepass")
