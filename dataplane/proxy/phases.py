"""The phases of a client connection: their deadlines, the side that is late when one passes, and the allowed
transitions."""

from __future__ import annotations

from typing import Final

IDLE: Final = 0
READING: Final = 1
DECIDING: Final = 2
CONNECTING: Final = 3
SENDING: Final = 4
WAITING: Final = 5
RECEIVING: Final = 6
FLUSHING: Final = 7
LINGERING: Final = 8
TUNNELLING: Final = 9
DONE: Final = 10
"""The phase of a client connection, and so of its current exchange. A connection is in exactly one phase.

    phase       meaning                                    deadline                      late when it passes
    idle        no request is in progress                  keep_alive_timeout            none: the connection closes
    reading     part of a request head has arrived         head_timeout, for the head    client: 408
    deciding    the gateway decides; it waits where a      a few seconds; what it waits  nobody: 503
                limit is counted in Redis                  for has a shorter one
    connecting  waits for a connection to the instance     the service's connect         instance: retry or 504
    sending     the request body is being relayed          body_timeout, without         client: 408; instance, if it
                                                           progress                      does not read it: 504
    waiting     the request is sent, no response head yet  response                      instance: retry or 504
    receiving   the response body is being relayed         idle, without progress        instance: cut off; none, if
                                                                                         the client does not read it
    flushing    the response is complete, and not yet all  body_timeout, without         client: cut off
                delivered; or the connection is closing    progress
    lingering   the rest of a refused request is read and  linger_timeout, without       none: the connection closes
                discarded, so that the client can read     progress; linger_total, for
                the response                               the phase
    tunnelling  bytes of another protocol are relayed      idle, without progress        none: both sides close
    done        the connection is closed                   none

`Forwarding.total_timeout` may also limit the exchange as a whole, and `try_timeout` each attempt, from sending to
receiving; `blame.late_in_all` and `late_in_try` decide which side is late then.
"""
PHASES: Final = (
    *("idle", "reading", "deciding", "connecting", "sending", "waiting", "receiving"),
    *("flushing", "lingering", "tunnelling", "done"),
)
NEXT: Final = {
    IDLE: {READING, DECIDING, FLUSHING, DONE},
    READING: {IDLE, DECIDING, FLUSHING, DONE},
    DECIDING: {CONNECTING, SENDING, WAITING, FLUSHING, LINGERING, IDLE, READING, DECIDING, DONE},
    CONNECTING: {SENDING, WAITING, FLUSHING, LINGERING, IDLE, READING, DECIDING, DONE},
    SENDING: {CONNECTING, WAITING, RECEIVING, FLUSHING, LINGERING, IDLE, READING, DECIDING, DONE},
    WAITING: {CONNECTING, RECEIVING, TUNNELLING, FLUSHING, LINGERING, IDLE, READING, DECIDING, DONE},
    RECEIVING: {FLUSHING, LINGERING, IDLE, READING, DECIDING, DONE},
    FLUSHING: {LINGERING, IDLE, READING, DECIDING, DONE},
    LINGERING: {DONE},
    TUNNELLING: {DONE},
    DONE: set[int](),
}
"""Allowed transitions. A phase may also be entered again, which moves its deadline."""
FOREVER: Final = float("inf")
"""A deadline that never passes."""
