"""Decodes questions of operators, and writes the answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from dataplane.config.decode.bundle import PART_RESOURCES
from dataplane.config.decode.resource import decode
from dataplane.config.table import Item, ResourceKey, Steps
from headgate_api.v1 import questions_pb2 as pb
from headgate_api.v1.resources_pb2 import Resource


@dataclass(frozen=True, slots=True)
class ExplainQuestion:
    """What would the gateway decide about this request?"""

    head: bytes = field(repr=False)
    """As it comes over a connection."""
    address: str
    secure: bool
    revision: int
    """0: of the configuration in use; otherwise of the one with these resources instead."""
    resources: tuple[Resource, ...] = field(default=(), repr=False)
    removed: tuple[ResourceKey, ...] = ()

    def decoding(self) -> Steps[list[tuple[ResourceKey, Item]]]:
        """The resources, decoded in steps of about half a millisecond. Raises TableError."""
        found: list[tuple[ResourceKey, Item]] = []
        for start in range(0, len(self.resources), PART_RESOURCES):
            for one in self.resources[start : start + PART_RESOURCES]:
                found.append(((one.WhichOneof("body") or "", one.name), decode(one)))
            yield
        return found


@dataclass(frozen=True, slots=True)
class TapQuestion:
    """Report the next requests that match."""

    route: str
    service: str
    least_status: int
    most_status: int
    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class StopQuestion:
    """No more answers are wanted."""


Question = ExplainQuestion | TapQuestion | StopQuestion


class BadQuestion(Exception):
    """The question cannot be answered; the message is one sentence, and quotes nothing of it."""

    def __init__(self, reason: str, question: str = "") -> None:
        """`question` is its id, if that could be read."""
        super().__init__(reason)
        self.question = question


def read_question(data: bytes) -> tuple[str, Question]:
    """The id of a question, and the question. Raises BadQuestion."""
    try:
        message = pb.Question.FromString(data)
    except DecodeError:
        raise BadQuestion("It is not a question.") from None
    match message.WhichOneof("about"):
        case "explain":
            return message.id, _explain(message.explain, message.id)
        case "tap":
            tap = message.tap
            return message.id, TapQuestion(
                tap.route, tap.service, tap.least_status, tap.most_status, tap.count, tap.seconds
            )
        case "stop":
            return message.id, StopQuestion()
    raise BadQuestion("This version of the data plane does not know the question.", message.id)


def _explain(message: pb.Explain, question: str) -> ExplainQuestion:
    lines = [
        f"{message.method} {message.target} HTTP/1.1",
        *(f"{one.name}: {one.value}" for one in message.fields),
    ]
    if any(char in line for line in lines for char in "\r\n\0") or " " in message.method + message.target:
        raise BadQuestion("The request has characters that no head has.", question)
    head = "".join(f"{line}\r\n" for line in lines) + "\r\n"
    return ExplainQuestion(
        head.encode(),
        message.address,
        message.secure,
        message.revision,
        tuple(message.changed),
        tuple((gone.kind, gone.name) for gone in message.removed),
    )


@dataclass(frozen=True, slots=True)
class ToldStep:
    """One step of a decision."""

    stage: str
    outcome: str
    text: str
    details: str
    """A JSON object, or empty."""


@dataclass(frozen=True, slots=True)
class Told:
    """An explanation, as it is sent."""

    revision: int
    worker: int
    status: int
    decision: str
    detail: str
    reason: str
    route: str
    service: str
    instance: str
    steps: tuple[ToldStep, ...]


def explanation_answer(question: str, told: Told) -> bytes:
    """The only answer to a question for an explanation."""
    steps = [
        pb.ExplainedStep(stage=one.stage, outcome=one.outcome, text=one.text, details=one.details)
        for one in told.steps
    ]
    explanation = pb.Explanation(
        revision=told.revision,
        worker=told.worker,
        status=told.status,
        decision=told.decision,
        detail=told.detail,
        reason=told.reason,
        route=told.route,
        service=told.service,
        instance=told.instance,
        steps=steps,
    )
    return pb.Answer(id=question, explanation=explanation, last=True).SerializeToString()


def tapped_answer(question: str, requests: Iterable[str], skipped: int, *, last: bool) -> bytes:
    """One of the answers to a tap."""
    tapped = pb.Tapped(requests=requests, skipped=skipped)
    return pb.Answer(id=question, tapped=tapped, last=last).SerializeToString()


def problem_answer(question: str, problem: str) -> bytes:
    """The only answer to a question that cannot be answered."""
    return pb.Answer(id=question, problem=problem, last=True).SerializeToString()


def answered(data: bytes) -> tuple[str, bool]:
    """The id of the question that an answer is for, and whether no other follows."""
    message = pb.Answer.FromString(data)
    return message.id, message.last


def not_last(data: bytes) -> bytes:
    """The answer, with others to follow."""
    message = pb.Answer.FromString(data)
    message.last = False
    return message.SerializeToString()


def stop_question(question: str) -> bytes:
    """The question that ends another one."""
    return pb.Question(id=question, stop=pb.Stop()).SerializeToString()
