"""How long large changes and reads block a control plane's event loop, at worst: with an etcd of their own, and with
data planes that are sent each change."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from demo.processes import Etcd, Secrets, answers, wait_until
from tests.benchmarks.config.changes import document, route
from tests.benchmarks.config.fleet import streams
from tests.benchmarks.config.watched import Watched, longest

TIMES = 3
DATA_PLANES = 10


def blocks(folder: Path, routes: int) -> dict[str, float]:
    """The longest block, in milliseconds: of each kind of work, and of all."""
    found: dict[str, float] = {}
    with _running(folder) as (admin, block):

        def measure(name: str, work: Callable[[], httpx.Response]) -> None:
            block()  # what came before
            for _ in range(TIMES):
                work().raise_for_status()
                found[name] = max(found.get(name, 0.0), block())

        whole, revisions = document(routes, 1), [0.0]

        def apply() -> httpx.Response:
            revisions[0] += 1
            changed = [route(number, 10 + revisions[0]) for number in range(routes)]
            return admin.post("/api/v1/apply", json={**whole, "routes": changed})

        first = admin.post("/api/v1/apply", json=whole).raise_for_status().json()["revision"]
        measure("block_apply_ms", apply)
        measure("block_history_ms", lambda: admin.get("/api/v1/history", params={"limit": 1000}))
        measure("block_diff_ms", lambda: admin.get("/api/v1/diff", params={"from": first}))
        measure("block_routes_ms", lambda: admin.get("/api/v1/config/routes"))
        measure("block_rollback_ms", lambda: admin.post("/api/v1/rollback", json={"to": first}))
    found["block_ms"] = max(found.values())
    return found


@contextlib.contextmanager
def _running(folder: Path) -> Iterator[tuple[httpx.Client, Callable[[], float]]]:
    with contextlib.ExitStack() as stack:
        etcd = Etcd()
        stack.callback(etcd.start(folder / "blocks").stop)
        plane = Watched(etcd.url, Secrets(), "controlplane-watched")
        process = plane.start(folder / "blocks", wait=False)
        stack.callback(process.stop)
        wait_until(answers(f"{plane.url}/ready"), process)
        stack.enter_context(streams([plane], DATA_PLANES))
        admin = stack.enter_context(plane.admin())
        admin.timeout = httpx.Timeout(300)
        yield admin, lambda: longest(folder / "blocks", process)
