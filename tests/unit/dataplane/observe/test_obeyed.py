"""What the workers of a node found when they were told to fill up buckets."""

from __future__ import annotations

from dataplane.config.reports import ResetStats
from dataplane.observe.obeyed import MOST, ObeyedResets


def found(revision: int, *limits: str, shared: str = "", unreached: str = "") -> dict[str, object]:
    return {
        "revision": revision,
        "limits": list(limits),
        "shared": shared.split(),
        "unreached": unreached.split(),
    }


def test_an_order_is_reported_when_all_workers_have_obeyed() -> None:
    resets = ObeyedResets()
    assert not resets.take(0, found(5, "b", shared="f"), 2)
    assert not resets.take(0, found(5, "x"), 2), "it was started again"
    assert not resets.obeyed
    assert resets.take(1, found(5, "a", "b"), 2)
    assert resets.obeyed == (ResetStats(5, ("a", "b"), ("f",)),)
    assert not resets.take(1, found(5), 2)


def test_one_worker_that_reaches_redis_is_enough() -> None:
    resets = ObeyedResets()
    resets.take(0, found(5, unreached="r s"), 2)
    resets.take(1, found(5, unreached="s"), 2)
    assert resets.obeyed[0].unreached == ("s",)


def test_old_orders_are_forgotten() -> None:
    resets = ObeyedResets()
    for revision in range(1, 3 * MOST):
        resets.take(0, found(revision), 1)
    assert [one.revision for one in resets.obeyed] == list(range(2 * MOST, 3 * MOST))
