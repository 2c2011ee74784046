"""The figures of the dashboard: from a load to the drawn page in Chromium, and what ten open dashboards cost.

    python -m tests.benchmarks.dashboard

The control plane has a store in memory and simulated data planes, in this process. So the cost of dashboards is the
difference of its CPU time with ten of them and without any, both with the same data planes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from pathlib import Path

from tests.dashboard.browser import chromium, log_in
from tests.dashboard.stage import Stage, staged

DRAWN = """new Promise(done => {
  const look = () => document.querySelector('.verdict h1') && document.querySelector('.table tbody tr')
    ? requestAnimationFrame(() => done(performance.now())) : requestAnimationFrame(look);
  look();
})"""
READERS = """
import socket, sys, threading
port, count, token = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
head = f"GET /api/v1/fleet/stream?traffic=true HTTP/1.1\\r\\nHost: localhost\\r\\nAuthorization: {token}\\r\\n\\r\\n"
def read():
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(head.encode())
        while stream.recv(1 << 16):
            pass
threads = [threading.Thread(target=read) for _ in range(count)]
[one.start() for one in threads]
threading.Event().wait()
"""
"""Reads as many streams as it is told, until it is killed."""
OUTPUT = Path("build/bench-dashboard.json")


async def first_views(stage: Stage, times: int) -> list[float]:
    """Seconds from the start of the navigation to the drawn fleet."""
    found = []
    async with chromium() as browser:
        page = await browser.new_page(viewport={"width": 1360, "height": 900})
        await log_in(page, stage.url)
        for _ in range(times):
            await page.goto("about:blank")
            await page.goto(stage.url, wait_until="commit")
            found.append(await page.evaluate(DRAWN) / 1000)
    return found


async def cost(stage: Stage, dashboards: int, seconds: float) -> float:
    """CPU seconds a second of this process while another process reads so many streams."""
    token = (await stage.api.token())["Authorization"]
    port = stage.url.rpartition(":")[2]
    readers = await asyncio.create_subprocess_exec(
        sys.executable, "-c", READERS, port, str(dashboards), token
    )
    try:
        await asyncio.sleep(3)
        began, cpu = time.monotonic(), time.process_time()
        await asyncio.sleep(seconds)
        return (time.process_time() - cpu) / (time.monotonic() - began)
    finally:
        readers.kill()
        await readers.wait()


async def measure(given: argparse.Namespace) -> dict[str, float]:
    """All figures."""
    async with staged(given.planes, services=given.services, routes=given.routes) as stage:
        await asyncio.sleep(3)
        without = await cost(stage, 0, given.seconds)
        with_ten = await cost(stage, 10, given.seconds)
        views = await first_views(stage, given.views)
    return {
        "first_view_seconds": round(statistics.median(views), 3),
        "first_view_slowest": round(max(views), 3),
        "cores_without": round(without, 3),
        "cores_with_ten": round(with_ten, 3),
        "cores_of_ten": round(with_ten - without, 3),
    }


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.dashboard")
    parser.add_argument("--planes", type=int, default=100)
    parser.add_argument("--services", type=int, default=200)
    parser.add_argument("--routes", type=int, default=1000)
    parser.add_argument("--views", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=20)
    figures = asyncio.run(measure(parser.parse_args()))
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(figures, indent=1) + "\n")
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
