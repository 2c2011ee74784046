"""Who is charged when something is late or a client leaves, as tables."""

from __future__ import annotations

import pytest

from dataplane.proxy import blame
from dataplane.proxy.errors import ClientStalled, TimedOut
from dataplane.proxy.exchange import Result
from dataplane.proxy.messages import BadRequest
from dataplane.proxy.phases import CONNECTING, DECIDING, RECEIVING, SENDING, WAITING

FAILED, ABANDONED = Result.FAILED, Result.ABANDONED


@pytest.mark.parametrize(
    ("instance_paused", "refusal", "result"),
    [(True, TimedOut, FAILED), (False, BadRequest, ABANDONED)],
)
def test_a_request_body_that_stops(instance_paused: bool, refusal: type, result: Result) -> None:
    verdict = blame.late_in_sending(instance_paused)
    assert (type(verdict.refusal), verdict.result) == (refusal, result)


@pytest.mark.parametrize(
    ("client_stalled", "request_complete", "refusal", "result"),
    [
        (True, True, ClientStalled, ABANDONED),
        (True, False, ClientStalled, ABANDONED),
        (False, True, TimedOut, FAILED),
        (False, False, TimedOut, ABANDONED),
    ],
)
def test_a_response_body_that_stops(
    client_stalled: bool, request_complete: bool, refusal: type, result: Result
) -> None:
    verdict = blame.late_in_receiving(client_stalled, request_complete)
    assert (type(verdict.refusal), verdict.result) == (refusal, result)


@pytest.mark.parametrize(
    ("phase", "instance_late", "in_phase", "result"),
    [
        (SENDING, True, 0.0, FAILED),
        (SENDING, False, 10.0, ABANDONED),
        (RECEIVING, True, 0.0, FAILED),
        (RECEIVING, False, 10.0, ABANDONED),
        (CONNECTING, False, 6.0, FAILED),
        (WAITING, False, 6.0, FAILED),
        (WAITING, False, 5.0, ABANDONED),
        (WAITING, True, 4.0, ABANDONED),
    ],
)
def test_an_exchange_that_takes_too_long_in_all(
    phase: int, instance_late: bool, in_phase: float, result: Result
) -> None:
    verdict = blame.late_in_all(phase, instance_late, in_phase, in_all=10.0)
    assert verdict.refusal == TimedOut("the exchange exceeded its total timeout") and verdict.result is result


@pytest.mark.parametrize(
    ("phase", "instance_late", "in_phase", "result"),
    [
        (WAITING, False, 3.0, FAILED),
        # The client took longer to send its body than the instance to answer.
        (WAITING, False, 1.0, ABANDONED),
        (SENDING, True, 0.0, FAILED),
        (SENDING, False, 3.0, ABANDONED),
        (RECEIVING, True, 0.0, FAILED),
        (RECEIVING, False, 3.0, ABANDONED),
    ],
)
def test_an_attempt_that_takes_too_long(
    phase: int, instance_late: bool, in_phase: float, result: Result
) -> None:
    verdict = blame.late_in_try(phase, instance_late, in_phase, in_try=3.0)
    assert verdict.refusal == TimedOut("the attempt exceeded its timeout") and verdict.result is result


@pytest.mark.parametrize(
    ("phase", "waited", "instance_heard", "result"),
    [
        (WAITING, 5.0, False, FAILED),
        (WAITING, 4.9, False, ABANDONED),
        (WAITING, 14.0, True, ABANDONED),
        (SENDING, 14.0, False, ABANDONED),
        (DECIDING, 14.0, False, ABANDONED),
        (RECEIVING, 14.0, False, ABANDONED),
    ],
)
def test_a_client_that_leaves(phase: int, waited: float, instance_heard: bool, result: Result) -> None:
    assert blame.left(phase, waited, 15.0, instance_heard) is result
