"""Forwards asks about limits of the fleet to the control plane that owns the limit, and the answers back.

Asks come over the config streams of the data planes that are connected here, and over `Lend` from control planes that
have others. An ask is for one owner: if it cannot be answered, it is refused, and the worker asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from controlplane.limits.claims import Claims
from controlplane.limits.desk import COARSE, Desk, NotOwned, coarse_name
from controlplane.limits.partitions import partition_of
from controlplane.model.pool import DEFAULT_POOL
from controlplane.model.resources import RateLimit
from controlplane.rpc.own_reports import OwnReports
from headgate_api.leases import codec
from headgate_api.v1 import limits_pb2 as pb

Reply = Callable[[pb.LimitAnswers], None]


class Link(Protocol):
    """The way to another control plane. `rpc.limit_links.LimitLinks` implements it."""

    def send(self, controlplane: str, asks: pb.LimitAsks) -> bool:
        """Queue asks; False when they are certainly not sent. `answered` or `lost` of the routes is called later."""

    def tell(self, asks: pb.LimitAsks) -> None:
        """Send the list of a data plane's workers to all control planes that got asks lately."""


class LimitRoutes:
    """The routes of one control plane."""

    def __init__(self, desk: Desk, claims: Claims, link: Link | None = None) -> None:
        """Without a `link` only asks about limits of this control plane are answered."""
        self.link = link
        self._desk = desk
        self._claims = claims
        self._replies: dict[str, Reply] = {}

    @contextmanager
    def replies(self, node: str, reply: Reply) -> Iterator[None]:
        """Answers to this data plane go to `reply` within the block."""
        self._replies[node] = reply
        try:
            yield
        finally:
            if self._replies.get(node) is reply:
                del self._replies[node]

    def take(self, node: str, asks: pb.LimitAsks, allowed: OwnReports | None = None) -> None:
        """Asks of a data plane that is connected here; those about limits of other pools are refused."""
        asks.node = node
        pool = allowed.pool if allowed is not None else DEFAULT_POOL
        by_owner: dict[str, list[pb.LimitAsk]] = {}
        for ask in asks.asks:
            if allowed is not None and not _may_ask(allowed, ask.limit):
                by_owner.setdefault("", []).append(ask)
                continue
            if ask.limit == COARSE:
                ask.limit = coarse_name(pool)
            owner = self._claims.owners.get(partition_of(ask.limit), "")
            by_owner.setdefault(owner, []).append(ask)
        own = by_owner.pop(self._claims.name, [])
        refused = by_owner.pop("", [])
        for owner, some in by_owner.items():
            if self.link is None or not self.link.send(owner, _part(asks, some)):
                refused += some
        answers = self.answer(_part(asks, own))
        answers.answers.extend(map(codec.refusal, refused))
        if not asks.asks and self.link is not None:
            self.link.tell(asks)
        if answers.answers:
            self.answered(answers)

    def owner_of(self, limit: str) -> str:
        """The control plane that owns the limit of this name; empty if there is none."""
        return self._desk.owner(limit)

    def answer(self, asks: pb.LimitAsks) -> pb.LimitAnswers:
        """The answers of this control plane; asks about limits that it does not own are refused."""
        answers = pb.LimitAnswers(node=asks.node, run=asks.run)
        running = self._desk.hear(asks.node, asks.run, asks.sequence, asks.workers)
        if running is None:
            return answers
        for ask in asks.asks:
            holder = asks.node, asks.run, ask.worker
            if ask.worker not in running:
                # It has ended meanwhile, and its end would not be reported again.
                answers.answers.append(codec.refusal(ask))
                continue
            try:
                answer = self._desk.ask(ask.limit, ask.counts_by, holder, codec.read_ask(ask))
            except (NotOwned, ValueError):
                answers.answers.append(codec.refusal(ask))
            else:
                if answer is not None:
                    answers.answers.append(codec.answer_message(ask, answer))
        return answers

    def answered(self, answers: pb.LimitAnswers) -> None:
        """Pass answers on to the data plane, if it is still connected here."""
        if (reply := self._replies.get(answers.node)) is not None:
            for one in answers.answers:
                if one.limit.startswith(COARSE):
                    one.limit = COARSE
            reply(answers)


def _may_ask(own: OwnReports, limit: str) -> bool:
    """The names of the settings' limit for other pools are the control planes' own."""
    return limit == COARSE or (not limit.startswith(COARSE) and own.has(RateLimit.KIND, limit))


def _part(asks: pb.LimitAsks, some: list[pb.LimitAsk]) -> pb.LimitAsks:
    return pb.LimitAsks(node=asks.node, run=asks.run, sequence=asks.sequence, workers=asks.workers, asks=some)
