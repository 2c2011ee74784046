"""What a limit let through, from the service's log: above its bound or not, and how much of what it might have. Pure.

The log tells which requests were admitted: those that reached the service, by distinct request ids, as a retry is no
second admission. A request was admitted some time between the client's sending it and the service's logging it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence

RESOLUTION = 0.001
"""Seconds: what the service's clock may cut off a moment that it logs."""


def logged(lines: Iterable[str], path: str) -> dict[int, float]:
    """When each request for `path`/<number> first reached the service: seconds since the epoch, by number.

    A line is "<seconds> <request id> <target>". Lines about other paths, such as probes, are left out; so is what a
    request id was logged for again.
    """
    found: dict[int, float] = {}
    ids = set[str]()
    for line in lines:
        seconds, request_id, target = line.split()
        prefix, _, number = target.rpartition("/")
        if prefix == path and request_id not in ids:
            ids.add(request_id)
            found[int(number)] = float(seconds)
    return found


def fullest(spans: Collection[tuple[float, float]], seconds: float) -> int:
    """The most requests that were certainly admitted within one window of so many seconds.

    `spans`: for each admitted request the moments between which it was; it counts for a window that contains both.
    """
    within = [(begin, end) for begin, end in spans if end - begin <= seconds]
    begins = sorted(begin for begin, _ in within)
    ends = sorted(end for _, end in within)
    # None that began before a window can end after it: so those that ended by its end, less those that began before.
    return max((bisect_right(ends, at + seconds) - bisect_left(begins, at) for at in begins), default=0)


def excess(spans: Collection[tuple[float, float]], rate: float, burst: float, seconds: float) -> float:
    """Requests above `rate * seconds + burst` in the worst window; 0 or less: the bound was kept."""
    return fullest(spans, seconds) - (rate * seconds + burst)


def spans(sent: Sequence[float], admitted: Mapping[int, float]) -> list[tuple[float, float]]:
    """Between which moments each request was admitted. `sent`: when the client sent request 0, 1, …"""
    return [(sent[number], at + RESOLUTION) for number, at in admitted.items()]


def utilisation(
    sent: Sequence[float], admitted: Collection[int], rate: float, burst: float, since: float
) -> float:
    """The admitted requests over those that one exact bucket would have admitted, of all that were sent since then.

    The exact bucket is full at the first request and gets all of them at the moments when they were sent; so it admits
    `rate * T`, and what is spent of its burst in that time, but no more than was asked for. `sent` and `since` are
    seconds by one clock; `admitted` are indexes of `sent`. 0.0 where it would have admitted none.
    """
    tokens, then, ideal = float(burst), min(sent, default=0.0), 0
    for now in sorted(sent):
        tokens, then = min(burst, tokens + rate * (now - then)), now
        if tokens >= 1:
            tokens -= 1
            ideal += now >= since
    real = sum(sent[number] >= since for number in admitted)
    return real / ideal if ideal else 0.0
