"""Checks the bound of a limit on admitted requests: at most `rate * T + burst` in any window of T seconds.

A request is admitted at some time between its start and its answer. So requests that started and were answered within a
window were admitted in it, even on a slow machine.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Iterable

from tests.support.instance import Instance
from tests.support.load import Answer


def overshoot(answers: Collection[Answer], rate: float, burst: float) -> float:
    """Requests above the bound in the worst of all windows; 0 or less if the bound held."""
    passed = sorted(((one.began, one.began + one.took) for one in answers if one.status == 200), reverse=True)
    worst, ends = -burst, list[float]()
    for began, ended in passed:
        insort(ends, ended)
        for count, end in enumerate(ends, 1):
            worst = max(worst, count - rate * (end - began) - burst)
    return worst


def request_ids(instances: Iterable[Instance]) -> set[bytes]:
    """Ids of all requests that reached the instances; a retry has the id of its first attempt."""
    return {
        line.partition(b":")[2].strip()
        for instance in instances
        for head in instance.heads
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"x-request-id:")
    }
