"""Transcripts of one data plane: what is published, what it answers, and what it is sent."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from controlplane.distribute.subscriber import Mark, Subscriber, Whole
from controlplane.model.resources import Scope
from controlplane.model.snapshot import Delta, Snapshot
from controlplane.model.stored import Stamped
from controlplane.model.trail import Trail


def at(revision: int, content: int | None = None, needs: str = "") -> Snapshot:
    """A snapshot whose only resource last changed at `content`, and needs this capability."""
    stamped = Stamped(Scope(name="x"), revision if content is None else content)
    needed = {needs: {("scope", "x"): "colour"}} if needs else {}
    return Snapshot(revision, MappingProxyType({("scope", "x"): stamped}), needed=needed)


class Script:
    """Plays lines like `publish 5`, `ack 5`, and writes down what goes out after each.

    A line `hello 5` or `hello 5 as of 4` begins anew, with a data plane that takes deltas and serves this (0: nothing);
    `hello 5 refusing 7` with one that cannot use the latter; `hello 5 knowing colours` with one that names this
    capability, which `publish 7 needing colours` asks for. `plain 5` is one that takes no deltas. `accepted 4` is what
    the fleet served before. The trail reaches back to revision 3.
    """

    def __init__(self) -> None:
        self.subscriber = Subscriber()
        self.current: Snapshot | None = None
        self.accepted: Snapshot | None = None
        self._trail = Trail()
        self._trail.add(3, ())

    def play(self, *lines: str) -> list[str]:
        return [f"{line}: {self._outcome(line)}" for line in lines]

    def _outcome(self, line: str) -> str:
        verb, _, rest = line.partition(" ")
        rest, _, needs = rest.partition(" needing ")
        rest, _, known = rest.partition(" knowing ")
        rest, _, refused = rest.partition(" refusing ")
        revision, _, content = rest.partition(" as of ")
        if verb == "accepted":
            self.accepted = at(int(revision), needs=needs)
            return self._told(None)
        if verb == "publish":
            self.current = at(int(revision), int(content) if content else None, needs)
            self._trail.add(int(revision), [("scope", "x")])
        elif verb in ("hello", "plain"):
            held = Mark.of(at(int(revision), int(content) if content else None)) if int(revision) else None
            cannot = Mark.of(at(int(refused))) if refused else None
            between = self._between if verb == "hello" else None
            self.subscriber = Subscriber(held, between, cannot, frozenset(known.split()))
        elif verb in ("ack", "nack", "mismatch"):
            if not getattr(self.subscriber, verb)(int(revision)):
                return "no answer to anything"
        elif verb == "tick":
            return self._told(self.subscriber.mark(self.current))
        told = self._told(self.subscriber.next(self.current, self.accepted))
        withheld = self.subscriber.withheld
        return f"{told}, withhold {withheld.revision}" if withheld else told

    def _between(self, base: Mark, current: Snapshot) -> Delta | None:
        return self._trail.between(base.revision, base.digest, current)

    def _told(self, sent: Snapshot | Delta | None) -> str:
        match sent:
            case Delta():
                return f"send {sent.base_revision}..{sent.revision}"
            case Snapshot():
                return f"send {sent.revision}"
        return "-"


@pytest.mark.parametrize(
    "transcript",
    [
        pytest.param(["look: -", "publish 5: send 5", "ack 5: -"], id="a snapshot as soon as there is one"),
        pytest.param(
            ["publish 5: send 5", "publish 6: -", "ack 5: send 6", "ack 6: -"],
            id="one at a time",
        ),
        pytest.param(
            ["publish 5: send 5", "publish 6: -", "publish 7: -", "publish 8: -", "ack 5: send 8"],
            id="the latest wins, what came between is skipped",
        ),
        pytest.param(
            [
                "publish 5: send 5",
                "ack 5: -",
                "publish 6: send 6",
                "nack 6: -",
                "look: -",
                "publish 7: send 7",
            ],
            id="a rejected revision is not sent again, a newer one is",
        ),
        pytest.param(
            [
                "publish 5: send 5",
                "publish 6: -",
                "nack 5: send 6",
                "nack 6: -",
                "publish 7: send 7",
                "ack 7: -",
            ],
            id="rejections in a row",
        ),
        pytest.param(
            ["publish 5: send 5", "ack 5: -", "publish 9 as of 5: -", "publish 10: send 10"],
            id="a revision that changed nothing is not sent",
        ),
        pytest.param(
            ["publish 5: send 5", "nack 5: -", "publish 9 as of 5: -", "publish 10: send 10"],
            id="the same content stays rejected under a newer revision",
        ),
        pytest.param(
            ["publish 5: send 5", "ack 5: -", "publish 6: send 6", "nack 6: -", "publish 7 as of 5: -"],
            id="back to what the node has: nothing to send",
        ),
        pytest.param(
            ["publish 5: send 5", "ack 5: -", "publish 6: send 6", "ack 6: -", "publish 7 as of 5: send 7"],
            id="back to what the node had: sent under its new revision",
        ),
        pytest.param(
            ["publish 5: send 5", "ack 5: -", "publish 4: -", "publish 6: send 6"],
            id="never backwards",
        ),
        pytest.param(
            ["ack 5: no answer to anything", "nack 5: no answer to anything", "publish 5: send 5"],
            id="answers before anything was sent",
        ),
        pytest.param(
            [
                "publish 5: send 5",
                "publish 6: -",
                "ack 6: no answer to anything",
                "ack 4: no answer to anything",
            ],
            id="an answer to what was never sent leaves 5 unanswered",
        ),
        pytest.param(
            [
                "publish 5: send 5",
                "ack 5: -",
                "ack 5: no answer to anything",
                "nack 5: no answer to anything",
            ],
            id="an answer counts once",
        ),
        pytest.param(
            ["publish 7: send 7", "hello 5: send 5..7", "ack 7: -", "publish 8: send 7..8"],
            id="one with a configuration gets the difference",
        ),
        pytest.param(
            [
                "publish 7: send 7",
                "hello 5: send 5..7",
                "publish 8: -",
                "publish 9: -",
                "publish 10: -",
                "ack 7: send 7..10",
            ],
            id="a slow one gets one merged delta",
        ),
        pytest.param(["publish 7: send 7", "hello 2: send 7"], id="too old for a delta"),
        pytest.param(
            ["publish 7: send 7", "hello 7: send 7..7", "ack 7: -", "tick: -"],
            id="one that is up to date is told so, once",
        ),
        pytest.param(
            ["publish 7: send 7", "hello 9: send 7"],
            id="one from a later store gets the present snapshot",
        ),
        pytest.param(
            [
                "publish 7: send 7",
                "hello 5: send 5..7",
                "tick: -",
                "ack 7: -",
                "publish 9 as of 7: -",
                "publish 11 as of 7: -",
                "tick: send 7..11",
                "tick: -",
                "ack 11: -",
                "publish 12: send 11..12",
            ],
            id="revisions that changed nothing make one mark",
        ),
        pytest.param(
            ["publish 7: send 7", "ack 7: -", "publish 9 as of 7: -", "tick: -"],
            id="who takes no deltas gets no marks",
        ),
        pytest.param(
            [
                "publish 7: send 7",
                "hello 5: send 5..7",
                "mismatch 7: send 7",
                "ack 7: -",
                "publish 8: send 7..8",
            ],
            id="a delta that does not fit is followed by a snapshot",
        ),
        pytest.param(
            ["publish 7: send 7", "hello 5: send 5..7", "publish 8: -", "mismatch 7: send 8"],
            id="by the latest",
        ),
        pytest.param(
            ["publish 7: send 7", "hello 5: send 5..7", "mismatch 6: no answer to anything"],
            id="a mismatch that answers nothing",
        ),
        pytest.param(
            [
                "publish 7: send 7",
                "hello 5: send 5..7",
                "nack 7: -",
                "tick: -",
                "publish 8 as of 7: -",
                "publish 9: send 5..9",
            ],
            id="after a rejection the base is what is served still",
        ),
        pytest.param(
            [
                "accepted 4: -",
                "publish 5: send 5",
                "nack 5: send 4",
                "publish 5: -",
                "ack 4: -",
                "tick: -",
                "publish 6: send 6",
                "nack 6: -",
            ],
            id="who has nothing, and refuses what is published, gets what the others accepted",
        ),
        pytest.param(
            [
                "accepted 4: -",
                "publish 5: send 5",
                "nack 5: send 4",
                "nack 4: no answer to anything",
                "look: -",
                "publish 6: send 6",
                "nack 6: -",
                "accepted 6: -",
                "publish 7: send 7",
                "nack 7: send 6",
            ],
            id="which is tried once, and is no rejection of what is published",
        ),
        pytest.param(
            ["accepted 5: -", "publish 5: send 5", "nack 5: -"],
            id="what is published is nothing else than itself",
        ),
        pytest.param(
            ["accepted 4: -", "publish 7: send 7", "hello 5: send 5..7", "nack 7: -", "look: -"],
            id="who serves something keeps it",
        ),
        pytest.param(
            [
                "accepted 4: -",
                "publish 7: send 7",
                "hello 5: send 5..7",
                "mismatch 7: send 7",
                "nack 7: -",
                "look: -",
            ],
            id="also when a delta did not fit that",
        ),
        pytest.param(
            [
                "publish 7: send 7",
                "hello 5 refusing 7: send 5..5",
                "look: -",
                "ack 5: -",
                "tick: -",
                "publish 9 as of 7: -",
                "publish 10: send 5..10",
            ],
            id="what was refused on another stream is not sent on this one",
        ),
        pytest.param(
            ["publish 7: send 7", "hello 5 refusing 6: send 5..7"],
            id="what is published now may be of use",
        ),
        pytest.param(
            ["accepted 4: -", "publish 7: send 7", "hello 0 refusing 7: send 4", "ack 4: -"],
            id="also by one that has nothing",
        ),
        pytest.param(
            ["publish 7: send 7", "hello 0 refusing 7: send 7", "nack 7: -", "look: -"],
            id="it is better than silence",
        ),
        pytest.param(
            [
                "publish 5: send 5",
                "ack 5: -",
                "publish 6 needing colours: -, withhold 6",
                "publish 7 needing colours: -, withhold 7",
                "tick: -",
                "publish 8: send 8",
            ],
            id="what it does not know is withheld until it is gone",
        ),
        pytest.param(
            ["publish 7 needing colours: -, withhold 7", "look: -, withhold 7", "publish 8: send 8"],
            id="who has nothing gets nothing then",
        ),
        pytest.param(
            ["accepted 4: -", "publish 7 needing colours: -, withhold 7"],
            id="nor what others accepted before, which may let more through than is wanted now",
        ),
        pytest.param(
            ["publish 7 needing colours: -, withhold 7", "hello 0 knowing colours: send 7", "ack 7: -"],
            id="who knows it gets it",
        ),
        pytest.param(
            [
                "publish 7 needing colours: -, withhold 7",
                "hello 5 knowing shapes: send 5..5, withhold 7",
                "ack 5: -, withhold 7",
                "publish 8: send 5..8",
            ],
            id="who has something is told that it is connected, and catches up",
        ),
        pytest.param(
            ["publish 7 needing colours: -, withhold 7", "plain 5: -, withhold 7", "publish 8: send 8"],
            id="unless it takes no deltas",
        ),
        pytest.param(
            ["publish 5: send 5", "publish 6 needing colours: -, withhold 6", "nack 5: -, withhold 6"],
            id="whatever it answers",
        ),
        pytest.param(
            [
                "publish 7 needing colours: -, withhold 7",
                "hello 7: send 7..7, withhold 7",
                "ack 7: -, withhold 7",
                "publish 9 as of 7 needing colours: -, withhold 9",
                "tick: -",
            ],
            id="who has it from a version that knew it is shown",
        ),
        pytest.param(
            [
                "publish 5: send 5",
                "ack 5: -",
                "publish 6 needing colours: -, withhold 6",
                "publish 7 as of 5: -",
            ],
            id="back to what it has",
        ),
        pytest.param(
            ["accepted 4 needing colours: -", "publish 5: send 5", "nack 5: -"],
            id="what it does not know is no help either",
        ),
    ],
)
def test_transcript(transcript: list[str]) -> None:
    assert Script().play(*(line.partition(":")[0] for line in transcript)) == transcript


def test_sent_acked_and_nacked_are_separate_facts() -> None:
    script = Script()
    script.play("publish 5", "ack 5", "publish 6", "nack 6", "publish 7")
    subscriber = script.subscriber
    assert (subscriber.acked, subscriber.nacked) == (Mark(5, at(5).digest), Mark(6, at(6).digest))
    assert subscriber.sent == Mark(7, at(7).digest)
    assert repr(subscriber) == "<Subscriber held 5, sent 7, acked 5, nacked 6, unanswered>"


def test_why_a_message_is_no_delta() -> None:
    script = Script()
    reasons = []
    for line in ("publish 7", "hello 7", "hello 2", "mismatch 7", "accepted 4", "hello 0", "nack 7", "ack 4"):
        script.play(line)
        reasons.append(script.subscriber.whole)
    first, unknown, mismatch, instead = Whole.FIRST, Whole.UNKNOWN_BASE, Whole.MISMATCH, Whole.INSTEAD
    assert reasons == [first, None, unknown, mismatch, mismatch, first, instead, instead]
    without_deltas = Subscriber(Mark.of(at(5)))
    without_deltas.next(at(7))
    assert without_deltas.whole is Whole.NO_DELTAS


def test_answers_name_what_they_answer() -> None:
    subscriber = Subscriber()
    subscriber.next(at(5))
    assert subscriber.ack(5) == Mark(5, at(5).digest)
