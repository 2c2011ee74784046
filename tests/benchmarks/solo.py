"""One data-plane worker alone: a gateway with a table made by hand, no control plane, no supervisor.

For measuring and profiling the request path by itself:

    python -m tests.benchmarks.solo --port 9200 --upstream 127.0.0.1:9000 --jwks jwks.json --policy on

/orders has the whole policy (token, scope, limit by subject), /full besides weights, edits of header fields and CORS,
/h another route with a condition on a header field beside it, /open none; all have breaker, metrics and log line.
Prints CPU time per request, from the scheduler's own accounting, when it is stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import socket
import sys
from pathlib import Path
from time import monotonic

import uvloop

from dataplane.config.table import ResourceSet, Table, UnlinkedRoute, build
from dataplane.gateway.decide import Gateway
from dataplane.gateway.policy.conditions import Condition, Conditions
from dataplane.gateway.policy.cors import Cors
from dataplane.gateway.policy.edits import HeaderEdits
from dataplane.gateway.policy.forwarding import Forwarding, Share
from dataplane.gateway.policy.resources import (
    Instance,
    Limit,
    LimitKey,
    Route,
    Service,
    User,
    VerificationKey,
)
from dataplane.observe.access import AccessLog
from dataplane.observe.record import Recorder
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.pool import Pool
from dataplane.proxy.proxy import Proxy

UNLIMITED = 1_000_000
SCOPE = frozenset({"orders:read"})


class Counting:
    """An observer that only counts, for the cost of metrics and log by difference."""

    def __init__(self) -> None:
        self.count = 0

    def finished(self, exchange: Exchange) -> None:
        """Count it."""
        self.count += 1


def table(options: argparse.Namespace) -> Table:
    """One service, the routes, a user for every subject."""
    items: list[Service | Instance | UnlinkedRoute | Limit | User | VerificationKey] = [Service("orders")]
    for number, upstream in enumerate(options.upstream):
        host, _, port = upstream.rpartition(":")
        items.append(Instance("orders", f"orders-{number}", host, int(port)))
    limit = Limit("callers", UNLIMITED, UNLIMITED, LimitKey.SUBJECT)
    items.append(limit)
    guarded = Route("orders", "orders", prefix="/orders", scopes=SCOPE)
    items.append(UnlinkedRoute(guarded, ("callers",)))
    full = Forwarding(
        shares=(Share("orders", 9), Share("orders", 1)),
        request_edits=HeaderEdits(set={"x-gateway": "headgate", "x-route": "%{route}"}),
        response_edits=HeaderEdits(set={"x-served-by": "headgate"}, remove=("server",)),
        cors=Cors(origins=frozenset({"https://www.example.org"})),
    )
    version = Conditions((Condition("x-version", exact="2"),))
    for route in (
        Route("full", "", prefix="/full", scopes=SCOPE, forwarding=full),
        Route("h", "orders", prefix="/h", scopes=SCOPE),
        Route("h-2", "orders", prefix="/h", scopes=SCOPE, conditions=version),
    ):
        items.append(UnlinkedRoute(route, ("callers",)))
    items.append(UnlinkedRoute(Route("open", "orders", prefix="/open", public=True)))
    for number in range(options.routes):
        items.append(UnlinkedRoute(Route(f"filler-{number}", "orders", prefix=f"/filler/{number}")))
    items += [User(subject, SCOPE) for subject in options.subject]
    if options.jwks is not None:
        for key in json.loads(options.jwks.read_text())["keys"]:
            items.append(VerificationKey(key["kid"], json.dumps(key), options.issuer, options.audience))
    return build(ResourceSet.of(*items), revision=1)


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT, then tell what it cost."""
    log = AccessLog(os.open(options.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    recorder = Recorder(log)
    observer = recorder if options.observe == "on" else Counting()
    pool = Pool()
    address = Limit("address", UNLIMITED, UNLIMITED, LimitKey.ADDRESS)
    gateway = Gateway(observer, pool, default_limit=address if options.policy == "on" else None)
    gateway.swap(table(options), monotonic())
    listener = socket.create_server(("127.0.0.1", options.port), backlog=4096, reuse_port=True)
    proxy = Proxy(gateway, pool)
    await proxy.start(listener)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    sys.stdout.write(f"ready pid={os.getpid()} port={options.port}\n")
    sys.stdout.flush()
    while not stop.is_set():
        try:
            async with asyncio.timeout(1.0):
                await stop.wait()
        except TimeoutError:
            recorder.report()
    await proxy.drain(1.0)
    log.close()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=9200)
    parser.add_argument("--upstream", action="append", required=True, help="host:port; may be repeated")
    parser.add_argument("--jwks", type=Path, help="public keys that tokens are verified with")
    parser.add_argument("--issuer", default="headgate")
    parser.add_argument("--audience", default="headgate")
    parser.add_argument("--subject", action="append", default=["bench"], help="a user that holds the scope")
    parser.add_argument("--policy", choices=("on", "off"), default="on", help="the limit by address")
    parser.add_argument("--observe", choices=("on", "off"), default="on", help="metrics and access log")
    parser.add_argument("--log", default=os.devnull, help="file that the access log is written to")
    parser.add_argument("--routes", type=int, default=0, help="further routes in the table")
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
