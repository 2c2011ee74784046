"""Questions of operators, and answers to them, as messages."""

from __future__ import annotations

import json
from typing import Any

from controlplane.fleet.questions import (
    MOST_BYTES,
    Explain,
    Explanation,
    Question,
    Reply,
    Step,
    Tap,
    Tapped,
    Unanswered,
)
from controlplane.rpc.wire import resource_messages
from headgate_api.v1 import questions_pb2 as pb
from headgate_api.v1 import resources_pb2


def question(asked: Question, number: str) -> pb.Question:
    """The message of a question with this id. Raises Unanswered if it is too large."""
    if isinstance(asked, Tap):
        return pb.Question(id=number, tap=_tap(asked))
    message = pb.Question(id=number, explain=_explain(asked))
    if message.ByteSize() > MOST_BYTES:
        raise Unanswered("Too much has changed since that revision to explain it")
    return message


def stop(number: str) -> pb.Question:
    """The message that ends a question."""
    return pb.Question(id=number, stop=pb.Stop())


def problem(number: str, text: str) -> pb.Answer:
    """The last answer to a question that is not answered."""
    return pb.Answer(id=number, problem=text, last=True)


def reply(answer: pb.Answer) -> Reply:
    """The content of an answer. Raises Unanswered for a problem, and for what is not an answer."""
    match answer.WhichOneof("content"):
        case "explanation":
            return _explanation(answer.explanation)
        case "tapped":
            requests = tuple(map(_object, answer.tapped.requests))
            return Tapped(requests, answer.tapped.skipped)
        case "problem":
            raise Unanswered(answer.problem.removesuffix("."))
    raise Unanswered("The data plane sent an answer that this version does not know")


def _tap(asked: Tap) -> pb.Tap:
    return pb.Tap(
        route=asked.route,
        service=asked.service,
        least_status=asked.least_status,
        most_status=asked.most_status,
        count=asked.count,
        seconds=asked.seconds,
    )


def _explain(asked: Explain) -> pb.Explain:
    message = pb.Explain(
        method=asked.method,
        target=asked.target,
        fields=[pb.HeaderField(name=name, value=value) for name, value in asked.headers],
        address=asked.address,
        secure=asked.secure,
    )
    if asked.past is not None:
        message.revision = asked.past.revision
        message.changed.extend(map(resource_messages.resource, asked.past.changed))
        message.removed.extend(
            resources_pb2.ResourceName(kind=kind, name=name) for kind, name in asked.past.removed
        )
    return message


def _explanation(message: pb.Explanation) -> Explanation:
    steps = tuple(Step(one.stage, one.outcome, one.text, _object(one.details)) for one in message.steps)
    return Explanation(
        message.revision,
        message.worker,
        message.status,
        message.decision,
        message.detail,
        message.reason,
        message.route,
        message.service,
        message.instance,
        steps,
    )


def _object(text: str) -> dict[str, Any]:
    """A JSON object; an empty one for anything else."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
