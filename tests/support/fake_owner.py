"""The owner of one limit, at a control plane that tests drive (`fake_controlplane.FakeControlPlane.lend`)."""

from __future__ import annotations

import time

from headgate_api.leases import codec
from headgate_api.leases.messages import Limit
from headgate_api.leases.owner import Owner
from headgate_api.v1 import limits_pb2 as pb


class FakeOwner:
    """Answers the asks of one data plane."""

    def __init__(self, limit: Limit) -> None:
        self._owner = Owner(limit, 1, time.monotonic(), takeover=False, stored=False)
        self.runs: list[str] = []
        """The runs of the data plane, in the order of their first messages."""
        self.workers: set[str] = set()
        """The workers in the last message."""

    def answer(self, asks: pb.LimitAsks) -> pb.LimitAnswers:
        """The answers to a message. Workers that it does not name have ended."""
        now = time.monotonic()
        if asks.run not in self.runs:
            self.runs.append(asks.run)
        holders = {f"{asks.run}/{worker}" for worker in asks.workers}
        for holder in set(self._owner.roll.members) - holders:
            self._owner.leave(holder, now)
        self.workers = set(asks.workers)
        answers = pb.LimitAnswers(run=asks.run)
        for ask in asks.asks:
            answer = self._owner.ask(f"{asks.run}/{ask.worker}", codec.read_ask(ask), now)
            if answer is not None:
                answers.answers.append(codec.answer_message(ask, answer))
        return answers
