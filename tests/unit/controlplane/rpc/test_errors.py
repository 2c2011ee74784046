"""What callers hear: the right status, every problem, and nothing of the inside."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import grpc
import pytest

from controlplane.commands.errors import NotFound
from controlplane.identity import RefusedCalls
from controlplane.model.problems import InvalidConfig, Problem
from controlplane.rpc.errors import MOST_DETAIL, Refused, rescued
from controlplane.store import AccessDenied, Conflict, LeaseGone, StoreUnavailable, TooLarge

Code = grpc.StatusCode


class Context:
    """Remembers how the call was ended, and ends it as the real one does."""

    def __init__(self) -> None:
        self.ended: tuple[grpc.StatusCode, str] | None = None

    async def abort(self, code: grpc.StatusCode, detail: str) -> None:
        self.ended = code, detail
        raise grpc.aio.AbortError


async def ending(error: BaseException) -> tuple[grpc.StatusCode, str]:
    context: Any = Context()
    with pytest.raises(grpc.aio.AbortError):
        async with rescued(context, "config", RefusedCalls()):
            raise error
    assert context.ended is not None
    ended: tuple[grpc.StatusCode, str] = context.ended
    return ended


@pytest.mark.parametrize(
    ("error", "code", "detail"),
    [
        (Refused(Code.ABORTED, "because"), Code.ABORTED, "because"),
        (InvalidConfig([Problem("a", "x"), Problem("b", "y")]), Code.INVALID_ARGUMENT, "a: x\nb: y"),
        (InvalidConfig([Problem("a", "two\nlines")]), Code.INVALID_ARGUMENT, "a: two lines"),
        (NotFound("service", "x"), Code.NOT_FOUND, "service 'x' does not exist"),
        (LeaseGone(7), Code.NOT_FOUND, "the lease has ended; register again"),
        (StoreUnavailable("10.0.0.7:2379: refused"), Code.UNAVAILABLE, "the store (etcd) does not answer"),
        (AccessDenied("user root"), Code.UNAVAILABLE, "the store (etcd) refuses the control plane"),
        (Conflict(["/headgate/v1/x"]), Code.ABORTED, "another change came first; try again"),
        (TooLarge("a lot"), Code.INVALID_ARGUMENT, "a lot"),
        (KeyError("secret"), Code.INTERNAL, "internal error; see the control plane's log"),
    ],
)
async def test_table(error: Exception, code: grpc.StatusCode, detail: str) -> None:
    assert await ending(error) == (code, detail)


async def test_no_error_no_ending() -> None:
    context: Any = Context()
    async with rescued(context, "config", RefusedCalls()):
        pass
    assert context.ended is None


async def test_an_ended_call_is_not_ended_again() -> None:
    context: Any = Context()
    with pytest.raises(grpc.aio.AbortError):
        async with rescued(context, "config", RefusedCalls()):
            raise grpc.aio.AbortError
    assert context.ended is None


@pytest.mark.parametrize("text", ["plain", "ünï", "日本語", "🚪" * 20, "%25"])
@pytest.mark.parametrize("count", [1, 5, 1000])
async def test_details_fit_into_trailers(text: str, count: int) -> None:
    problems = [Problem(f"routes[{number}].prefix", text) for number in range(count)]
    _, detail = await ending(InvalidConfig(problems))
    assert len(quote(detail, safe=" ")) <= MOST_DETAIL
    lines = detail.splitlines()
    assert lines[0] == f"routes[0].prefix: {text}"
    if lines[-1].startswith("and "):
        assert lines[-1] == f"and {count - len(lines) + 1} more"
    else:
        assert len(lines) == count


@pytest.mark.parametrize("character", ["x", "é", "🚪"])
async def test_one_endless_problem_is_cut(character: str) -> None:
    _, detail = await ending(InvalidConfig([Problem("", character * 100_000), Problem("", "another")]))
    assert len(quote(detail, safe=" ")) <= MOST_DETAIL
    assert detail.splitlines()[0].endswith("x…" if character == "x" else f"{character}…")
    assert detail.splitlines()[-1] == "and 1 more"
