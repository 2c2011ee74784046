"""Whether the instance is charged for an exchange that is late or whose client leaves.

An instance is charged (`Result.FAILED`) only if it was the side that had to act. A slow or impatient client never
counts against a service: otherwise a few clients could open its breaker for all others. Pure; times are monotonic
seconds.
"""

from __future__ import annotations

from typing import Final

from dataplane.proxy.errors import ClientStalled, TimedOut
from dataplane.proxy.exchange import Result
from dataplane.proxy.messages import BadRequest
from dataplane.proxy.phases import RECEIVING, SENDING, WAITING

PATIENCE: Final = 3.0
"""A client that waited for at least 1/PATIENCE of the response timeout counts as having given up on the instance."""


class Verdict:
    """The end of an exchange."""

    __slots__ = ("refusal", "result")

    def __init__(self, refusal: object, result: Result) -> None:
        self.refusal = refusal
        """The refusal sent to the client if its response has not begun; logged in any case."""
        self.result = result


def late_in_sending(instance_paused: bool) -> Verdict:
    """No byte of the request body moved in time: `instance_paused` if the instance has stopped reading."""
    if instance_paused:
        return Verdict(TimedOut("the instance stopped reading the request"), Result.FAILED)
    return Verdict(BadRequest(408, "the request body stopped"), Result.ABANDONED)


def late_in_receiving(client_stalled: bool, request_complete: bool) -> Verdict:
    """No byte of the response body moved in time: `client_stalled` if the client has not read what was sent."""
    if client_stalled:
        return Verdict(ClientStalled(), Result.ABANDONED)
    if request_complete:
        return Verdict(TimedOut("the response body stopped"), Result.FAILED)
    # The instance may be waiting for the rest of the request.
    return Verdict(TimedOut("request body and response body stopped"), Result.ABANDONED)


def late_in_all(phase: int, instance_late: bool, in_phase: float, in_all: float) -> Verdict:
    """The total timeout has passed, `in_all` seconds after the start and `in_phase` after `phase` was entered.

    While a body is relayed, `instance_late` decides. In other phases the instance is charged if more than half of the
    time was spent in the present phase: before that, the client was sending its body.
    """
    charged = instance_late if phase in (SENDING, RECEIVING) else in_phase > in_all / 2
    return Verdict(
        TimedOut("the exchange exceeded its total timeout"), Result.FAILED if charged else Result.ABANDONED
    )


def late_in_try(phase: int, instance_late: bool, in_phase: float, in_try: float) -> Verdict:
    """The time of an attempt has passed, `in_try` seconds after its head was sent: as `late_in_all`."""
    return Verdict(
        TimedOut("the attempt exceeded its timeout"),
        late_in_all(phase, instance_late, in_phase, in_try).result,
    )


def left(phase: int, waited: float, response_timeout: float, instance_heard: bool) -> Result:
    """The client left `waited` seconds after `phase` was entered, before its response was complete.

    An instance that hangs is charged even if its clients leave before `response_timeout`: when this client has waited
    long enough, and the instance has answered no exchange in that time (`instance_heard` is false).
    """
    gave_up = phase == WAITING and not instance_heard and waited >= response_timeout / PATIENCE
    return Result.FAILED if gave_up else Result.ABANDONED
