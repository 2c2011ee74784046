"""Answers to callers for refusals and failures: one table, without internal details.

`rescued` stands around every call. Details are bounded, because they travel in the trailing header fields, which
clients accept up to 8 KiB by default.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from controlplane.commands.errors import DuplicateInstance, NotFound
from controlplane.identity import RefusedCalls
from controlplane.model.problems import InvalidConfig
from controlplane.store import Conflict, LeaseGone, StoreError, StoreFull, StoreUnavailable, TooLarge

logger = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Code = grpc.StatusCode

MOST_DETAIL = 4096
"""Bytes of a status message as it is sent, that is with everything but printable ASCII escaped."""


class Refused(Exception):
    """A call that ends with this status, in these words."""

    def __init__(self, code: grpc.StatusCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def unauthenticated() -> Refused:
    """No credential, or not a valid one; the message does not say which."""
    return Refused(Code.UNAUTHENTICATED, "Could not validate credentials")


def forbidden() -> Refused:
    """The caller is known, but lacks the permission."""
    return Refused(Code.PERMISSION_DENIED, "Not enough permissions")


def not_ready() -> Refused:
    """Nothing has been read from the store yet."""
    return Refused(
        Code.UNAVAILABLE, "the control plane is still reading its configuration from the store (etcd)"
    )


@asynccontextmanager
async def rescued(context: Context, service: str, calls: RefusedCalls) -> AsyncIterator[None]:
    """End the call with the right status when the block fails. `calls` counts those of bad credentials."""
    try:
        yield
    except grpc.aio.AbortError:
        raise
    except Exception as error:
        refused = _refusal(error)
        if refused.code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED):
            calls.record(service, refused.code.name.lower(), refused.detail, context.peer())
        await context.abort(refused.code, refused.detail)


def _refusal(error: Exception) -> Refused:
    match error:
        case Refused():
            return error
        case InvalidConfig():
            return Refused(Code.INVALID_ARGUMENT, _lines(map(str, error.problems)))
        case TooLarge():
            return Refused(Code.INVALID_ARGUMENT, _lines([error.detail]))
        case NotFound():
            return Refused(Code.NOT_FOUND, _lines([str(error)]))
        case DuplicateInstance():
            return Refused(Code.ALREADY_EXISTS, _lines([str(error)]))
        case LeaseGone():
            return Refused(Code.NOT_FOUND, "the lease has ended; register again")
        case Conflict():
            return Refused(Code.ABORTED, "another change came first; try again")
        case DecodeError():
            return Refused(Code.INVALID_ARGUMENT, "the message cannot be read")
        case StoreError():
            return Refused(Code.UNAVAILABLE, store_trouble(error))
        case _:
            logger.error("a call failed", exc_info=error)
            return Refused(Code.INTERNAL, "internal error; see the control plane's log")


def store_trouble(error: StoreError) -> str:
    """Answers to callers when the store fails."""
    if isinstance(error, StoreFull):
        return "the store (etcd) is full and takes no changes"
    if isinstance(error, StoreUnavailable):
        return "the store (etcd) does not answer"
    logger.error("the store refused a call", extra={"reason": str(error)})
    return "the store (etcd) refuses the control plane"


def _lines(lines: Iterable[str]) -> str:
    """One per line, as many as fit; the last line counts the rest."""
    waiting = [" ".join(line.split()) for line in lines]
    taken: list[str] = []
    room = MOST_DETAIL - 64  # for the line that counts the rest
    while waiting and (size := len(quote(waiting[0])) + 3) <= room:
        room -= size
        taken.append(waiting.pop(0))
    if waiting and not taken:
        # Each character takes at most 12 bytes escaped (four times %XX).
        taken.append(waiting.pop(0)[: MOST_DETAIL // 12 - 8] + "…")
    if waiting:
        taken.append(f"and {len(waiting)} more")
    return "\n".join(taken)
