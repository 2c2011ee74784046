"""Questions of operators at the supervisor: each gets one last answer, whatever the workers do."""

from __future__ import annotations

import pytest

from dataplane.channel import Kind
from dataplane.config.decode.question import problem_answer, stop_question, tapped_answer
from dataplane.supervisor.answering import MOST_EXPLAINED, MOST_TAPS, Answering
from headgate_api.v1 import questions_pb2 as pb


class Worker:
    def __init__(self, name: str) -> None:
        self.name = name
        self.questions: list[pb.Question] = []

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        assert kind is Kind.QUESTION
        self.questions.append(pb.Question.FromString(payload))


class Node:
    """Two workers, and the answers that the control plane gets."""

    def __init__(self) -> None:
        self.workers = [Worker("0.1"), Worker("1.1")]
        self.replies: list[pb.Answer] = []
        self.answering = Answering(
            lambda: self.workers, lambda data: self.replies.append(pb.Answer.FromString(data))
        )

    def tap(self, number: str) -> None:
        self.answering.take(pb.Question(id=number, tap=pb.Tap(count=9)).SerializeToString())

    def explain(self, number: str) -> None:
        self.answering.take(pb.Question(id=number, explain=pb.Explain(target="/")).SerializeToString())

    def last(self) -> pb.Answer:
        return self.replies[-1]


@pytest.fixture
async def node() -> Node:
    return Node()


async def test_a_tap_ends_with_its_last_worker(node: Node) -> None:
    node.tap("t")
    one, two = node.workers
    assert len(one.questions) == len(two.questions) == 1
    node.answering.answered(one, tapped_answer("t", ["{}"], 0, last=True))
    assert not node.last().last and list(node.last().tapped.requests) == ["{}"]
    node.answering.answered(two, tapped_answer("t", (), 1, last=False))
    node.answering.answered(two, tapped_answer("t", (), 2, last=True))
    assert node.last().last and node.last().tapped.skipped == 2
    node.answering.answered(two, tapped_answer("t", ["late"], 0, last=True))
    assert len(node.replies) == 3


async def test_workers_that_end(node: Node) -> None:
    node.tap("t")
    node.explain("e")
    assert [len(each.questions) for each in node.workers] == [2, 1], "one explains"
    node.answering.ended("0.1")
    assert (node.last().id, node.last().last) == ("e", True) and "ended" in node.last().problem
    node.answering.ended("1.1")
    assert (node.last().id, node.last().last) == ("t", True)


async def test_a_question_that_is_stopped(node: Node) -> None:
    node.tap("t")
    node.answering.take(stop_question("t"))
    node.answering.take(stop_question("unknown"))
    assert [each.questions[-1].WhichOneof("about") for each in node.workers] == ["stop", "stop"]
    assert [len(each.questions) for each in node.workers] == [2, 2]


async def test_a_lost_stream_ends_all(node: Node) -> None:
    node.tap("t")
    node.answering.lost()
    assert node.workers[0].questions[-1].HasField("stop")
    node.answering.answered(node.workers[0], problem_answer("t", "x"))
    assert not node.replies


async def test_too_many_and_nobody(node: Node) -> None:
    for number in range(MOST_TAPS + 1):
        node.tap(f"t{number}")
    assert [reply.id for reply in node.replies] == [f"t{MOST_TAPS}"]
    for number in range(MOST_EXPLAINED + 1):
        node.explain(f"e{number}")
    assert node.last().id == f"e{MOST_EXPLAINED}" and "try later" in node.last().problem
    node.answering.lost()
    node.workers.clear()
    node.explain("e")
    assert "No worker" in node.last().problem


async def test_questions_that_are_none(node: Node) -> None:
    node.answering.take(b"\xff")
    assert node.last().last and "not a question" in node.last().problem
    node.answering.take(pb.Question(id="new").SerializeToString())
    assert node.last().id == "new" and "does not know" in node.last().problem
